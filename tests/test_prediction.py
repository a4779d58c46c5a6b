# SPDX-License-Identifier: Apache-2.0
"""The Python API: one prediction from a query, on a small network with random weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import alphafold_jax as afj
from alphafold_jax import attempts, devices, errors, installed, planning, prediction, programs
from alphafold_jax.data import features
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.templates import Template, stack_templates
from alphafold_jax.model import alphafold
from alphafold_jax.weights import official, random, store

SMALL = {'evoformer__num_block': 1, 'extra_msa__num_block': 1, 'structure__num_layer': 2}
SEQUENCE = 'MKTAYIAKQRQISFVKSHFSRQ'
BARE = afj.single_sequence(SEQUENCE)
A3M = f'>q\n{SEQUENCE}\n' + ''.join(f'>{i}\n{SEQUENCE[:i]}{"-" * 4}{SEQUENCE[i + 4 :]}\n' for i in range(12))


@pytest.fixture(scope='module')
def model():
  return afj.load_model('model_3_ptm', params='random', **SMALL)


@pytest.fixture(scope='module')
def predicted(model):
  return afj.predict(model, BARE, num_recycle=1)


def compiled_programs(model, **settings):
  """How many shapes the pass of these settings was compiled for."""
  config = prediction.Settings(**settings).apply(model.config)
  config = planning.reduced(config, {'num_seq': 1, 'num_templ': 0})
  return len(programs.compiled(alphafold.make_spec(config), False, 1, False, 1).one_pass.compiled)


def test_a_prediction_is_unpadded_finite_and_complete(predicted):
  n = len(SEQUENCE)
  assert predicted.sequence == SEQUENCE and predicted.plddt.shape == (n,) and predicted.pae.shape == (n, n)
  assert predicted.atom_positions.shape == (n, 37, 3) and predicted.atom_mask.shape == (n, 37)
  assert np.isfinite(predicted.atom_positions).all() and np.all((predicted.plddt > 0) & (predicted.plddt < 100))
  assert 0 < predicted.ptm < 1 and predicted.mean_plddt == pytest.approx(predicted.plddt.mean(), rel=1e-5)
  assert [p.index for p in predicted.passes] == [0, 1]
  assert predicted.contact_probability.shape == (n, n)


def test_random_weights_are_labelled(predicted):
  assert predicted.notes == (store.RANDOM.text,)


def test_the_same_seed_gives_the_same_structure_and_another_seed_another(model):
  alignment = parse_a3m(A3M, 'a3m')
  runs = [afj.predict(model, alignment, num_recycle=0, seed=seed).atom_positions for seed in (0, 0, 1)]
  np.testing.assert_array_equal(runs[0], runs[1])
  assert np.abs(runs[0] - runs[2]).max() > 1e-3


def test_hard_probabilities_give_exactly_the_prediction_of_their_sequence(model):
  other = 'GS' + SEQUENCE[2:20] + 'XW'
  alignments = (parse_a3m(A3M.replace(f'>q\n{SEQUENCE}', f'>q\n{query}', 1), 'a3m') for query in (SEQUENCE, other))
  old, new = map(afj.make_batch, alignments)
  assert len(old.msa.tokens) == len(new.msa.tokens) > 10
  ours, theirs = (
    afj.predict(model, batch, num_recycle=1) for batch in (afj.with_sequence(old, new.soft_sequence), new)
  )
  assert ours.sequence == other
  for name, array in theirs.arrays.items():
    np.testing.assert_array_equal(ours.arrays[name], array, err_msg=name)


def test_masking_off_makes_a_shallow_alignment_independent_of_the_seed(model):
  alignment = parse_a3m(A3M, 'a3m')
  runs = [afj.predict(model, alignment, num_recycle=0, seed=seed, masked_msa_fraction=0.0) for seed in (0, 1)]
  a, b = (run.atom_positions for run in runs)
  np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max())


def test_proteins_of_like_length_compile_once(model):
  before = compiled_programs(model, num_recycle=0, masked_msa_fraction=0.1)
  for n in range(17, 25):
    afj.predict(model, afj.single_sequence(('ACDEFGHIKL' * 3)[:n]), num_recycle=0, masked_msa_fraction=0.1)
  assert compiled_programs(model, num_recycle=0, masked_msa_fraction=0.1) - before == 1


def test_alignments_of_any_depth_compile_once_and_a_single_sequence_computes_one_row(model):
  settings = {'num_recycle': 0, 'masked_msa_fraction': 0.2, 'max_msa': (2, 3)}
  keys = set()
  for depth in (5, 13, 5 * 13):
    places = (divmod(i, len(SEQUENCE)) for i in range(1, depth))
    rows = ''.join(f'>row\n{SEQUENCE[:place]}{"WYFC"[letter]}{SEQUENCE[place + 1 :]}\n' for letter, place in places)
    alignment = parse_a3m(f'>q\n{SEQUENCE}\n{rows}', 'a3m')
    afj.predict(model, alignment, **settings)
    keys.add(prediction.program_key(model, prediction.as_batch(alignment), prediction.Settings(**settings)))
  (((spec, *_), _),) = keys
  assert (spec.sampling.num_msa, spec.sampling.num_extra) == (2, 3)
  assert len(programs.compiled(spec, False, 1, False, 1).one_pass.compiled) == 1
  (single, *_), _ = prediction.program_key(model, prediction.as_batch(BARE), prediction.Settings())
  assert (single.sampling.num_msa, single.sampling.num_extra) == (1, 1)


def test_recycling_stops_when_the_structure_stops_changing(model):
  changes = [p.change for p in afj.predict(model, BARE, num_recycle=3).passes]
  tolerance = max(changes[1:]) + 1e-3
  stopped = afj.predict(model, BARE, num_recycle=3, recycle_early_stop_tolerance=tolerance)
  one_more = afj.predict(model, BARE, num_recycle=3, recycle_early_stop_tolerance=tolerance, early_stop='deepmind')
  assert len(changes) == 4 and len(stopped.passes) == 2 and len(one_more.passes) == 3


def test_the_first_pass_goes_on_from_an_initial_guess(model, predicted):
  def positions(guess):
    return afj.predict(model, BARE, num_recycle=1, initial_guess=guess).atom_positions

  nothing = np.zeros((22, 37, 3), np.float32)
  np.testing.assert_array_equal(positions(nothing), predicted.atom_positions)
  assert np.abs(positions(predicted.atom_positions) - predicted.atom_positions).max() > 1e-3
  with pytest.raises(errors.InputError, match=r'must be a file, or finite numbers \[22, 37, 3\] in Å'):
    positions(nothing[:21])


def test_each_pass_is_reported_and_its_structure_can_be_fetched(model, predicted):
  seen = []
  afj.predict(model, BARE, num_recycle=1, on_pass=lambda info, fetch: seen.append((info.index, fetch())))
  assert [index for index, _ in seen] == [0, 1]
  assert np.abs(seen[0][1].atom_positions - seen[1][1].atom_positions).max() > 1e-3
  np.testing.assert_array_equal(seen[1][1].atom_positions, predicted.atom_positions)


def test_representations_are_kept_on_request(model, predicted):
  kept = afj.predict(model, BARE, num_recycle=0, keep_representations=True).representations
  assert kept.single.shape == (22, 384) and kept.pair.shape == (22, 22, 128)
  assert predicted.representations is None


def test_a_distogram_is_kept_on_request_and_agrees_with_the_contacts(model, predicted, tmp_path):
  kept = afj.predict(model, BARE, num_recycle=1, keep_distogram=True)
  assert predicted.distogram is None and kept.distogram.shape == (22, 22, 64) and kept.distogram.dtype == np.float16
  probabilities = np.exp(kept.distogram.astype(np.float32))
  np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-3)
  np.testing.assert_array_equal(kept.distogram, kept.distogram.swapaxes(0, 1))
  np.testing.assert_array_equal(kept.contact_probability, predicted.contact_probability)
  contacts = afj.confidence.contact_probability(kept.distogram)
  np.testing.assert_allclose(contacts, kept.contact_probability, atol=1e-3)
  (path,) = kept.save(tmp_path, formats=['all'])
  with np.load(path) as arrays:
    np.testing.assert_array_equal(arrays['distogram'], kept.distogram)
    assert arrays['distogram_edges'].shape == (63,) and np.ptp(arrays['distogram_edges']) == 19.375  # Å


def test_models_without_the_head_have_no_aligned_error():
  model = afj.load_model('model_3', params='random', **SMALL)
  result = afj.predict(model, BARE, num_recycle=0)
  assert result.pae is None and result.ptm is None and result.tag == 'alphafold2_model_3_seed_000'


def test_nothing_but_numbers_leaves_the_program(model):
  params = jax.tree.map(lambda x: x, dict(model.params))
  params['structure_module/single'] = {k: v * jnp.nan for k, v in params['structure_module/single'].items()}
  broken = dataclasses.replace(model, params=params)
  with pytest.raises(errors.NumericalError, match='query: model_3_ptm gave NaN or infinity in pass 0 in float32'):
    afj.predict(broken, BARE, num_recycle=1, dtype='bfloat16')


def test_overflow_in_bfloat16_is_tried_again_in_float32(model, monkeypatch):
  tried = []
  run = attempts._run

  def overflowing(task, plan, on_pass):
    tried.append(task.config.dtype)
    if task.config.dtype == 'bfloat16':
      raise errors.NumericalError('overflow')
    return run(task, plan, on_pass)

  monkeypatch.setattr(attempts, '_run', overflowing)
  assert np.isfinite(afj.predict(model, BARE, num_recycle=0, dtype='bfloat16').plddt).all()
  assert tried == ['bfloat16', 'float32']


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'num_recycle': -1}, 'num_recycle=-1'),
    ({'num_ensemble': 0}, 'num_ensemble=0'),
    ({'max_msa': (0, 5)}, 'such as 512:1024'),
    ({'masked_msa_fraction': 1.5}, 'between 0 and 1'),
    ({'dtype': 'float16'}, 'float32 or bfloat16'),
    ({'num_recycles': 3}, "no setting 'num_recycles'.*choose from num_recycle"),
    ({'num_recycle': '3'}, "num_recycle='3': must be a whole number, 0 or more"),
    ({'num_recycle': True}, 'num_recycle=True'),
    ({'num_recycle': 1.5}, 'num_recycle=1.5'),
    ({'num_ensemble': None, 'use_dropout': None}, 'use_dropout=None: must be True or False'),
    ({'recycle_early_stop_tolerance': float('nan')}, 'recycle_early_stop_tolerance=nan: must be a number'),
    ({'max_msa': '512:1024'}, "max_msa='512:1024': must be two numbers"),
    ({'max_msa': (512.0, 1024)}, 'max_msa='),
    ({'num_devices': 0}, 'num_devices=0'),
    ({'num_devices': 4096}, '4096'),
    ({'kernels': 'fast'}, "kernels='fast': kernel 'fast' is not one of"),
    ({'kernels': 3}, 'kernels=3: must be text'),
    ({'keep_distogram': 'yes'}, "keep_distogram='yes'"),
    ({'evoformer__num_block': 2}, r'give it to afj.load_model \(alphafold_jax/config.py\)'),
    ({'seed': -1}, 'seed=-1: must be a whole number from 0 to 2147483647'),
    ({'seed': 'x'}, "seed='x': must be a whole number"),
    ({'seed': 2**40}, 'seed=1099511627776'),
    ({'seed': 0.5}, 'seed=0.5'),
    ({'settings': 3}, 'settings=3: must be afj.Settings'),
    ({'templates': 'x.pdb'}, "templates='x.pdb': must be from data.templates"),
    ({'name': 3}, 'name=3: must be text'),
    ({'plan': 3}, 'plan=3'),
    ({'on_pass': 3}, 'on_pass=3: must be a function'),
    ({'make_room': 3}, 'make_room=3: must be a function'),
  ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(model, changes, message):
  with pytest.raises(errors.InputError, match=message):
    afj.predict(model, BARE, **changes)


@pytest.mark.parametrize(
  ('query', 'message'),
  [
    (None, 'query=None: must be one protein'),
    (3, 'query=3: must be one protein'),
    (b'MKT', 'query=.*must be one protein'),
    (np.zeros((3, 21)), r'query=float64\[3, 21\]: must be one protein'),
    (['MKT', 'MKV'], r"query=\['MKT', 'MKV'\]: must be one protein.*many proteins: afj.read_queries"),
    ('', "'query' is empty"),
    ('MK1', "residue 3: '1' is no residue"),
    (afj.Query('q', 'MKT', 'nowhere.a3m'), 'nowhere.a3m'),
    (dataclasses.replace(BARE, tokens=BARE.tokens[:, :5]), r'alignment: tokens of shape \(1, 5\) and deletions'),
    (dataclasses.replace(BARE, tokens=BARE.tokens + 7), 'alignment: tokens .* must be integers from 0 to 21'),
    (dataclasses.replace(BARE, tokens=BARE.tokens[:0], deletions=BARE.tokens[:0]), 'alignment: tokens of shape'),
  ],
)
@pytest.mark.filterwarnings('ignore:a sequence without an alignment')
def test_what_is_no_protein_is_refused_by_name(model, query, message):
  with pytest.raises(errors.InputError, match=message):
    afj.predict(model, query)
  with pytest.raises(errors.InputError, match=message):
    afj.make_batch(query)


@pytest.mark.parametrize('seed', [0, 7, 2**31 - 1])
def test_the_key_of_a_pass_is_the_seeds_with_the_index_of_the_pass(seed):
  expected = jax.random.fold_in(jax.random.key(seed), 3)
  assert programs.PassKey.of(seed, 3).key() == expected


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'aatype': np.full(22, 21, np.int32)}, "batch: array 'aatype' holds 21..21, expected 0..20"),
    ({'aatype': np.zeros(22, np.float32)}, "batch: array 'aatype' has type float32, expected int32"),
    ({'soft_sequence': np.full((22, 21), np.nan, np.float32)}, "batch: array 'soft_sequence'.*NaN"),
    ({'soft_sequence': np.zeros((22, 20), np.float32)}, r"batch: array 'soft_sequence' has shape \(22, 20\)"),
    ({'aatype': None}, "batch: without the array 'aatype'"),
    ({'msa': None}, "batch: without the array 'msa.tokens'"),
    ({'seq_mask': np.full(22, 2, np.float32)}, "batch: array 'seq_mask' holds 2..2, expected 0..1"),
    ({'seq_mask': np.zeros(22, np.float32)}, "batch: array 'seq_mask' shows no residue"),
    ({'msa.mask': np.zeros((1, 22), np.float32)}, "batch: array 'msa.mask' shows no residue"),
    ({'msa.deletions': np.full((1, 22), -1, np.float32)}, "batch: array 'msa.deletions' holds -1..-1, expected 0 or"),
    ({'aatype': np.zeros(22, np.int32)}, 'batch: soft_sequence holds another sequence than aatype, first at residue 1'),
    ({'soft_sequence': np.full((22, 21), 1 / 21, np.float32)}, 'another sequence than aatype.*afj.with_sequence'),
    ({'msa.tokens': np.zeros((1, 22), np.int32)}, 'batch: row 0 of msa.tokens holds another sequence than aatype'),
  ],
)
def test_a_batch_that_cannot_be_is_refused_by_array(model, changes, message):
  with pytest.raises(errors.InputError, match=message):
    afj.predict(model, changed(afj.make_batch(BARE), changes))


def changed(batch, changes):
  """The batch with other arrays, by dotted name."""
  of_msa = {name.removeprefix('msa.'): array for name, array in changes.items() if name.startswith('msa.')}
  rest = {name: array for name, array in changes.items() if not name.startswith('msa.')}
  return dataclasses.replace(batch, **({'msa': dataclasses.replace(batch.msa, **of_msa)} if of_msa else {}), **rest)


def test_a_batch_inside_a_transformation_of_jax_is_refused_with_what_to_call(model):
  batch = afj.make_batch(BARE)
  with pytest.raises(errors.InputError, match='runs outside of them; inside, call model.prepare and model.iterate'):
    jax.jit(lambda soft: afj.predict(model, afj.with_sequence(batch, soft)).arrays['plddt'])(batch.soft_sequence)


def test_templates_are_given_with_a_query_and_to_a_model_that_takes_them(model):
  templates = dataclasses.replace(features.empty_templates(1, len(SEQUENCE)), mask=np.ones(1, np.float32))
  with pytest.raises(errors.InputError, match='a batch has its own; give them to afj.make_batch'):
    afj.predict(model, afj.make_batch(BARE), templates=templates)
  with pytest.warns(UserWarning, match='templates are not used by model_3_ptm'):
    afj.predict(model, BARE, templates=templates, num_recycle=0)
  with pytest.warns(UserWarning, match='templates are not used by model_3_ptm'):
    afj.predict(model, afj.make_batch(BARE, templates), num_recycle=0)


@dataclasses.dataclass(frozen=True)
class Shape:
  """A template that came with a protein: a line of alanines."""

  step: float  # Å between residues

  def place(self, query_sequence):
    n = len(query_sequence)
    positions = np.arange(n)[:, None, None] * np.full((37, 3), self.step, np.float32)
    chosen = np.arange(37) < 5  # N, CA, C, CB, O
    masks = np.broadcast_to(chosen, (n, 37)).astype(np.float32)
    return Template(f'line {self.step}', np.zeros(n, np.int32), positions, masks, {i: i for i in range(n)}, 0.1, 1.0)

  def identity(self):
    return str(self.step)


def test_four_of_the_templates_that_came_with_a_protein_are_in_its_batch(caplog):
  query = afj.Query('own', SEQUENCE, BARE, templates=tuple(Shape(step) for step in (1, 2, 3, 4, 5)))
  batch = afj.make_batch(query)
  assert batch.templates.mask.tolist() == [1, 1, 1, 1] and batch.templates.atom_positions[:, 1, 1, 0].tolist() == [
    1,
    2,
    3,
    4,
  ]
  assert 'own: only the first 4 of its 5 templates are used' in caplog.text
  given = stack_templates([Shape(7).place(SEQUENCE)])
  assert afj.make_batch(query, given).templates is given  # what is given goes before
  assert not afj.make_batch(dataclasses.replace(query, templates=())).templates.mask.any()
  with pytest.raises(errors.InputError, match="templates='x.pdb': of 'own': must be from afj.read_queries"):
    afj.make_batch(dataclasses.replace(query, templates='x.pdb'))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ((None,), 'name=None: must be the name of a model'),
    (('model_9',), "there is no model 'model_9'; choose one of model_1"),
    (('mini', 3), 'params=3: must be an .npz file, a folder'),
    (('mini', {}), 'params={}: must be an .npz file'),
  ],
)
def test_a_model_that_there_is_not_is_refused_by_name(arguments, message):
  with pytest.raises(errors.InputError, match=message):
    afj.load_model(*arguments)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'evoformer__num_blocks': 2}, "did you mean 'evoformer.num_block'.*alphafold_jax/config.py"),
    ({'num_block': 2}, "did you mean '.*num_block'"),
    ({'evoformer': 2}, 'evoformer=2: names a section; choose evoformer.c_outer, '),
    ({'evoformer__num_block': 'two'}, "evoformer.num_block='two': must be of the kind of 48"),
    ({'dtype': 'int8'}, "dtype='int8': must be float32 or bfloat16"),
    ({'evoformer': None}, 'evoformer: .*see alphafold_jax/config.py'),
    ({'evoformer__num_block': -1}, 'evoformer__num_block: a network has no arrays of these sizes'),
    ({'embedder__c_m': 0}, 'embedder__c_m: a network has no arrays of these sizes'),
    ({'num_devices': 2}, r'give it to afj.predict \(alphafold_jax/settings.py\)'),
  ],
)
def test_a_setting_of_a_model_that_cannot_be_is_refused_by_name(changes, message):
  with pytest.raises(errors.InputError, match=message):
    afj.load_model('model_3_ptm', 'random', **changes)


def test_only_a_model_predicts():
  with pytest.raises(errors.InputError, match='source=3: must be text: where the parameters come from'):
    afj.Model('mini', {}, {}, 3)
  with pytest.raises(errors.InputError, match="model='mini': must be a model, from afj.load_model"):
    afj.predict('mini', BARE)


def test_a_bare_sequence_is_warned_of_and_an_alignment_of_it_is_not(recwarn):
  afj.make_batch(BARE)
  afj.make_batch(afj.Query('q', SEQUENCE, BARE))
  assert not recwarn.list
  for bare in (SEQUENCE, afj.Query('q', SEQUENCE)):
    with pytest.warns(UserWarning, match='without an alignment.*afj.single_sequence') as caught:
      afj.make_batch(bare)
    assert caught[0].filename == __file__  # the caller is named


def test_max_msa_limits_the_rows(model):
  config = prediction.Settings(max_msa=(4, 3)).apply(model.config)
  assert (config.sampling.num_msa, config.sampling.num_extra) == (4, 3)


def test_saving_writes_files_under_the_usual_names(predicted, tmp_path):
  paths = predicted.save(tmp_path, job='p1')
  assert sorted(path.name for path in paths) == [
    'p1_scores_alphafold2_ptm_model_3_seed_000.json',
    'p1_unrelaxed_alphafold2_ptm_model_3_seed_000.cif',
    'p1_unrelaxed_alphafold2_ptm_model_3_seed_000.pdb',
  ]
  assert store.RANDOM.text in (tmp_path / 'p1_unrelaxed_alphafold2_ptm_model_3_seed_000.pdb').read_text()


def test_a_model_loads_from_an_official_file_and_from_its_folder(tmp_path, model):
  path = tmp_path / 'params_model_3_ptm.npz'
  official.save_official(path, model.params, model.config)
  for place in (path, tmp_path):
    loaded = afj.load_model('model_3_ptm', params=place, **SMALL)
    jax.tree.map(np.testing.assert_array_equal, dict(loaded.params), dict(model.params))
    assert loaded.source == str(path) and not loaded.is_random


def test_missing_weights_say_what_to_run(tmp_path):
  with pytest.raises(errors.WeightsError, match='alphafold-jax params download'):
    afj.load_model('model_3_ptm', params=tmp_path)


def test_the_weights_of_another_model_are_refused_by_array(tmp_path):
  config = afj.load_model('model_3', params='random', **SMALL).config
  np.savez(tmp_path / 'params_model_3_ptm.npz', **random.random_official(config))
  with pytest.raises(errors.WeightsError, match='predicted_aligned_error_head/logits'):
    afj.load_model('model_3_ptm', params=tmp_path, **SMALL)


def test_the_public_names_are_all_there():
  assert all(getattr(afj, name) is not None for name in afj.__all__)
  assert afj.weights.load_official is official.load_official and callable(store.find_params)


def test_the_compilation_cache_has_a_folder_for_each_kind_of_machine(tmp_path, monkeypatch):
  monkeypatch.setattr(devices.machine, 'processor_abilities', lambda: 'flags: avx2')
  one = devices.machine_key()
  monkeypatch.setattr(devices.machine, 'processor_abilities', lambda: 'flags: avx512f')
  other = devices.machine_key()
  monkeypatch.setattr(installed, 'version', lambda package: '1.0')  # kernels that are installed later are tried
  assert len({one, other, devices.machine_key()}) == 3


def test_iterate_is_pure_and_takes_gradients_to_the_sequence(model):
  batch = jax.tree.map(jnp.asarray, afj.make_batch(afj.single_sequence(SEQUENCE[:8])))
  previous = model.initial(8)

  def mean_plddt(soft_sequence):
    changed = afj.with_sequence(batch, soft_sequence)
    context = model.prepare(model.params, None, changed)
    outputs = model.iterate(model.params, jax.random.key(0), changed, context, previous)
    return afj.confidence.plddt(outputs.logits.plddt).mean()

  gradient = jax.jit(jax.grad(mean_plddt))(batch.soft_sequence)
  assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


# ------------------------------------------------------------------------------------------ several chains


@pytest.mark.slow
def test_a_complex_has_scores_of_its_interfaces_and_a_single_chain_of_the_same_residues_has_none(model, predicted):
  batch = prediction.as_batch(BARE)
  chains = dataclasses.replace(batch, asym_id=np.repeat(np.int32([1, 2]), [12, 10]))
  one = afj.predict(model, chains, num_recycle=1, chain_names=['H', 'L'])
  assert 0 < one.iptm < 1 and one.chains == ('H', 'L') and list(one.interfaces) == ['H-L']
  assert one.passes[-1].iptm == one.iptm and 'ipTM' in repr(one)
  assert one.interfaces['H-L']['iptm'] == pytest.approx(one.iptm, abs=6e-4)  # of two chains it is that of the whole
  assert one.ranking_confidence == 80 * one.iptm + 20 * one.ptm
  assert one.arrays['chain_tm'].shape == (22, 2, 3) and predicted.iptm is None and 'chain_tm' not in predicted.arrays
  assert predicted.interfaces == {} and predicted.passes[0].iptm is None
  whole, (together,) = afj.predict(model, batch, num_recycle=1), afj.predict_together(model, [chains], num_recycle=1)
  assert all(np.array_equal(whole.arrays[name], array) for name, array in predicted.arrays.items())
  assert together.interfaces.keys() == {'A-B'} and together.iptm == pytest.approx(one.iptm, rel=1e-4)


@pytest.mark.parametrize('names', [['A'], ['A', 'A'], ['A', ' '], ['A', 3]])
def test_wrong_names_of_chains_are_refused(model, names):
  chains = dataclasses.replace(prediction.as_batch(BARE), asym_id=np.repeat(np.int32([1, 2]), [12, 10]))
  with pytest.raises(errors.InputError, match='chain_names=.*must be 2 different names'):
    afj.predict(model, chains, chain_names=names)
