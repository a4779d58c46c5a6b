# SPDX-License-Identifier: Apache-2.0
"""The table of losses and their sum: weights, padding, motions, and finite gradients whatever is missing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_targets
from small_targets import BATCHES

from alphafold_jax import errors, experiments, schema
from alphafold_jax.constants import residues
from alphafold_jax.data import padding
from alphafold_jax.losses import total

NAMES = tuple(total.LOSSES)
ALL = total.make_spec(dict.fromkeys(NAMES, 1.0))
STRUCTURAL = ('backbone_fape', 'side_chain_fape', 'torsion', 'plddt', 'pae', 'violation', 'smooth_lddt')
BETWEEN_CHAINS = {'interface_fape', 'chain_centres'}


@small_targets.fast_jit
def values(batch: schema.Batch, outputs: schema.Outputs):
  """Total and terms."""
  return total.total_loss(ALL, batch, outputs)


@small_targets.fast_jit
def evaluate(batch: schema.Batch, outputs: schema.Outputs):
  """Total, terms, and the gradient of the total to structure and logits."""

  def loss(parts):
    structure, logits = parts
    given = dataclasses.replace(outputs, structure=structure, logits=logits)
    return total.total_loss(ALL, batch, given)

  (value, terms), gradient = jax.value_and_grad(loss, has_aux=True)((outputs.structure, outputs.logits))
  return value, terms, gradient


def test_every_loss_has_a_weight_of_its_name():
  assert experiments.LOSS_WEIGHTS.keys() == total.LOSSES.keys()


def test_a_weight_of_no_loss_is_refused_by_name():
  with pytest.raises(errors.InputError, match='no loss chirality'):
    total.make_spec({'chirality': 1.0, 'torsion': 0.5})


def test_the_total_is_the_weighted_sum_times_the_root_of_the_length():
  batch = BATCHES['ragged and padded']()
  outputs = small_targets.prediction(batch)
  weights = {name: 0.1 * (i + 1) for i, name in enumerate(NAMES)}
  spec = total.make_spec(weights)
  value, terms = small_targets.fast_jit(lambda *given: total.total_loss(spec, *given))(batch, outputs)
  assert batch.seq_mask.sum() == 42
  weighted = sum(weights[name] * float(terms[name]) for name in NAMES)
  assert float(value) == pytest.approx(np.sqrt(42) * weighted, rel=1e-5)
  assert {name for name, term in terms.items() if not float(term) > 0} == BETWEEN_CHAINS  # of a single one


def terms_of(spec: total.LossSpec, batch: schema.Batch, outputs: schema.Outputs) -> set[str]:
  """Which terms there are, without computing them."""
  _, terms = jax.eval_shape(lambda *given: total.total_loss(spec, *given), batch, outputs)
  return set(terms)


def test_a_loss_of_weight_zero_is_not_computed(monkeypatch):
  def never(*_):
    raise AssertionError('computed')

  monkeypatch.setattr(total, 'LOSSES', {name: never for name in NAMES} | {'torsion': total.LOSSES['torsion']})
  batch = small_targets.gap_batch()
  spec = total.make_spec(dict.fromkeys(NAMES, 0.0) | {'torsion': 0.5})
  assert terms_of(spec, batch, small_targets.prediction(batch)) == {'torsion'}


def test_a_weight_for_a_missing_head_names_the_remedy():
  batch = small_targets.gap_batch()
  outputs = small_targets.prediction(batch)
  headless = dataclasses.replace(outputs, logits=dataclasses.replace(outputs.logits, pae=None))
  with pytest.raises(errors.InputError, match='num_pae_bins'):
    terms_of(ALL, batch, headless)
  assert terms_of(total.make_spec(dict.fromkeys(NAMES, 1.0) | {'pae': 0.0}), batch, headless) == set(NAMES) - {'pae'}


def test_padding_changes_no_loss():
  batch = small_targets.real_batch('1u5y_D', 44)
  padded = padding.pad_batch(batch, {'num_res': small_targets.NUM_RES})
  outputs = small_targets.prediction(batch)
  filler = small_targets.prediction(padded, seed=9)

  def pad(real, other):
    """The real outputs in front, whatever stands in the padding behind."""
    place = tuple(slice(size) for size in real.shape)
    other = np.array(other)
    other[place] = real
    return other

  grown = jax.tree.map(pad, outputs, filler)
  silent = np.zeros_like(grown.masked_msa.mask)
  silent[:, : outputs.masked_msa.mask.shape[1]] = outputs.masked_msa.mask
  grown = dataclasses.replace(grown, masked_msa=dataclasses.replace(grown.masked_msa, mask=silent))
  for real, other in zip(jax.tree.leaves(values(batch, outputs)), jax.tree.leaves(values(padded, grown))):
    assert float(other) == pytest.approx(float(real), rel=1e-5)


def test_losses_do_not_change_when_either_structure_moves():
  batch = small_targets.gap_batch()
  outputs = small_targets.prediction(batch)
  turn, shift = np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], np.float32), np.array([11, -7, 5], np.float32)
  assert np.linalg.det(turn) == pytest.approx(1)
  structure = outputs.structure
  exists = structure.atom_mask[..., None]
  moved = small_targets.with_structure(
    outputs,
    atom_positions=(structure.atom_positions @ turn.T + shift) * exists,
    frame_rotations=turn @ structure.frame_rotations,
    frame_translations=structure.frame_translations @ turn.T + shift,
    group_rotations=turn @ structure.group_rotations,
    group_translations=structure.group_translations @ turn.T + shift,
    atom14_positions=(structure.atom14_positions @ turn.T + shift) * residues.ATOM14_MASK[batch.aatype][..., None],
  )
  mask = batch.targets.atom_mask[..., None]
  elsewhere = small_targets.with_targets(batch, atom_positions=(batch.targets.atom_positions @ turn - shift) * mask)
  (_, before), (_, after) = values(batch, outputs), values(elsewhere, moved)
  for name in NAMES:
    assert float(after[name]) == pytest.approx(float(before[name]), rel=2e-4), name


def test_the_true_structure_has_the_least_loss():
  batch = small_targets.gap_batch()
  _, true = values(batch, small_targets.truth(batch))
  _, noisy = values(batch, small_targets.prediction(batch))
  assert float(true['backbone_fape']) == pytest.approx(1e-3, rel=0.05)  # the root of epsilon
  assert float(true['side_chain_fape']) < 0.03  # idealised bonds
  assert float(true['torsion']) == pytest.approx(0, abs=1e-5)
  assert float(noisy['smooth_lddt']) > 1.5 * float(true['smooth_lddt'])
  for name in ('backbone_fape', 'side_chain_fape', 'torsion'):
    assert float(noisy[name]) > 5 * float(true[name]), name


def all_masked() -> tuple[schema.Batch, schema.Outputs]:
  batch = small_targets.gap_batch()
  outputs = small_targets.prediction(batch)
  nothing = dataclasses.replace(outputs.masked_msa, mask=np.zeros_like(outputs.masked_msa.mask))
  batch = small_targets.with_targets(batch, atom_mask=np.zeros_like(batch.targets.atom_mask))
  batch = dataclasses.replace(batch, seq_mask=np.zeros_like(batch.seq_mask))
  return batch, dataclasses.replace(outputs, masked_msa=nothing)


def no_structure() -> tuple[schema.Batch, schema.Outputs]:
  batch = small_targets.gap_batch()
  targets = small_targets.features.empty_targets(small_targets.NUM_RES)
  return dataclasses.replace(batch, targets=targets), small_targets.prediction(batch)


def at_the_origin(name: str) -> tuple[schema.Batch, schema.Outputs]:
  """Every residue unturned at the origin, and angles that vanish: how a network starts."""
  batch = BATCHES[name]()
  outputs = small_targets.prediction(batch)
  shape = outputs.structure.frame_translations.shape
  angles = outputs.structure.angles
  zeros = jax.tree.map(np.zeros_like, outputs.logits)
  return batch, small_targets.assemble(
    batch, np.broadcast_to(np.eye(3), (*shape, 3)), np.zeros(shape), angles, np.zeros_like(angles), zeros
  )


def at_one_point() -> tuple[schema.Batch, schema.Outputs]:
  """Every atom at the very same point."""
  batch = small_targets.gap_batch()
  outputs = small_targets.prediction(batch)
  zeros = jax.tree.map(np.zeros_like, outputs.structure)
  return batch, dataclasses.replace(outputs, structure=zeros)


def far_away() -> tuple[schema.Batch, schema.Outputs]:
  """A prediction that exploded."""
  batch = small_targets.gap_batch()
  return batch, small_targets.prediction(batch, noise=1e4)


def all_unknown() -> tuple[schema.Batch, schema.Outputs]:
  batch = small_targets.gap_batch()
  batch = dataclasses.replace(batch, aatype=np.full_like(batch.aatype, residues.UNKNOWN))
  return batch, small_targets.prediction(batch)


HARD = {
  'noisy ragged and padded': lambda: (
    BATCHES['ragged and padded'](), small_targets.prediction(BATCHES['ragged and padded']())),
  'untrained, gap': lambda: at_the_origin('unresolved gap'),
  'untrained, ragged': lambda: at_the_origin('ragged and padded'),
  'every residue masked': all_masked,
  'no structure known': no_structure,
  'all atoms at one point': at_one_point,
  'exploded': far_away,
  'unknown residues': all_unknown,
  'exactly the truth': lambda: (small_targets.gap_batch(), small_targets.truth(small_targets.gap_batch())),
}  # fmt: skip


@pytest.mark.parametrize('name', HARD)
def test_losses_and_gradients_are_finite(name):
  value, terms, gradient = evaluate(*HARD[name]())
  assert np.isfinite(value)
  for term in terms:
    assert np.isfinite(terms[term]), term
  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
    assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)


def test_an_untrained_network_is_pulled_apart():
  _, _, (structure, _) = evaluate(*at_the_origin('unresolved gap'))
  for name in ('frame_translations', 'atom14_positions', 'group_translations', 'angles'):
    gradient = getattr(structure, name)
    assert np.any(gradient), name


def test_without_a_structure_only_the_sequence_and_the_geometry_are_learnt():
  _, terms = values(*no_structure())
  assert {name for name in NAMES if float(terms[name]) > 0} == {'angle_norm', 'masked_msa', 'violation'}


def test_what_is_not_known_gets_no_gradient():
  batch = small_targets.gap_batch()
  _, _, (structure, logits) = evaluate(batch, small_targets.prediction(batch))
  unresolved = batch.targets.atom_mask.sum(axis=-1) == 0
  assert unresolved.any()
  assert not np.any(logits.plddt[unresolved])
  assert not np.any(logits.pae[unresolved])
  assert not np.any(logits.distogram[unresolved])
  assert not np.any(structure.frame_rotations[:, unresolved])
  assert not np.any(structure.angles[:, unresolved])
  assert np.any(logits.experimentally_resolved[unresolved])  # what they are is known: not seen


def test_losses_run_under_vmap():
  batches = [BATCHES[name]() for name in ('unresolved gap', 'gap in the numbers')]
  outputs = [small_targets.prediction(batch) for batch in batches]
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *zip(batches, outputs))
  together = small_targets.fast_jit(jax.vmap(lambda pair: total.total_loss(ALL, *pair)[0]))(stacked)
  for value, batch, output in zip(together, batches, outputs):
    assert float(value) == pytest.approx(float(values(batch, output)[0]), rel=1e-5)
