# SPDX-License-Identifier: Apache-2.0
"""Complexes of a training set: read from files and tables, kept in the cache, drawn, cropped and given as examples."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import small_cache

from alphafold_jax import cli, fields
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import encode
from alphafold_jax.data.training import assembled, assemblies, complex_examples, complex_making, complexes
from alphafold_jax.data.training.cache import open_cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.data.training.complex_examples import whole_complex
from alphafold_jax.data.training.training_set import DataSpec, TrainingSet
from alphafold_jax.errors import InputError

DATA = Path(__file__).parent / 'data'
CA = residues.ATOM_INDEX['CA']
RNG = np.random.default_rng(5)
SEQUENCES = {'a': small_cache.random_sequence(RNG, 30), 'b': small_cache.random_sequence(RNG, 22)}
SEQUENCES |= {
  'a2': SEQUENCES['a'],
  'lone': small_cache.random_sequence(RNG, 26),
  'held': small_cache.random_sequence(RNG, 24),
}
SPEC = DataSpec(
  crop_size=40, num_rows=16, num_templates=0, length_floor=25, length_cap=50, complex_fraction=0.5, max_chains=4
)


def complexes_of(cache) -> dict[str, complexes.ComplexEntry]:
  return {one.id: one for one in cache.complexes}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  """Helices side by side: an A2B, a pair, and one with a chain that is held out."""
  folder = tmp_path_factory.mktemp('complexes')
  structures = small_cache.write_structures(folder / 'structures', SEQUENCES)
  for name, offset in (('b', 9.0), ('a2', 18.0), ('held', 9.0)):
    path = structures / f'{name}.pdb'
    lines = path.read_text().splitlines()
    shifted = [f'{x[:38]}{float(x[38:46]) + offset:8.3f}{x[46:]}' if x.startswith('ATOM') else x for x in lines]
    path.write_text('\n'.join(shifted) + '\n')
  alignments = small_cache.write_alignments(folder / 'alignments', {n: SEQUENCES[n] for n in ('a', 'a2', 'b')}, 30)
  rows = [{'id': name, 'cluster': name[0], 'split': 'test' if name == 'held' else 'train'} for name in SEQUENCES]
  table = small_cache.write_table(folder / 'table.csv', rows)
  listed = small_cache.write_table(
    folder / 'complexes.csv',
    [{'id': 'a2b', 'chains': 'a b a2'}, {'id': '', 'chains': 'A B'}, {'id': 'x', 'chains': 'a held'}],
  )
  build_cache(structures, folder / 'cache', alignments=alignments, table=table, complexes=listed, processes=1)
  return open_cache(folder / 'cache')


# Assemblies of files


def assemblies_of(tmp_path, *names):
  build_cache([DATA / name for name in names], tmp_path / 'set', complexes=True, processes=1)
  cache = open_cache(tmp_path / 'set')
  return cache, complexes_of(cache)


def test_operators_make_the_assemblies_that_the_file_describes(tmp_path):
  cache, found = assemblies_of(tmp_path, 'templates/1vq2.cif.gz', 'templates/2a8n.cif.gz', 'templates/2nx8.cif.gz')
  assert {id: (one.chains, one.entities) for id, one in found.items()} == {
    '1vq2-1': (('1vq2',) * 2, (1, 1)),
    '1vq2-2': (('1vq2',) * 6, (1,) * 6),
    '2a8n-1': (('2a8n_A', '2a8n_B'), (1, 1)),
    '2nx8-1': (('2nx8',) * 2, (1, 1)),
  }
  assert found['2a8n-1'].motions == ((), ())
  chains = assembled.assemble(found['2nx8-1'], lambda name: cache[cache.places[name]])
  assert chains.sym == (1, 2) and len(chains.sequence) == 2 * cache.entries[cache.places['2nx8']].length
  first, second = chains.ca[chains.asym_id == 1], chains.ca[chains.asym_id == 2]
  known = chains.known[chains.asym_id == 1] > 0
  inner = [np.linalg.norm(x[known][:, None] - x[known], axis=-1) for x in (first, second)]
  np.testing.assert_allclose(*inner, atol=5e-3)  # the same chain
  assert np.linalg.norm(first[known][:, None] - second[known], axis=-1).min() < 8  # that touches its copy
  assert np.linalg.norm(first[known][:, None] - second[known], axis=-1).min() > 3


def test_operators_equal_those_of_gemmi_to_the_last_digit_of_the_file(tmp_path):
  gemmi = pytest.importorskip('gemmi')
  cache, found = assemblies_of(tmp_path, 'templates/1vq2.cif.gz')
  chains = assembled.assemble(found['1vq2-2'], lambda name: cache[cache.places[name]])
  structure = gemmi.read_structure(str(DATA / 'templates' / '1vq2.cif.gz'))
  theirs = gemmi.make_assembly(structure.assemblies[1], structure[0], gemmi.HowToNameCopiedChain.Short)
  expected = [
    atom.pos.tolist()
    for chain in theirs
    for residue in chain.get_polymer()
    for atom in residue
    if atom.name == 'CA' and atom.altloc in ('\0', 'A')
  ]
  np.testing.assert_allclose(chains.ca[chains.known > 0], expected, atol=2e-3)


def test_a_file_without_assemblies_is_one_complex_as_it_stands(tmp_path):
  text = gzip.open(DATA / 'templates' / '2a8n.cif.gz', 'rt').read()
  (tmp_path / 'x.cif').write_text(text.replace('_pdbx_struct_assembly_gen.', '_other.'))
  build_cache(tmp_path / 'x.cif', tmp_path / 'set', complexes=True, processes=1)
  assert [one.chains for one in open_cache(tmp_path / 'set').complexes] == [('x_A', 'x_B')]


def test_assemblies_that_cannot_be_read_are_told(tmp_path, monkeypatch):
  def broken(_):
    raise RuntimeError('bad operator')

  monkeypatch.setattr(assemblies.gemmi, 'make_structure_from_block', broken)
  with pytest.raises(InputError, match=r'its assemblies cannot be read \(bad operator\); its chains are taken alone'):
    assemblies_of(tmp_path, 'templates/2a8n.cif.gz')


def test_single_chains_are_no_complex_which_is_an_error_where_some_are_asked_for(tmp_path):
  with pytest.raises(InputError, match='no complex can be made of these chains; the structures hold single chains'):
    assemblies_of(tmp_path, '1aie_A.cif.gz')


# Complexes of a table


def test_a_table_joins_chains_of_several_files(cache):
  found = complexes_of(cache)
  assert found['a2b'] == complexes.ComplexEntry('a2b', ('a', 'b', 'a2'), ((), (), ()), (1, 2, 1), 'a+b', 'train')
  assert found['A+B'].chains == ('a', 'b') and found['A+B'].split == 'train'
  assert found['x'].split == 'test'  # one of its chains is


@pytest.mark.parametrize(
  ('rows', 'said'),
  [
    ([{'chains': 'a'}], "complexes.csv, line 2: names 'a'; expected two or more chains"),
    ([{'chains': 'a nowhere'}], 'left out: this set has no chain nowhere'),
    ([{'chains': 'a b', 'split': 'trian'}], "line 2: the split is 'trian'; .*did you mean 'train'"),
    ([{'names': 'a b'}], 'chains'),
  ],
)
def test_what_is_wrong_in_a_table_is_said(tmp_path, rows, said):
  structures = small_cache.write_structures(tmp_path / 's', {name: SEQUENCES[name] for name in 'ab'})
  listed = small_cache.write_table(tmp_path / 'complexes.csv', rows)
  with pytest.raises(InputError, match=said):
    build_cache(structures, tmp_path / 'cache', complexes=listed, processes=1)
  assert not (tmp_path / 'cache').exists()


def test_chains_that_the_set_lacks_are_told(tmp_path):
  structures = small_cache.write_structures(tmp_path / 's', {name: SEQUENCES[name] for name in 'ab'})
  listed = small_cache.write_table(tmp_path / 'complexes.csv', [{'chains': 'a b nowhere'}])
  summary = build_cache(structures, tmp_path / 'cache', complexes=listed, processes=1)
  assert summary.num_complexes == 1
  assert any('taken without: this set has no chain nowhere' in reason for _, reason in summary.skipped)
  assert 'no chain nowhere' in (tmp_path / 'cache' / 'skipped.csv').read_text()


def test_copies_of_which_different_parts_were_observed_are_one_entity(tmp_path):
  whole = SEQUENCES['a']
  cache = small_cache.make_cache(tmp_path, {'full': whole, 'part': whole[3:]})
  listed = small_cache.write_table(tmp_path / 'complexes.csv', [{'chains': 'full part'}])
  build_cache(tmp_path / 'structures', tmp_path / 'again', complexes=listed, processes=1)
  cache = open_cache(tmp_path / 'again')
  assert cache.complexes[0].entities == (1, 1)
  chains = assembled.assemble(cache.complexes[0], lambda name: cache[cache.places[name]])
  positions, mask = chains.copies(np.arange(57), 2)
  assert not mask[1, :3].any() and mask[1, 3:30, CA].all() and mask[0, 30:, CA].all()
  np.testing.assert_array_equal(positions[1, 3:30], cache[cache.places['part']].atom_positions)
  np.testing.assert_array_equal(positions[0, 30:], cache[cache.places['full']].atom_positions[3:])


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda content: content | {'version': 2}, 'of version 2'),
    (lambda content: content | {'format': 'other'}, 'no list of complexes'),
    (lambda content: content | {'complexes': [content['complexes'][0] | {'motions': [[1], [], []]}]}, 'incomplete'),
    (lambda content: content | {'complexes': [content['complexes'][0] | {'chains': ['a', 'b', 'z']}]}, 'names chain z'),
    (lambda content: content | {'complexes': [{'id': 'q'}]}, 'damaged'),
  ],
)
def test_a_damaged_list_is_refused_with_its_place(cache, tmp_path, change, said):
  content = change(json.loads((cache.path / complexes.FILE).read_text()))
  (tmp_path / complexes.FILE).write_text(json.dumps(content))
  with pytest.raises(InputError, match=said):
    complexes.read(tmp_path / complexes.FILE, ['a', 'b', 'a2', 'held'])


def test_a_cache_from_before_has_no_complexes(tmp_path):
  cache = small_cache.make_cache(tmp_path, {'a': SEQUENCES['a']})
  assert cache.complexes == ()
  with pytest.raises(InputError, match=r'complex_fraction is 0.5, but there is no complex .*\(0 in all\)'):
    TrainingSet([cache], SPEC, seed=0, batch_size=2)


def test_of_two_complexes_of_one_name_the_second_is_told_and_left_out(cache):
  both = [assemblies.ChainAssembly('twin', ('a', other), ((), ()), f'line {i}') for i, other in ((1, 'b'), (2, 'a2'))]
  made, skipped = complex_making.make_complexes(cache, both)
  assert [one.chains for one in made] == [('a', 'b')] and skipped == [('line 2', 'complex twin was taken already')]


# Examples


def test_a_share_of_the_examples_are_complexes_that_may_be_trained_on(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=2)
  names = [examples.example(i)[0] for i in range(300)]
  assert set(names) == {'a', 'b', 'a2', 'lone', 'a2b', 'A+B'}  # not x, which holds a test chain
  assert abs(np.mean([name in ('a2b', 'A+B') for name in names]) - 0.5) < 0.1
  assert examples.complexes.removed == {'split test': 1}


def test_complexes_of_one_cluster_share_its_probability_and_long_ones_are_accepted_more(cache):
  pool = complex_examples.ComplexPool([cache], SPEC)
  a2b, pair = (pool.entries.index(complexes_of(cache)[name]) for name in ('a2b', 'A+B'))
  assert pool.num_clusters == 1 and np.diff(pool._cumulative, prepend=0)[[a2b, pair]].tolist() == [0.5, 0.5]
  other = dataclasses.replace(complexes_of(cache)['a2b'], id='other', cluster='c')
  spec = dataclasses.replace(SPEC, length_cap=100)  # 52 of 100 residues beside 82 of them twice
  wider = complex_examples.ComplexPool([StandIn(cache, (*cache.complexes, other))], spec)
  shares = dict(zip([one.id for one in wider.entries], np.diff(wider._cumulative, prepend=0)))
  weights = {'a2b': 0.82 / 2, 'A+B': 0.52 / 2, 'other': 0.82}
  assert shares == pytest.approx({name: weight / sum(weights.values()) for name, weight in weights.items()})


class StandIn:
  """A cache with other complexes or entries."""

  def __init__(self, cache, complexes, entries=None):
    self.entries, self.places, self.complexes = entries or cache.entries, cache.places, complexes


def test_complexes_with_a_predicted_chain_are_not_trained_on(cache):
  entries = [dataclasses.replace(one, is_distillation=one.id == 'a2') for one in cache.entries]
  pool = complex_examples.ComplexPool([StandIn(cache, cache.complexes, entries)], SPEC)
  assert [one.id for one in pool.entries] == ['A+B'] and pool.removed['predicted structure'] == 1


def test_the_resolution_of_a_complex_is_that_of_its_worst_chain(cache, monkeypatch):
  whole = assembled.assemble(complexes_of(cache)['a2b'], lambda name: cache[cache.places[name]])
  records = [dataclasses.replace(one, resolution=value) for one, value in zip(whole.records, (1.5, 3.5, 2.5))]
  changed = dataclasses.replace(whole, records=tuple(records))
  monkeypatch.setattr(complex_examples, 'assemble', lambda *_: changed)
  assert whole_complex(cache, 0, SPEC, 1).targets.resolution == 3.5


def test_without_complexes_the_examples_are_as_before(cache):
  plain = TrainingSet([cache], dataclasses.replace(SPEC, complex_fraction=0.0), seed=0, batch_size=2)
  name, batch = plain.example(3)
  assert batch.targets.copy_positions is None
  assert 'num_copies' not in fields.axis_sizes(batch)


def test_every_example_has_the_same_shapes_and_depends_on_seed_and_number_alone(cache):
  one, two = (TrainingSet([cache], SPEC, seed=1, batch_size=2) for _ in range(2))
  for i in range(30):
    (name, batch), (again, other) = one.example(i), two.example(i)
    assert name == again
    assert fields.axis_sizes(batch) == {'num_res': 40, 'num_seq': 16, 'num_templ': 0, 'num_copies': 4}
    for (leaf, field, value), (_, _, same) in zip(fields.leaves(batch), fields.leaves(other), strict=True):
      assert value.dtype == field.metadata['dtype'], leaf
      np.testing.assert_array_equal(value, same)


def examples_of(cache, wanted, spec=SPEC, count=120):
  examples = TrainingSet([cache], dataclasses.replace(spec, complex_fraction=1.0), seed=2, batch_size=2)
  return [batch for name, batch in map(examples.example, range(count)) if name == wanted]


def test_a_crop_keeps_numbers_of_residues_chains_and_entities(cache):
  whole = SEQUENCES['a'], SEQUENCES['b'], SEQUENCES['a2']
  pieces = set()
  for batch in examples_of(cache, 'a2b'):
    num = int(batch.seq_mask.sum())
    assert num == 40  # of 82
    for chain, sequence in enumerate(whole, start=1):
      own = batch.asym_id == chain
      places = batch.residue_index[own]
      pieces.add(tuple(places))
      np.testing.assert_array_equal(batch.aatype[own], encode(sequence)[places])
      assert set(batch.entity_id[own]) <= {(1, 2, 1)[chain - 1]} and set(batch.sym_id[own]) <= {(1, 1, 2)[chain - 1]}
      record = cache[cache.places[('a', 'b', 'a2')[chain - 1]]]
      np.testing.assert_array_equal(batch.targets.atom_positions[own], record.atom_positions[places])
    assert np.all(np.diff(batch.asym_id[:num]) >= 0) and not batch.asym_id[num:].any()
  assert len(pieces) > 20


def test_copies_are_those_of_the_entity_at_the_same_residues(cache):
  for batch in examples_of(cache, 'a2b')[:10]:
    for chain, copies in ((1, ('a', 'a2')), (2, ('b',)), (3, ('a', 'a2'))):
      own = batch.asym_id == chain
      for k in range(4):
        mask = batch.targets.copy_mask[k, own]
        if k >= len(copies):
          assert not mask.any()
          continue
        record = cache[cache.places[copies[k]]]
        places = batch.residue_index[own]
        np.testing.assert_array_equal(batch.targets.copy_positions[k, own], record.atom_positions[places])
        np.testing.assert_array_equal(mask, record.atom_mask[places])


def test_a_single_chain_has_itself_as_only_copy(cache):
  examples = TrainingSet([cache], SPEC, seed=0, batch_size=2)
  batch = next(batch for name, batch in map(examples.example, range(200)) if name == 'lone')
  np.testing.assert_array_equal(batch.targets.copy_positions[0], batch.targets.atom_positions)
  assert not batch.targets.copy_mask[1:].any() and set(batch.asym_id[:26]) == {1}


def test_half_of_the_crops_are_around_an_interface(cache, monkeypatch):
  asked = []
  real = complex_examples.crop_spatial
  monkeypatch.setattr(complex_examples, 'crop_spatial', lambda *given: asked.append(1) or real(*given))
  examples = TrainingSet([cache], dataclasses.replace(SPEC, complex_fraction=1.0), seed=2, batch_size=2)
  for i in range(200):
    examples.example(i)
  assert abs(len(asked) / 200 - 0.5) < 0.1


def test_a_spatial_crop_shows_an_interface(cache):
  always = dataclasses.replace(SPEC, spatial_fraction=1.0, crop_size=16)
  for batch in examples_of(cache, 'a2b', always)[:20]:
    ca, asym = batch.targets.atom_positions[:16, CA], batch.asym_id[:16]
    apart = np.linalg.norm(ca[:, None] - ca, axis=-1)[asym[:, None] != asym]
    assert apart.size and apart.min() <= 10


def test_rows_of_copies_lie_side_by_side_and_of_others_below_one_another(cache):
  spec = dataclasses.replace(SPEC, crop_size=90, num_rows=90, num_deletion_blocks=0)
  batch = examples_of(cache, 'a2b', spec, 20)[0]
  rows = batch.msa.tokens[batch.msa.mask.any(axis=1)]
  first, second, third = (batch.asym_id == chain for chain in (1, 2, 3))
  np.testing.assert_array_equal(rows[0, :82], batch.aatype[:82])
  in_a, in_b = ((rows[1:][:, own] != residues.GAP).any(axis=1) for own in (first, second))
  assert not np.any(in_a & in_b) and in_a.sum() == 29 and in_b.sum() == 29
  np.testing.assert_array_equal(rows[:, first], rows[:, third])
  assert batch.msa.mask[: len(rows), :82].all()
  counts = np.eye(22)[rows[:, :82]].mean(axis=0)
  np.testing.assert_allclose(batch.msa.profile[:82], counts, atol=2e-5)


def test_rows_are_drawn_of_all_chains_that_are_shown(cache):
  depths = []
  for batch in examples_of(cache, 'A+B')[:30]:
    rows = batch.msa.tokens[batch.msa.mask.any(axis=1)]
    depths.append(len(rows))
    np.testing.assert_array_equal(rows[0][batch.seq_mask > 0], batch.aatype[batch.seq_mask > 0])
    assert batch.msa.pinned.tolist() == [1] + [0] * 15
  assert 1 <= min(depths) < max(depths) <= 16


def test_a_large_assembly_is_cut_to_neighbouring_chains(tmp_path):
  cache, _ = assemblies_of(tmp_path, 'templates/1vq2.cif.gz')
  spec = dataclasses.replace(SPEC, complex_fraction=1.0, max_chains=3, crop_size=64)
  examples = TrainingSet([cache], spec, seed=0, batch_size=2)
  batch = next(batch for name, batch in map(examples.example, range(20)) if name == '1vq2-2')
  assert batch.asym_id.max() <= 3 and batch.sym_id.max() <= 3 and batch.targets.copy_mask.shape[0] == 3
  assert batch.targets.copy_mask[:, :, CA].any(axis=1).all()


def test_a_whole_complex_is_neither_cropped_nor_padded(cache):
  index = next(i for i, one in enumerate(cache.complexes) if one.id == 'a2b')
  batch = whole_complex(cache, index, SPEC, max_rows=20)
  assert fields.axis_sizes(batch) == {'num_res': 82, 'num_seq': 20, 'num_templ': 0, 'num_copies': 3}
  assert whole_complex(cache, index, SPEC, max_rows=1).msa.tokens.shape == (1, 82)


def test_templates_of_chains_stand_side_by_side(cache):
  spec = dataclasses.replace(SPEC, num_templates=2, crop_size=90)
  for batch in examples_of(cache, 'a2b', spec, 10):
    assert batch.templates.aatype.shape == (2, 90)


# The command


def test_the_command_lists_complexes_and_says_how_many(tmp_path, capsys):
  given = [
    str(DATA / 'templates' / '2a8n.cif.gz'),
    str(tmp_path / 'set'),
    '--assemblies',
    '--processes',
    '1',
    '--quiet',
  ]
  assert cli.main(['dataset', *given, '--complexes', 'x.csv']) == 2
  assert '--assemblies and --complexes: give one of them' in capsys.readouterr().err
  assert cli.main(['dataset', *given]) == 0
  assert 'Complexes of them: 1' in capsys.readouterr().out
