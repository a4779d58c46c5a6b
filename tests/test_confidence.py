# SPDX-License-Identifier: Apache-2.0
"""Confidence: against the official program and recorded outputs of the published weights, and by its invariances."""

import types
from pathlib import Path

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alphafold.common import confidence as oracle

from alphafold_jax import confidence, ops, schema
from alphafold_jax.choices import RANKINGS, ranking_score
from alphafold_jax.model.heads import Heads, HeadsSpec

DATA = Path(__file__).parent / 'data' / 'reference_predictions'
RECORDED = ['5AWL_1', '6A5J']
BREAKS = np.linspace(0, 31, 63)
plddt, ptm, iptm = (jax.jit(function) for function in (confidence.plddt, confidence.ptm, confidence.iptm))
summarise = jax.jit(confidence.summarise)
pae = jax.jit(confidence.pae, static_argnames='max_bin')


def _logits(*shape, seed=0):
  return np.random.default_rng(seed).normal(scale=3, size=shape).astype(np.float32)


def _recorded(name):
  with np.load(DATA / f'{name}.npz') as arrays:
    return dict(arrays)


def _recorded_pae_logits(recorded):
  return np.log(np.maximum(recorded['aligned_confidence_probs'], 1e-37))


def _relative(ours, theirs):
  return np.max(np.abs(np.asarray(ours) - theirs)) / np.max(np.abs(theirs))


def _outputs(num_res, has_pae=True):
  logits = schema.Logits(
    distogram=_logits(num_res, num_res, 64),
    masked_msa=None,
    plddt=_logits(num_res, 50),
    experimentally_resolved=None,
    pae=_logits(num_res, num_res, 64, seed=1) if has_pae else None,
  )
  structure = schema.Structure(
    **{field: None for field in schema.Structure.__dataclass_fields__}
    | {'atom_positions': _logits(num_res, 37, 3, seed=2)}
  )
  return schema.Outputs(structure=structure, logits=logits, representations=None, masked_msa=None, recycled=None)


# ------------------------------------------------------------------------------------------ the official program


def test_plddt_equals_the_official_one():
  logits = _logits(30, 50)
  assert _relative(plddt(logits), oracle.compute_plddt(logits)) < 1e-5


@pytest.mark.parametrize('max_bin', [31.0, 20.0])
def test_pae_equals_the_official_one(max_bin):
  logits = _logits(30, 30, 64)
  theirs = oracle.compute_predicted_aligned_error(logits, np.linspace(0, max_bin, 63))
  assert _relative(pae(logits, max_bin=max_bin), theirs['predicted_aligned_error']) < 1e-5
  assert confidence.pae_bin_centres(64, max_bin)[-1] == pytest.approx(theirs['max_predicted_aligned_error'])


@pytest.mark.parametrize('num_res', [1, 20, 60])
def test_ptm_equals_the_official_one(num_res):
  logits, mask = _logits(num_res, num_res, 64), np.ones(num_res, np.float32)
  assert float(ptm(logits, mask)) == pytest.approx(oracle.predicted_tm_score(logits, BREAKS), rel=1e-5)


def test_masked_ptm_equals_the_official_one():
  logits, mask = _logits(60, 60, 64), (np.arange(60) % 5 > 0).astype(np.float32)
  theirs = oracle.predicted_tm_score(logits, BREAKS, residue_weights=mask)
  assert float(ptm(logits, mask)) == pytest.approx(theirs, rel=1e-5)


def test_iptm_equals_the_official_one():
  logits, mask, asym_id = _logits(60, 60, 64), (np.arange(60) % 7 > 0).astype(np.float32), np.arange(60) // 25 + 1
  theirs = oracle.predicted_tm_score(logits, BREAKS, residue_weights=mask, asym_id=asym_id)
  assert float(iptm(logits, mask, asym_id)) == pytest.approx(theirs, rel=1e-5)


def test_ranking_scores_equal_the_official_ones():
  asym_id, mask, outputs = np.arange(30) // 12 + 1, np.ones(30, np.float32), _outputs(30)
  result = {
    'predicted_lddt': {'logits': outputs.logits.plddt},
    'predicted_aligned_error': {'logits': outputs.logits.pae, 'breaks': BREAKS, 'asym_id': asym_id},
  }
  one = summarise(outputs, mask, asym_id)
  for by in RANKINGS:
    score = ranking_score(by, one)
    theirs = oracle.get_confidence_metrics(result, mask, rank_by=by)['ranking_confidence']
    assert float(score) == pytest.approx(theirs, rel=1e-5)


# ------------------------------------------------------------------------------------------ the published weights


@pytest.mark.parametrize('name', RECORDED)
def test_recorded_plddt_is_reproduced(name):
  recorded = _recorded(name)
  ours = plddt(recorded['predicted_lddt/logits'])
  assert _relative(ours, recorded['plddt']) < 1e-5
  mean = confidence.masked_mean(ours, np.ones(len(ours)))
  assert float(mean) == pytest.approx(float(recorded['mean_plddt']), rel=1e-5)


@pytest.mark.parametrize('name', RECORDED)
def test_recorded_pae_is_reproduced(name):
  recorded = _recorded(name)
  logits = _recorded_pae_logits(recorded)
  assert _relative(pae(logits), recorded['predicted_aligned_error']) < 1e-5
  assert confidence.pae_bin_centres()[-1] == recorded['max_predicted_aligned_error']


@pytest.mark.parametrize('name', RECORDED)
def test_recorded_ptm_is_reproduced(name):
  recorded = _recorded(name)
  logits = _recorded_pae_logits(recorded)
  ours = ptm(logits, np.ones(len(logits)))
  assert float(ours) == pytest.approx(float(recorded['ptm']), rel=1e-5)


@pytest.mark.parametrize('name', RECORDED)
def test_recorded_distogram_agrees_with_the_recorded_structure(name):
  recorded = _recorded(name)
  np.testing.assert_allclose(confidence.distogram_edges(), recorded['distogram/bin_edges'], rtol=1e-6)
  positions, glycine = recorded['structure_module/final_atom_positions'], recorded['aatype'] == 7
  beta = np.where(glycine[:, None], positions[:, 1], positions[:, 3])
  distances = np.linalg.norm(beta[:, None] - beta[None], axis=-1)
  apart = ~np.eye(len(beta), dtype=bool)
  predicted = np.asarray(confidence.expected_distance(recorded['distogram/logits']))
  assert np.median(np.abs(predicted - distances)[apart]) < 1.0
  contact = np.asarray(confidence.contact_probability(recorded['distogram/logits']))
  assert np.mean(contact[apart & (distances < 6.5)]) > 0.7 > 0.2 > np.mean(contact[apart & (distances > 10)])


# ------------------------------------------------------------------------------------------ facts


def _padded(array, num_pad):
  """NaN beyond the real residues, in every axis as long as the chain."""
  widths = [(0, num_pad if size == len(array) else 0) for size in array.shape]
  return np.pad(array, widths, constant_values=np.nan)


def test_padding_changes_nothing_even_when_it_is_nan():
  outputs, mask, asym_id = _outputs(30), np.ones(30), np.arange(30) // 11 + 1
  padded = jax.tree.map(lambda x: _padded(x, 13), outputs)
  plain = summarise(outputs, mask, asym_id)
  inside = summarise(padded, np.pad(mask, (0, 13)), np.pad(asym_id, (0, 13)))
  for field in ('mean_plddt', 'ptm', 'iptm', 'finite'):
    np.testing.assert_allclose(getattr(inside, field), getattr(plain, field), rtol=1e-6)
  np.testing.assert_allclose(inside.plddt[:30], plain.plddt, rtol=1e-6)
  np.testing.assert_allclose(inside.pae[:30, :30], plain.pae, rtol=1e-6)


def test_d0_counts_unmasked_residues_only():
  logits = _logits(60, 60, 64)
  mask = np.arange(60) < 40
  assert float(ptm(logits, mask)) == pytest.approx(float(ptm(logits[:40, :40], mask[:40])), rel=1e-6)


def test_compiled_summary_equals_the_plain_one_and_holds_no_logits():
  outputs, mask = _outputs(24), np.ones(24)
  plain, compiled = confidence.summarise(outputs, mask), summarise(outputs, mask)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), plain, compiled)
  assert max(leaf.size for leaf in jax.tree.leaves(compiled)) == 24 * 24


def test_model_without_pae_head_has_no_pae_and_no_ptm():
  result = summarise(_outputs(12, has_pae=False), np.ones(12))
  assert result.pae is None and result.ptm is None and result.iptm is None
  assert result.plddt.shape == (12,)


def test_iptm_is_given_only_when_chains_are_told_apart():
  assert summarise(_outputs(12), np.ones(12)).iptm is None
  assert float(summarise(_outputs(12), np.ones(12), np.ones(12, int)).iptm) == 0


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('where', ['positions', 'plddt', 'pae'])
def test_a_number_that_is_not_finite_is_noticed(where, value):
  outputs = _outputs(12)
  array = {'positions': outputs.structure.atom_positions, 'plddt': outputs.logits.plddt, 'pae': outputs.logits.pae}[
    where
  ]
  array[7, 3, 0 if array.ndim == 3 else ...] = value
  assert bool(summarise(_outputs(12), np.ones(12)).finite)
  assert not bool(summarise(outputs, np.ones(12)).finite)
  assert bool(summarise(outputs, np.arange(12) != 7).finite)


def test_bfloat16_logits_are_summed_in_float32():
  logits = jnp.asarray(_logits(20, 50), jnp.bfloat16)
  expected = oracle.compute_plddt(np.asarray(logits, np.float32))
  assert _relative(plddt(logits), expected) < 1e-5


def test_certain_logits_give_the_centre_of_their_bin():
  certain = 1e4 * np.eye(64)
  np.testing.assert_allclose(np.asarray(pae(certain))[[0, 1, 62, 63]], [0.25, 0.75, 31.25, 31.75])
  np.testing.assert_allclose(np.asarray(plddt(1e4 * np.eye(50)))[[0, 49]], [1, 99])
  np.testing.assert_allclose(np.asarray(confidence.expected_distance(certain))[[1, 62]], [2.46875, 21.53125])
  assert np.asarray(confidence.contact_probability(certain)).sum() == 19  # edges 2.3125 + k 0.3125, the last 7.9375


def test_sure_prediction_has_a_ptm_near_one():
  logits = np.zeros((100, 100, 64))
  logits[..., 0] = 1e4
  assert float(ptm(logits, np.ones(100))) > 0.99


# ------------------------------------------------------------------------------------------ several chains


CHAINS = np.repeat([1, 2, 3], [25, 20, 15])


def test_a_single_chain_has_nothing_of_complexes():
  one = summarise(_outputs(12), np.ones(12))
  assert all(getattr(one, name) is None for name in ('iptm', 'tm', 'interface_contact', 'own_chain_tm'))
  assert len(jax.tree.leaves(one)) == 6 and confidence.of_pairs(_logits(3, 64), _logits(3, 64), np.ones(3)).shape == (
    3,
    3,
  )


def test_complexes_of_a_model_without_pae_head_have_no_terms_of_pairs():
  one = summarise(_outputs(12, has_pae=False), np.ones(12), np.arange(12) // 6)
  assert all(getattr(one, name) is None for name in ('iptm', 'tm', 'interface_contact', 'own_chain_tm'))


def test_ptm_of_a_chain_equals_the_official_one_of_its_block():
  outputs, mask = _outputs(60), np.ones(60, np.float32)
  own = np.asarray(summarise(outputs, mask, CHAINS).own_chain_tm)
  for chain in (1, 2, 3):
    block = outputs.logits.pae[np.ix_(CHAINS == chain, CHAINS == chain)]
    assert own[CHAINS == chain].max() == pytest.approx(oracle.predicted_tm_score(block, BREAKS), rel=1e-5)


def test_iptm_follows_from_the_terms_of_pairs():
  one = summarise(_outputs(60), np.ones(60), CHAINS)
  between = CHAINS[:, None] != CHAINS
  means = np.sum(np.asarray(one.tm) * between, axis=-1) / np.sum(between, axis=-1)
  assert float(one.iptm) == pytest.approx(means.max(), rel=1e-6)


def test_contacts_of_interfaces_are_one_bin_longer():
  certain = 1e4 * np.eye(64)
  assert np.asarray(confidence.contact_probability(certain, confidence.INTERFACE_CUTOFF)).sum() == 20


def test_padding_changes_no_terms_of_pairs():
  outputs = _outputs(30)
  asym_id = np.arange(30) // 11 + 1
  padded = jax.tree.map(lambda x: _padded(x, 13), outputs)
  plain = summarise(outputs, np.ones(30), asym_id)
  inside = summarise(padded, np.pad(np.ones(30), (0, 13)), np.pad(asym_id, (0, 13)))
  np.testing.assert_allclose(inside.own_chain_tm[:30], plain.own_chain_tm, rtol=1e-6)
  for field in ('tm', 'interface_contact'):
    np.testing.assert_allclose(getattr(inside, field)[:30, :30], getattr(plain, field), rtol=1e-6)


def test_what_ranks_a_prediction_depends_on_its_chains():
  one = types.SimpleNamespace(mean_plddt=70.0, ptm=0.5, iptm=None)
  assert [ranking_score(by, one) for by in ('auto', 'plddt', 'ptm', 'iptm', 'multimer')] == [70, 70, 50, 70, 70]
  one.iptm = 0.25
  assert [ranking_score(by, one) for by in ('auto', 'plddt', 'ptm', 'iptm', 'multimer')] == [30, 70, 50, 25, 30]


@pytest.mark.slow
def test_heads_give_the_terms_of_chains_a_few_rows_at_a_time():
  rng, num_res = np.random.default_rng(0), 12
  shapes = {
    'msa': (3, num_res, 8),
    'single': (num_res, 8),
    'pair': (num_res, num_res, 8),
    'structure_module': (num_res, 8),
  }
  given = schema.Representations(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
  structure = schema.Structure(**dict.fromkeys(schema.Structure.__dataclass_fields__, np.zeros((num_res, 37, 3))))
  mask, asym_id = np.float32(np.arange(num_res) != 7), np.arange(num_res) // 5 + 1

  def both(given):
    heads = Heads(HeadsSpec(64, 23, 50, 16, 37, 64), name='heads')
    outputs = schema.Outputs(
      structure=structure, logits=heads(given), representations=given, masked_msa=None, recycled=None
    )
    return heads.confidence(given, structure, mask, asym_id=jnp.asarray(asym_id)), outputs

  transformed = hk.transform(both)
  params = jax.tree.map(lambda x: rng.normal(size=x.shape), jax.eval_shape(transformed.init, jax.random.key(0), given))
  with ops.use_kernels(ops.Kernels(chunk_bytes=20_000)):  # two rows
    ours, outputs = jax.jit(transformed.apply)(params, None, given)
  theirs = confidence.summarise(outputs, mask, asym_id)
  for name in ('tm', 'interface_contact', 'own_chain_tm', 'iptm', 'pae'):
    np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-6, err_msg=name)
