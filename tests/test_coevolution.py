# SPDX-License-Identifier: Apache-2.0
"""Couplings of residues: those of the textbook, closed forms where there are some, contacts of a real structure."""

from pathlib import Path

import jax
import numpy as np
import pytest

from alphafold_jax import coevolution
from alphafold_jax.coevolution import alignments, mean_field
from alphafold_jax.constants import residues
from alphafold_jax.constants.couplings import CHANNELS
from alphafold_jax.data import structures
from alphafold_jax.data.alignment import align, parse_a3m
from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError
from alphafold_jax.geometry import atoms

ROOT = Path(__file__).parents[1]
DATA = ROOT / 'tests' / 'data'
SHALLOW, DEEP, EXPERIMENT = ROOT / 'examples' / '4zey_A.a3m', DATA / '4zey_A.a3m.gz', DATA / '4zey.cif.gz'
NUM_RES, FEW, MANY = 12, 60, 400  # rows: fewer than states of all columns, and more


def family(num_rows: int, num_res: int = NUM_RES, seed: int = 0) -> np.ndarray:
  """Rows in which column 7 mostly repeats column 1, and 10 tells 2; each row several times with a few changes."""
  rng = np.random.default_rng(seed)
  states = np.array([*range(20), residues.GAP])
  founders = states[rng.integers(0, 21, (max(2, num_rows // 3), num_res))]
  tokens = founders[rng.integers(0, len(founders), num_rows)]
  tokens = np.where(rng.random(tokens.shape) < 0.1, states[rng.integers(0, 21, tokens.shape)], tokens)
  tokens[:, 7] = np.where(rng.random(num_rows) < 0.9, tokens[:, 1], tokens[:, 7])
  tokens[:, 10] = (tokens[:, 2] + 5) % 20
  return tokens


def textbook_weights(tokens: np.ndarray, identity: float = 0.8) -> np.ndarray:
  alike = np.mean(tokens[:, None] == tokens, axis=-1) >= identity - 1e-9
  return 1 / alike.sum(axis=1)


def textbook_norms(tokens: np.ndarray, weights: np.ndarray, pseudocount: float = 0.5) -> np.ndarray:
  """Step by step as in the paper of Morcos et al.: 20 of the 21 states, an inverse, then another gauge."""
  num_states, num_res = 21, tokens.shape[1]
  states = np.eye(num_states)[np.minimum(tokens, 20)]  # the gap is the last one
  weights = weights / weights.sum()
  single = (1 - pseudocount) * np.einsum('n,nia->ia', weights, states) + pseudocount / num_states
  pair = (1 - pseudocount) * np.einsum('n,nia,njb->iajb', weights, states, states) + pseudocount / num_states**2
  for i in range(num_res):
    pair[i, :, i] = np.diag(single[i])
  covariance = (pair - np.einsum('ia,jb->iajb', single, single))[:, :20, :, :20]
  couplings = np.zeros_like(pair)
  couplings[:, :20, :, :20] = -np.linalg.inv(covariance.reshape(20 * num_res, -1)).reshape(covariance.shape)
  for axis in (1, 3):
    couplings = couplings - couplings.mean(axis=axis, keepdims=True)
  norms = np.sqrt(np.sum(couplings[:, :20, :, :20] ** 2, axis=(1, 3)))
  return norms * (1 - np.eye(num_res))


def textbook_scores(norms: np.ndarray) -> np.ndarray:
  others = len(norms) - 1
  of_column = norms.sum(axis=1) / others
  overall = norms.sum() / (others * len(norms))
  return (norms - np.outer(of_column, of_column) / overall) * (1 - np.eye(len(norms)))


def assert_near(ours: np.ndarray, expected: np.ndarray, tolerance: float = 2e-4) -> None:
  assert np.max(np.abs(ours - expected)) <= tolerance * np.max(np.abs(expected))


# ------------------------------------------------------------------------------------------ the mathematics


@pytest.mark.parametrize('num_rows', [FEW, MANY])
def test_scores_are_those_of_the_textbook_whichever_side_is_inverted(num_rows):
  tokens = family(num_rows)
  weights = textbook_weights(tokens)
  found = coevolution.couplings(tokens)
  assert found.neff == pytest.approx(weights.sum(), rel=1e-5) and found.num_rows == num_rows
  assert weights.min() < 1
  assert_near(found.scores, textbook_scores(textbook_norms(tokens, weights)))
  strongest = np.argsort(-np.triu(found.scores).ravel())[:2]
  assert {divmod(int(place), NUM_RES) for place in strongest} == {(1, 7), (2, 10)}


def norms_of(tokens: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
  weights = np.ones(len(tokens)) if weights is None else weights
  known = np.ones(tokens.shape, np.float32)
  norms = jax.jit(mean_field.coupling_norms)(tokens.astype(np.int32), known, weights.astype(np.float32))
  return np.asarray(norms)


def test_two_columns_that_are_one_have_the_coupling_of_the_closed_form():
  """Uniform and equal: both have the covariance 1/q, and (1 - p)/q with one another, times the unit matrix of 20."""
  states = np.array([*range(20), residues.GAP])
  q, p = 21, 0.5
  of_one_state = q * (1 - p) / (1 - (1 - p) ** 2)
  of_residues = np.sqrt(19 + 1 / q**2)  # of the 20 dimensions, the last told from gaps
  assert_near(norms_of(np.stack([states, states], axis=1)), of_one_state * of_residues * (1 - np.eye(2)), 1e-5)


def test_independent_columns_have_no_couplings():
  states = np.array([*range(20), residues.GAP])
  every_pair = np.stack(np.meshgrid(states, states), axis=-1).reshape(-1, 2)
  assert norms_of(every_pair).max() < 1e-3  # of 61 between equal columns


def test_the_order_of_rows_does_not_matter():
  tokens = family(FEW)
  shuffled = tokens[np.random.default_rng(1).permutation(FEW)]
  one, other = coevolution.couplings(tokens), coevolution.couplings(shuffled)
  assert_near(other.scores, one.scores)
  assert other.neff == pytest.approx(one.neff, rel=1e-5)


def test_a_row_twice_counts_once():
  tokens = family(FEW // 2)
  one, twice = coevolution.couplings(tokens), coevolution.couplings(np.concatenate([tokens, tokens]))
  assert twice.neff == pytest.approx(one.neff, rel=1e-5)
  assert_near(twice.scores, one.scores)


def test_rows_of_weight_zero_are_not_there_and_weights_can_be_given():
  tokens = family(FEW)
  weights = textbook_weights(tokens)
  assert_near(coevolution.couplings(tokens, weights=weights).scores, coevolution.couplings(tokens).scores)
  weights[40:] = 0
  expected = textbook_scores(textbook_norms(tokens[:40], weights[:40]))
  assert_near(coevolution.couplings(tokens, weights=weights).scores, expected)


def test_columns_of_which_nothing_is_known_change_nothing_for_the_others():
  tokens, num = family(FEW), NUM_RES
  longer = np.concatenate([tokens, family(FEW, 3 + 9, seed=2)[:, :3]], axis=1)
  mask = np.ones(longer.shape)
  mask[:, num:] = 0
  masked = coevolution.couplings(longer, mask)
  expected = coevolution.couplings(tokens)
  assert_near(masked.scores[:num, :num], expected.scores)
  assert not masked.scores[num:].any() and masked.neff == pytest.approx(expected.neff, rel=1e-5)


def test_unknown_residues_count_as_masked_ones():
  tokens, rng = family(FEW), np.random.default_rng(4)
  hidden = rng.random(tokens.shape) < 0.1
  unknown = coevolution.couplings(np.where(hidden, residues.UNKNOWN, tokens))
  masked = coevolution.couplings(tokens, 1 - hidden)
  assert_near(unknown.scores, masked.scores)
  assert np.isfinite(unknown.scores).all() and unknown.scores[2, 10] > 3 * np.std(unknown.scores)


def test_fragments_are_left_out():
  tokens = family(FEW)
  fragments = np.where(np.arange(NUM_RES) < 5, tokens, residues.GAP)
  found = coevolution.couplings(np.concatenate([tokens, fragments]))
  assert found.num_rows == FEW
  assert_near(found.scores, coevolution.couplings(tokens).scores)


def test_deeper_alignments_are_thinned_out_evenly(monkeypatch):
  monkeypatch.setattr(alignments, 'MAX_ROWS', FEW)
  tokens = family(FEW)
  deep = np.repeat(tokens, 2, axis=0)
  found = coevolution.couplings(deep)
  assert found.num_rows == FEW
  kept = deep[np.linspace(0, len(deep) - 1, FEW).astype(int)]
  assert_near(found.scores, coevolution.couplings(kept).scores)


# ------------------------------------------------------------------------------------------ a real family


@pytest.mark.parametrize(('path', 'least'), [(SHALLOW, 0.15), (DEEP, 0.25)], ids=['128 rows', '401 rows'])
def test_the_strongest_couplings_of_a_real_alignment_are_contacts_of_its_structure(path, least):
  """Of the 17 strongest 4 and 6 were, of all pairs as far along the chain 0.026; one may change by rounding."""
  alignment = parse_a3m(read_text(path), 'a3m')
  chain = structures.read_chain(EXPERIMENT, 'A')
  mine, theirs = (np.array(places) for places in zip(*align(alignment.query, chain.sequence).items(), strict=True))
  aatype = chain_types(chain.sequence)
  num_res = len(alignment.query)
  positions, known = np.zeros((num_res, 3)), np.zeros(num_res)
  positions[mine] = np.asarray(atoms.pseudo_beta(aatype, chain.atom_positions))[theirs]
  known[mine] = np.asarray(atoms.pseudo_beta(aatype, chain.atom_mask))[theirs]
  found = coevolution.couplings(alignment.tokens)
  at_random = coevolution.contact_precision(np.zeros((num_res, num_res)), positions, known, share=1e3)
  precision = coevolution.contact_precision(found.scores, positions, known)
  assert at_random == pytest.approx(0.026, abs=0.001)
  assert precision > least


def chain_types(sequence: str) -> np.ndarray:
  return np.array([residues.RESTYPE_INDEX.get(letter, residues.UNKNOWN) for letter in sequence])


# ------------------------------------------------------------------------------------------ without a program


def test_made_up_scores_have_the_precision_that_is_counted():
  positions = np.zeros((20, 3))
  positions[:, 0] = 4 * np.arange(20)  # only neighbours along the chain are near
  positions[15] = positions[3] + [0, 3, 0]
  scores = np.zeros((20, 20))
  scores[3, 15] = scores[15, 3] = 2
  scores[0, 12] = scores[12, 0] = 1
  assert coevolution.contact_precision(scores, positions, share=0.1) == 0.5
  assert coevolution.contact_precision(scores, positions, share=0.05) == 1
  known = np.arange(20) != 3
  assert coevolution.contact_precision(scores, positions, known, share=0.1) == 0
  assert np.isnan(coevolution.contact_precision(scores, positions, least_separation=20))


@pytest.mark.parametrize(('num', 'rows', 'columns'), [(1, 16, 16), (17, 24, 32), (25, 32, 32), (400, 512, 416)])
def test_padded_sizes_are_few_and_little_larger(num, rows, columns):
  assert (alignments.row_bucket(num), alignments.residue_bucket(num)) == (rows, columns)
  for bucket in (alignments.row_bucket, alignments.residue_bucket):
    sizes = [bucket(size) for size in range(1, 513)]
    assert sizes == sorted(sizes) and all(size >= want for want, size in enumerate(sizes, 1)) and len(set(sizes)) < 25
    assert all(size < 1.51 * want for want, size in enumerate(sizes, 1) if want > 32)


@pytest.mark.parametrize(
  ('tokens', 'given', 'said'),
  [
    (np.zeros(4, int), {}, r'shape \(4,\).*both must be \[rows, residues\]'),
    (np.zeros((4, 3), int), {'mask': np.ones((3, 4))}, r'shape \(4, 3\) with a mask of shape \(3, 4\)'),
    (np.full((4, 3), 22), {}, 'tokens 22 to 22; they must be integers from 0 to 21'),
    (np.zeros((4, 3)), {}, 'they must be integers'),
    (np.zeros((4, 600), int), {}, 'couplings of 600 residues; at most 512'),
    (np.zeros((4, 3), int), {'weights': np.ones(3)}, 'one is needed for each of 4 rows'),
    (np.zeros((4, 3), int), {'weights': np.zeros(4)}, 'one is needed for each of 4 rows'),
    (np.zeros((4, 3), int), {'pseudocount': 0}, 'pseudocount=0: must lie between 0 and 1'),
  ],
)
def test_what_is_no_alignment_is_refused(tokens, given, said):
  with pytest.raises(InputError, match=said):
    coevolution.couplings(tokens, **given)


def test_levels_are_standard_deviations_above_the_mean_of_distant_pairs():
  rng = np.random.default_rng(0)
  scores = rng.normal(3, 2, (40, 40))
  scores = scores + scores.T
  scores[4, 30] = scores[30, 4] = 200
  levels = coevolution.levels(scores)
  apart = scores[np.triu_indices(40, 4)]
  expected = (scores - apart.mean()) / apart.std()
  shown = coevolution.features(levels, neff=10.0)[..., CHANNELS.index('score')]
  inside = (expected > -4) & (expected < 11.9) & ~np.eye(40, dtype=bool)
  np.testing.assert_allclose(shown[inside], expected[inside], atol=0.5 / 16 + 1e-6)
  assert shown[4, 30] == pytest.approx(191 / 16) and not shown.diagonal().any()
  np.testing.assert_array_equal(levels, levels.T)
  assert not (coevolution.levels(np.zeros((5, 5))) - 64).any() and not (coevolution.levels(np.zeros((2, 2))) - 64).any()


def test_the_channels_tell_depth_and_rank_and_a_window_is_part_of_the_whole():
  scores = np.random.default_rng(1).normal(size=(30, 30))
  levels = coevolution.levels(scores + scores.T)
  whole = dict(zip(CHANNELS, np.moveaxis(coevolution.features(levels, neff=10.0), -1, 0), strict=True))
  assert (whole['present'] == 1).all() and (whole['depth'] == 0.25).all()
  np.testing.assert_allclose(whole['score_times_depth'], 0.25 * whole['score'])
  apart = np.triu_indices(30, 4)
  score, rank = whole['score'][apart], whole['rank'][apart]
  stronger = np.sum(score[:, None] < score, axis=1)
  np.testing.assert_allclose(rank, 30 / (30 + stronger), rtol=1e-6)
  assert rank.max() == 1
  window = slice(7, 19)
  np.testing.assert_array_equal(
    coevolution.features(levels, 10.0, window), coevolution.features(levels, 10.0)[window, window]
  )
  assert not coevolution.no_features(6).any() and coevolution.no_features(6).shape == (6, 6, len(CHANNELS))


def test_few_rows_and_long_chains_are_refused_to_networks_in_words():
  assert coevolution.refusal(32, 512) is None
  assert coevolution.refusal(31, 100) == '31 rows are fewer than the 32 that couplings need'
  assert '513 residues are more than the 512' in coevolution.refusal(100, 513)
