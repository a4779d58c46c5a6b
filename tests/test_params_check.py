# SPDX-License-Identifier: Apache-2.0
"""`params check` passes on what the official network gives, and fails when a single array is wrong."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import small_network
import small_recordings
from small_recordings import MAKER

from alphafold_jax import cli, errors
from alphafold_jax import config as configs
from alphafold_jax.checking import check, comparing, files, findings, recording, replay, scores
from alphafold_jax.checking.check import Checks
from alphafold_jax.checking.findings import Verdict
from alphafold_jax.prediction import Model
from alphafold_jax.weights import manifest, official
from alphafold_jax.weights.random import random_official

NAME = '5AWL_1'
OTHER = 'model_5_ptm'
WRONG, HOLDS, UNCHECKED = Verdict.WRONG, Verdict.HOLDS, Verdict.UNCHECKED


# ------------------------------------------------------------------------------------------ the file


@pytest.fixture(scope='module')
def narrow():
  """A narrow network's configuration and arrays."""
  config = small_network.make_config()
  return config, random_official(config)


def check_file(tmp_path, narrow, **changed):
  config, arrays = narrow
  path = tmp_path / 'params_model_1_ptm.npz'
  np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})
  return files.check_file('model_1_ptm', path, config)


LOGITS = f'{official.PREFIX}distogram_head/half_logits//bias'


def test_a_file_as_published_holds_and_says_that_no_digest_is_known(tmp_path, narrow):
  found, arrays = check_file(tmp_path, narrow)
  assert found.verdict == HOLDS and 'no digest of it is known' in found.said
  assert arrays.keys() == narrow[1].keys()


@pytest.mark.parametrize(
  'change, said, usable',
  [
    (lambda array: None, 'missing', False),
    (lambda array: array[1:], 'mis-shaped', False),
    (lambda array: np.where(np.arange(len(array)) == 7, np.nan, array).astype(np.float32), 'first at (7,)', False),
    (lambda array: array.astype(np.float16), 'of type float16', True),
    (lambda array: array.astype(str), 'not numbers', False),
  ],
)
def test_one_wrong_array_of_a_file_is_named(tmp_path, narrow, change, said, usable):
  found, arrays = check_file(tmp_path, narrow, **{LOGITS: change(narrow[1][LOGITS])})
  assert found.verdict == WRONG
  assert said in found.lines[0] and LOGITS in found.lines[0]
  assert (arrays is not None) == usable


def test_an_array_that_the_model_does_not_use_is_named(tmp_path, narrow):
  found, _ = check_file(tmp_path, narrow, **{'new/head//weights': np.zeros(3, np.float32)})
  assert found.verdict == WRONG and found.lines == ('not used by the model: new/head//weights (3,)',)


def test_a_file_that_is_not_what_was_installed_is_wrong(tmp_path, narrow):
  found, _ = check_file(tmp_path, narrow)
  path = tmp_path / 'params_model_1_ptm.npz'
  entry = manifest.file_entry(path, 'f' * 64, 'an archive')
  manifest.write(tmp_path, manifest.read(tmp_path) | {'files': {path.name: entry}})
  found, arrays = files.check_file('model_1_ptm', path, narrow[0])
  assert found.verdict == WRONG and arrays is None and 'SHA-256' in found.lines[0]


def test_a_truncated_file_is_wrong(tmp_path, narrow):
  path = tmp_path / 'params_model_1_ptm.npz'
  check_file(tmp_path, narrow)
  path.write_bytes(path.read_bytes()[:5000])
  found, arrays = files.check_file('model_1_ptm', path, narrow[0])
  assert found.verdict == WRONG and arrays is None and 'truncated' in found.lines[0]


# ------------------------------------------------------------------------------------------ the recordings that ship


@pytest.fixture(params=recording.SHIPPED)
def shipped(request):
  return small_recordings.shipped()[request.param]


def test_our_scores_of_the_recorded_logits_are_those_recorded(shipped):
  assert all(one.holds for one in check.compare_scores(shipped))


def test_every_pass_is_fed_exactly_as_recorded(shipped):
  """`as_sample` compares the features that our network makes with those recorded."""
  masked = [replay.as_sample(shipped, index).target.mask.sum() for index in range(shipped.num_pass)]
  assert masked == list(shipped.features['bert_mask'].sum((1, 2))) and shipped.num_pass == 4


def test_features_that_no_sample_gives_are_refused(shipped):
  features = shipped.features | {'msa_feat': shipped.features['msa_feat'] + 0.5}
  with pytest.raises(errors.InputError, match='msa_feat of pass 0'):
    replay.as_sample(dataclasses.replace(shipped, features=features), 0)


def test_deletions_and_extra_rows_are_fed_as_the_official_program_has_them():
  batch = oracle.random_batch(num_templates=0)
  fields = {name: array[None] for name, array in oracle.make_features(batch, 5, 9).items()}
  zeros = np.zeros(fields['msa_mask'].shape, np.float32)
  made = recording.make('random', fields | {'bert_mask': zeros, 'true_msa': zeros}, {})
  sample = replay.as_sample(made, 0)
  assert sample.extra_tokens.shape == (7, 17) and sample.extra_deletions.max() > 1


def test_one_linear_map_made_both_recordings_in_float32():
  """So one model made both; with 129 unknowns for 269 pairs this is no chance. Both trunks were in bfloat16."""
  pairs, logits = [], []
  for one in small_recordings.shipped().values():
    pair = one.outputs['prev/prev_pair']
    assert np.array_equal(pair, np.asarray(jnp.asarray(pair, jnp.bfloat16), np.float32))
    pairs.append(np.pad(pair.reshape(-1, 128).astype(float), ((0, 0), (0, 1)), constant_values=1))
    bins = one.outputs['aligned_confidence_probs'].reshape(-1, 64)[:, [16, 24]].astype(float)
    logits.append(np.log(np.maximum(bins, 1e-45)))
  logits = np.concatenate(logits)
  seen = (logits > -60).all(axis=1)
  pairs, ratio = np.concatenate(pairs)[seen], (logits[:, 1] - logits[:, 0])[seen]
  rest = ratio - pairs @ np.linalg.lstsq(pairs, ratio)[0]
  assert seen.sum() > 250 and np.abs(rest).max() < 1e-5 < 1 < np.abs(ratio).max()


def test_a_damaged_recording_is_an_error(tmp_path):
  (tmp_path / 'x_feat.npz').write_bytes(b'x')
  with pytest.raises(errors.InputError, match='x_feat.npz'):
    recording.read(tmp_path, 'x')
  with pytest.raises(errors.InputError, match='lacks distogram/logits'):
    outputs = dict(small_recordings.shipped()[NAME].outputs)
    del outputs['distogram/logits']
    comparing.of_recording(recording.Recording('x', small_recordings.shipped()[NAME].features, outputs))


# ------------------------------------------------------------------------------------------ one wrong number


@pytest.mark.parametrize('name', comparing.OUTPUTS)
@pytest.mark.parametrize('change', [0.2, np.nan])
def test_one_wrong_number_of_any_array_is_named_with_its_place(shipped, name, change):
  recorded = comparing.of_recording(shipped)
  array = recorded[name].copy()
  place = tuple(size - 1 for size in array.shape)
  array[place] += change
  (found,) = comparing.compare(recorded | {name: array}, recorded, {name: 0.1})
  axis, last = comparing.OUTPUTS[name].axes[-1], array.shape[-1] - 1
  assert not found.holds and found.line.startswith(f'{name}: ') and f'{axis} {last} (from 0)' in found.line
  assert '1 of' in found.line and 'tolerance 0.1' in found.line


def test_the_summary_counts_what_could_not_be_checked_as_neither():
  rows = [findings.Finding('m', 'c', verdict, 'said', ('a line',)) for verdict in Verdict]
  assert findings.summary(rows) == '3 checks: 1 right, 1 wrong, 1 not made'
  assert findings.text(rows[1]).splitlines()[1].strip() == 'a line' and 'WRONG' in findings.text(rows[1])


def test_a_finding_is_one_line_in_a_file_and_ends_between_words_on_a_terminal():
  found = findings.Finding('model_1_ptm', 'heads', Verdict.HOLDS, 'arrays of some words ' * 9, ('a/b-c ' * 40,))
  assert len(findings.text(found).splitlines()) == 2
  folded = findings.text(found, 80).splitlines()
  assert max(map(len, folded)) <= 80 and all(line.startswith('      ') for line in folded[1:])
  assert ' '.join(findings.text(found, 80).split()) == ' '.join(findings.text(found).split())


def test_without_parameters_it_says_what_to_run(tmp_path, capsys):
  assert cli.main(['params', 'check', '--data', str(tmp_path)]) == 2
  assert 'alphafold-jax params download' in capsys.readouterr().err
  assert cli.main(['params', 'check', '--data', str(tmp_path / 'absent')]) == 2
  (tmp_path / 'params_mine.npz').write_bytes(b'x')
  assert cli.main(['params', 'check', '--data', str(tmp_path)]) == 2


def test_a_damaged_file_exits_1_and_the_rest_is_said_to_be_unchecked(tmp_path, capsys):
  (tmp_path / 'params_model_2_ptm.npz').write_bytes(b'x')
  (tmp_path / 'params_mine.npz').write_bytes(b'x')
  (tmp_path / 'params_model_4.npz').symlink_to(tmp_path / 'nowhere')
  assert cli.main(['params', 'check', '--data', str(tmp_path)]) == 1
  shown = capsys.readouterr().out
  assert 'WRONG' in shown and 'not an .npz file' in shown and 'its file is not right' in shown
  assert 'a link that leads nowhere' in shown
  assert 'not a published model that this program knows' in shown and 'not decided' in shown


# ------------------------------------------------------------------------------------------ beside the official network


def model(name, **changed):
  """A shallow model with some of its arrays changed."""
  config = configs.changed(configs.model_config(name), small_recordings.changes())
  arrays = small_recordings.arrays(name) | changed
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config))
  return Model(name=name, config=config, params=params, source='file')


@pytest.fixture(scope='module')
def recorded():
  return small_recordings.recorded(NAME)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The five ptm models."""
  place = tmp_path_factory.mktemp('params')
  for name in check.PTM_MODELS:
    np.savez(place / f'params_{name}.npz', **small_recordings.arrays(name))
  return place


def run(folder, *recordings):
  checks = Checks(recordings=recordings, published_scores=None, changes=small_recordings.changes())
  return list(checks.run(folder))


@pytest.mark.slow
def test_bfloat16_changes_as_much_here_as_in_the_official_network(recorded):
  """So that the distance between our own passes, with the parameters at hand, says what may be tolerated."""
  exact = comparing.of_recording(small_recordings.recorded(NAME, dtype='float32'))
  theirs = comparing.largest(comparing.of_recording(recorded), exact)
  ours = comparing.largest(*(replay.passes(model(MAKER), recorded, dtype) for dtype in ('bfloat16', 'float32')))
  ratios = {name: ours[name] / theirs[name] for name in theirs}
  assert 0.6 < np.exp(np.mean(np.log(list(ratios.values())))) < 1.6
  assert all(1 / 3 < ratio < 3 for ratio in ratios.values()), ratios


@pytest.mark.slow
def test_what_the_official_network_recorded_holds_and_its_maker_is_found(folder, recorded):
  found = run(folder, recorded)
  assert not [one for one in found if one.verdict == WRONG]
  rows = {(one.subject, one.check): one for one in found}
  assert rows[MAKER, f'{NAME}, heads'].verdict == rows[MAKER, f'{NAME}, 4 passes'].verdict == HOLDS
  assert rows[NAME, 'made by one model'].said.startswith(f'made by {MAKER}')
  assert rows[OTHER, 'outputs'].verdict == UNCHECKED
  assert [one.check for one in found].count('file') == 5


@pytest.mark.slow
def test_who_made_a_recording_is_not_decided_without_its_model(folder, recorded, tmp_path):
  for name in (OTHER, 'model_3_ptm'):
    (tmp_path / f'params_{name}.npz').symlink_to(folder / f'params_{name}.npz')
  last = run(tmp_path, recorded)[-1]
  assert last.verdict == UNCHECKED and 'not decided: model_1_ptm, model_2_ptm, model_4_ptm may have' in last.said


@pytest.mark.slow
def test_a_recording_that_none_of_the_five_made_is_wrong(folder, recorded):
  pair = recorded.outputs['prev/prev_pair'] * 1.05
  last = run(folder, dataclasses.replace(recorded, outputs=recorded.outputs | {'prev/prev_pair': pair}))[-1]
  # the masked-MSA head sees the alignment alone, so the maker is known all the same
  assert last.said.startswith(f'made by {MAKER}')
  row = recorded.outputs['prev/prev_msa_first_row'] * 1.05
  outputs = recorded.outputs | {'prev/prev_pair': pair, 'prev/prev_msa_first_row': row}
  last = run(folder, dataclasses.replace(recorded, outputs=outputs))[-1]
  assert last.verdict == WRONG and 'made by none of the five' in last.said and last.lines


HEADS = ('distogram', 'predicted_aligned_error', 'masked_msa', 'experimentally_resolved', 'predicted_lddt')
AFTER_TRUNK = (
  *(f'{head}_head/{"half_" if head == "distogram" else ""}logits//weights' for head in HEADS),
  'evoformer/single_activations//weights',
  'structure_module/fold_iteration/invariant_point_attention/output_projection//weights',
  'structure_module/fold_iteration/rigid_sidechain/unnormalized_angles//bias',
)
IN_TRUNK = (
  'evoformer/preprocess_msa//weights',
  'evoformer/prev_pair_norm//scale',
  'evoformer/pair_activiations//weights',
  'evoformer/extra_msa_stack/outer_product_mean//output_b',
  'evoformer/evoformer_iteration/msa_transition/transition2//weights',
  'evoformer/evoformer_iteration/triangle_multiplication_outgoing/output_projection//weights',
)


def with_array_of_another(array):
  """The maker with one array of another model in place of its own."""
  name = official.PREFIX + array
  return model(MAKER, **{name: small_recordings.arrays(OTHER)[name]})


@pytest.mark.slow
@pytest.mark.parametrize('array', AFTER_TRUNK)
def test_one_wrong_array_after_the_trunk_is_seen(recorded, array):
  differences = check.compare_after_trunk(with_array_of_another(array), recorded)
  assert check.is_maker(differences) and not all(one.holds for one in differences)


@pytest.mark.slow
@pytest.mark.parametrize('array', IN_TRUNK)
def test_one_wrong_array_of_the_trunk_is_seen(recorded, array):
  changed = with_array_of_another(array)
  assert all(one.holds for one in check.compare_after_trunk(changed, recorded))
  assert not all(one.holds for one in check.compare_passes(changed, recorded))


@pytest.mark.slow
def test_a_recorded_mask_at_another_place_is_seen(recorded):
  swapped = {name: recorded.features[name][[1, 0, 3, 2]] for name in ('msa_feat', 'bert_mask')}  # passes
  other = dataclasses.replace(recorded, features=recorded.features | swapped)
  assert not all(one.holds for one in check.compare_passes(model(MAKER), other))


@pytest.mark.slow
def test_published_scores_hold_within_their_tolerance_only():
  """Those of the official network, from the one pass without a mask."""
  passes = {0: 1, 3: 4}
  theirs = {index: small_recordings.scores(NAME, num, 1) for index, num in passes.items()}
  sequence = 'YYDPETGTWY'
  known = scores.Published(MAKER, sequence, {i: scores.MeanScores(*one) for i, one in theirs.items()}, 'the oracle')
  with warnings.catch_warnings():
    warnings.simplefilter('error')  # the sequence is meant to be alone
    exact = scores.check_scores(model(MAKER), known)
  assert exact.verdict == HOLDS
  array = f'{official.PREFIX}predicted_lddt_head/logits//weights'
  changed = model(MAKER, **{array: 8 * small_recordings.arrays(MAKER)[array]})
  found = scores.check_scores(changed, known)
  assert found.verdict == WRONG and 'mean pLDDT' in found.lines[0] and 'not within 1.5' in found.said


@pytest.mark.slow
@pytest.mark.parametrize('factor, code', [(1.0, 0), (1.01, 1)])
def test_the_command_exits_by_what_it_found(folder, recorded, tmp_path, monkeypatch, capsys, caplog, factor, code):
  caplog.set_level('INFO')
  array = f'{official.PREFIX}distogram_head/half_logits//weights'
  arrays = small_recordings.arrays(MAKER)
  np.savez(tmp_path / f'params_{MAKER}.npz', **(arrays | {array: np.float32(factor) * arrays[array]}))
  checks = Checks(recordings=[recorded], published_scores=None, changes=small_recordings.changes())
  monkeypatch.setattr(check, 'shipped', lambda say: dataclasses.replace(checks, say=say))
  assert cli.main(['params', 'check', '--data', str(tmp_path)]) == code
  shown = capsys.readouterr().out
  assert ('WRONG' in shown) == bool(code) and ('distogram logits: ' in shown) == bool(code)
  assert f'{MAKER}: all 4 passes' in caplog.text and 'not made' in shown
