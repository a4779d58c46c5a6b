# SPDX-License-Identifier: Apache-2.0
"""Features: equal to AlphaFold's where no chance takes part, and the same after saving and loading."""

import errno
import functools
import gzip
import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from alphafold.data import parsers, pipeline
from alphafold.model import config as official_config
from alphafold.model import features as official_features

from alphafold_jax import fields, schema
from alphafold_jax.data import features
from alphafold_jax.data.alignment import parse_a3m, single_sequence
from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError, ResourceError
from alphafold_jax.runs import work

A3M = Path(__file__).parent / 'data' / '4zey_A.a3m.gz'


@functools.cache
def batch() -> schema.Batch:
  return features.make_batch(parse_a3m(read_text(A3M), 'x'))


@functools.cache
def oracle() -> dict[str, np.ndarray]:
  """AlphaFold's processed features of the same file: nothing masked, every row a cluster of its own."""
  msa = parsers.parse_a3m(read_text(A3M))
  query = msa.sequences[0]
  raw = pipeline.make_sequence_features(query, 'query', len(query)) | pipeline.make_msa_features([msa])
  config = official_config.model_config('model_3_ptm')
  with config.unlocked():
    config.data.common.num_recycle = 0
    config.data.common.max_extra_msa = 4
    config.data.eval.masked_msa_replace_fraction = 0.0
    config.data.eval.max_msa_clusters = len(msa.sequences)
  return {name: value[0] for name, value in official_features.np_example_to_features(raw, config, 0).items()}


def test_sequence_features_equal_alphafolds():
  ours, theirs = batch(), oracle()
  np.testing.assert_array_equal(ours.aatype, theirs['aatype'])
  np.testing.assert_array_equal(ours.residue_index, theirs['residue_index'])
  np.testing.assert_array_equal(ours.seq_mask, theirs['seq_mask'])
  np.testing.assert_array_equal(ours.soft_sequence, theirs['target_feat'][:, 1:])  # 0: chain break


def test_alignment_features_equal_alphafolds_up_to_the_order_it_shuffles():
  ours, theirs = batch().msa, oracle()
  our_rows = np.concatenate([ours.tokens, np.arctan(ours.deletions / 3) * 2 / np.pi], axis=1)
  their_rows = np.concatenate([theirs['true_msa'], theirs['msa_feat'][..., 24]], axis=1)  # 24: deletion value
  np.testing.assert_allclose(our_rows[0], their_rows[0], atol=1e-6)
  order = [np.lexsort(np.round(rows, 4).T) for rows in (our_rows, their_rows)]
  np.testing.assert_allclose(our_rows[order[0]], their_rows[order[1]], atol=1e-6)
  np.testing.assert_array_equal(ours.mask, theirs['msa_mask'])


def test_rare_letters_of_the_query_count_as_in_the_alignment_where_alphafold_calls_them_unknown():
  query = 'MBZUJOXK'
  ours = features.make_batch(query)
  theirs = pipeline.make_sequence_features(query, 'x', len(query))['aatype'].argmax(-1)
  assert ours.aatype.tolist() == [12, 3, 6, 4, 20, 20, 20, 11]
  assert theirs.tolist() == [12, 20, 20, 20, 20, 20, 20, 11]
  np.testing.assert_array_equal(ours.msa.tokens[0], ours.aatype)


def test_a_bare_sequence_is_an_alignment_of_one_row():
  ours = features.make_batch('mkt')
  assert ours.msa.tokens.shape == (1, 3) and ours.msa.pinned.tolist() == [1]
  np.testing.assert_array_equal(ours.msa.profile, np.eye(22)[ours.aatype])
  np.testing.assert_array_equal(fields.axis_sizes(ours)['num_res'], 3)
  with pytest.raises(InputError, match="residue 2: '1'"):
    features.make_batch('M1')


def test_every_array_has_the_type_and_axes_of_the_schema():
  for name, field, value in fields.leaves(batch()):
    assert value.dtype == field.metadata['dtype'], name
  assert fields.axis_sizes(batch()) == {'num_res': 84, 'num_seq': 401, 'num_templ': 4}


def test_absent_templates_and_targets_are_masked():
  ours = batch()
  assert not ours.templates.mask.any() and not ours.templates.atom_mask.any() and (ours.templates.aatype == 21).all()
  assert not ours.targets.atom_mask.any() and features.make_batch('MKT', num_templates=0).templates.mask.shape == (0,)
  with pytest.raises(InputError, match='templates are for 5 residues, the query has 3'):
    features.make_batch('MKT', templates=features.empty_templates(4, 5))


def test_fewer_rows_keep_the_profile_of_all():
  alignment = parse_a3m(read_text(A3M), 'x')
  few = features.make_batch(alignment, max_rows=10)
  np.testing.assert_array_equal(few.msa.tokens, batch().msa.tokens[:10])
  np.testing.assert_array_equal(few.msa.profile, batch().msa.profile)
  assert features.make_batch(alignment, max_rows=10**6).msa.tokens.shape == (401, 84)
  assert features.make_batch(alignment, max_rows=0).msa.tokens.shape == (1, 84)


@pytest.fixture
def saved(tmp_path) -> Path:
  path = tmp_path / 'x.npz'
  features.save_features(path, features.make_batch(single_sequence('MKTAY')), {'name': 'x', 'notes': ['ü']})
  return path


def rewrite(path: Path, **changes) -> None:
  """Replaces arrays of an archive; None removes one."""
  with np.load(path) as archive:
    arrays = dict(archive) | changes
  np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def test_saved_features_load_unchanged(tmp_path):
  path = tmp_path / 'x.npz'
  features.save_features(path, batch(), {'name': '4zey_A'})
  loaded, metadata = features.load_features(path)
  assert metadata == {'name': '4zey_A'}
  for (name, _, a), (_, _, b) in zip(fields.leaves(batch()), fields.leaves(loaded), strict=True):
    assert a.dtype == b.dtype and np.array_equal(a, b), name


def test_saved_features_hold_no_pickles(saved):
  with np.load(saved, allow_pickle=False) as archive:
    assert 'msa.tokens' in archive.files and all(archive[name].dtype != object for name in archive.files)


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(saved, monkeypatch):
  before = saved.read_bytes()

  def disk_full(file, **arrays):
    file.write(b'half')
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(np, 'savez_compressed', disk_full)
  with pytest.raises(ResourceError, match='the disk is full'):
    features.save_features(saved, features.make_batch('MKV'))
  assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'msa.tokens': None}, "array 'msa.tokens' is missing"),
    ({'msa.tokens': np.zeros((1, 4), np.int32)}, r"array 'msa.tokens' has shape \(1, 4\).*num_res is 5"),
    ({'msa.tokens': np.zeros(5, np.int32)}, r"array 'msa.tokens' has shape \(5,\), expected 2 axes"),
    ({'msa.profile': np.zeros((5, 21), np.float32)}, r"array 'msa.profile' has shape \(5, 21\)"),
    ({'aatype': np.zeros(5, np.int64)}, "array 'aatype' has type int64, expected int32"),
    ({'aatype': np.full(5, 21, np.int32)}, r"array 'aatype' holds 21..21, expected 0..20"),
    ({'msa.tokens': np.full((1, 5), -1, np.int32)}, r"array 'msa.tokens' holds -1..-1, expected 0..21"),
    ({'seq_mask': np.full(5, np.nan, np.float32)}, "array 'seq_mask' of shape .5,. holds NaN"),
    ({'aatype': np.array([None])}, "array 'aatype' cannot be read .*make the features again"),
    ({'__format__': None}, 'no features of alphafold_jax'),
    ({'__format__': np.frombuffer(b'{"format": 3', np.uint8)}, 'no features of alphafold_jax'),
    ({'__format__': np.zeros(3)}, 'no features of alphafold_jax'),
    (
      {'__format__': np.frombuffer(b'{"format":"alphafold_jax features","version":99,"metadata":{}}', np.uint8)},
      'format version 99, this program reads 1',
    ),
  ],
)
def test_a_wrong_array_is_named_with_its_shape(saved, changes, message):
  rewrite(saved, **changes)
  with pytest.raises(InputError, match=message) as error:
    features.load_features(saved)
  assert str(saved) in str(error.value)


def test_what_is_no_archive_is_said(tmp_path, saved):
  with pytest.raises(InputError, match='no such file'):
    features.load_features(tmp_path / 'none.npz')
  for content in (b'', b'text', saved.read_bytes()[:-30], b'PK\x03\x04'):
    (tmp_path / 'bad.npz').write_bytes(content)
    with pytest.raises(InputError, match='bad.npz: not an .npz archive, or a truncated one'):
      features.load_features(tmp_path / 'bad.npz')
  buffer = io.BytesIO()
  np.save(buffer, np.zeros(3))
  (tmp_path / 'bad.npz').write_bytes(buffer.getvalue())
  with pytest.raises(InputError, match='not an .npz archive'):
    features.load_features(tmp_path / 'bad.npz')


def test_a_truncated_array_inside_the_archive_is_named(saved):
  with zipfile.ZipFile(saved) as archive:
    contents = {name: archive.read(name) for name in archive.namelist()}
  with zipfile.ZipFile(saved, 'w') as archive:
    for name, content in contents.items():
      archive.writestr(name, content[:-8] if name == 'msa.profile.npy' else content)
  with pytest.raises(InputError, match="array 'msa.profile' cannot be read"):
    features.load_features(saved)


def test_random_damage_raises_nothing_but_input_errors(saved):
  rng = random.Random(0)
  good, metadata = saved.read_bytes(), features.load_features(saved)[1]
  refused = 0
  for _ in range(150):
    content = bytearray(good)
    for _ in range(rng.randint(1, 3)):
      content[rng.randrange(len(content))] = rng.randrange(256)
    saved.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
    try:
      assert json.dumps(features.load_features(saved)[1]) == json.dumps(metadata)
    except InputError:
      refused += 1
  assert refused > 75


def test_files_of_features_come_after_sequences_packed_or_not_and_what_else_is_there_is_noted(tmp_path):
  for name in ('b', 'c'):
    batch = features.make_batch('ACDE')
    features.save_features(tmp_path / f'{name}.features.npz', batch, {'name': name})
  content = (tmp_path / 'c.features.npz').read_bytes()
  (tmp_path / 'c.features.npz').unlink()
  (tmp_path / 'c.features.npz.gz').write_bytes(gzip.compress(content))
  (tmp_path / 'z.fasta').write_text('>z\nACDEF\n')
  (tmp_path / 'notes.txt').touch()
  (tmp_path / 'broken.npz.gz').write_bytes(b'text')
  found = work.find(tmp_path, takes_bare=True)
  assert [job.name for job in found.jobs] == ['z', 'b', 'c'] and '(notes.txt)' in found.notes[0]
  assert [failure.message for failure in found.failures] == [
    f'{tmp_path}/broken.npz.gz: not an .npz archive, or a truncated one; make the features again'
  ]
  for job in found.jobs[1:]:
    np.testing.assert_array_equal(work.load(job, None).batch.aatype, features.make_batch('ACDE').aatype)
