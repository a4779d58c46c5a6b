# SPDX-License-Identifier: Apache-2.0
"""Scores of chains and of their pairs from the distribution of the aligned error, as ColabFold defines them.

A TM term is the expected value of 1 / (1 + (error / d0)^2) of a pair of residues. Between chains its d0 is that of the
whole complex, within a chain that of the chain; a score is the mean over the scored residues of the best aligned one.

What a prediction keeps of the terms of all pairs [N_res, N_res] are sums over chains [N_res, N_chain, 3]: all of these
scores follow from them.
"""

import numpy as np

from alphafold_jax.interfaces.layout import ChainLayout

_MEAN, _WEIGHTED, _WEIGHT = range(3)


def tm_of_chains(tm: np.ndarray, contact: np.ndarray, own: np.ndarray, asym_id: np.ndarray) -> np.ndarray:
  """What is kept of the TM terms of a complex.

  Args:
    tm: [N_res, N_res] terms, their d0 that of all residues.
    contact: [N_res, N_res] probabilities of C-beta atoms within 8.25 Å.
    own: [N_res] mean term of each residue's alignment over its own chain, its d0 that of the chain.
    asym_id: [N_res] one number per chain.

  Returns:
    [N_res, N_chain, 3] float32, of each residue's alignment and each chain: the mean term, that of the own chain
    `own`; the sum of the terms weighted by contact probability and the sum of these weights, 0 for the own chain.
  """
  layout = ChainLayout.of(asym_id)
  columns = layout.order
  tm, contact = tm[:, columns], contact[:, columns]
  kept = np.stack([layout.sums(tm) / layout.sizes, layout.sums(tm * contact), layout.sums(contact)], axis=-1)
  place = columns, layout.chain
  kept[place] = 0
  kept[*place, _MEAN] = own[columns]
  return kept.astype(np.float32)


def pairwise_iptm(kept: np.ndarray, layout: ChainLayout) -> np.ndarray:
  """ipTM of each pair of chains, on the diagonal the pTM of each chain: [N_res, N_chain, 3] -> [N_chain, N_chain]."""
  return _best_of_both(kept[..., _MEAN], layout)


def pairwise_actifptm(kept: np.ndarray, layout: ChainLayout) -> np.ndarray:
  """ipTM of the residues that are probably in contact, weighted by how probably; Varga et al. 2025; 0 on the diagonal.

  [N_res, N_chain, 3] -> [N_chain, N_chain].
  """
  return _best_of_both(_weighted_mean(kept), layout)


def actifptm(kept: np.ndarray) -> float:
  """The same of the whole complex: each residue's alignment scores the residues of all other chains."""
  return float(np.max(_weighted_mean(kept.sum(axis=1))))


def score_matrix(kept: np.ndarray, asym_id: np.ndarray) -> np.ndarray:
  """ipTM of pairs above the diagonal, pTM of chains on it, actifpTM of pairs below.

  [N_res, N_chain, 3], [N_res] -> [N_chain, N_chain].
  """
  layout = ChainLayout.of(asym_id)
  return np.triu(pairwise_iptm(kept, layout)) + np.tril(pairwise_actifptm(kept, layout), -1)


def _weighted_mean(kept: np.ndarray) -> np.ndarray:
  return kept[..., _WEIGHTED] / (1e-8 + kept[..., _WEIGHT])


def _best_of_both(rows: np.ndarray, layout: ChainLayout) -> np.ndarray:
  best = layout.largest(layout.sorted(np.asarray(rows, np.float64)), axis=0)
  return np.maximum(best, best.T)
