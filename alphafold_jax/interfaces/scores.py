# SPDX-License-Identifier: Apache-2.0
"""The table of the scores of interfaces. To add one: a function of `Interfaces` to a matrix, and a row of SCORES."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.interfaces import expected
from alphafold_jax.interfaces.clashes import Clashes, find_clashes
from alphafold_jax.interfaces.layout import ChainLayout
from alphafold_jax.interfaces.pairs import PAE_CUTOFF, ChainPairs, chain_pairs
from alphafold_jax.naming import pair_name
from alphafold_jax.one_line import one_line

_CA, _CB = residues.ATOM_INDEX['CA'], residues.ATOM_INDEX['CB']


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Interfaces:
  """One predicted complex, and what its scores need of it, computed when it is asked for and once."""

  asym_id: np.ndarray  # [N_res] one number per chain
  residue_index: np.ndarray  # [N_res] position in the chain
  positions: np.ndarray  # [N_res, 37, 3] Å
  atom_mask: np.ndarray  # [N_res, 37]
  plddt: np.ndarray  # [N_res] 0..100
  pae: np.ndarray  # [N_res, N_res] Å, aligned and scored
  chain_tm: np.ndarray  # [N_res, N_chain, 3] from `tm_of_chains`
  cutoff: float = PAE_CUTOFF  # Å, of ipSAE

  __repr__ = one_line

  @functools.cached_property
  def layout(self) -> ChainLayout:
    """The chains, in order of first appearance."""
    return ChainLayout.of(self.asym_id)

  @functools.cached_property
  def pairs(self) -> ChainPairs:
    """What PAE and coordinates say."""
    positions, has_atom = np.asarray(self.positions, np.float64), np.asarray(self.atom_mask) > 0.5
    beta = np.where(has_atom[:, _CB, None], positions[:, _CB], positions[:, _CA])
    beta = np.where(has_atom[:, _CA, None], beta, np.nan)
    in_order = self.layout.sorted
    plddt = in_order(np.asarray(self.plddt, np.float64))
    return chain_pairs(in_order(np.asarray(self.pae), axes=2), plddt, in_order(beta), self.layout, self.cutoff)

  @functools.cached_property
  def clashes(self) -> Clashes:
    """Atoms in one place."""
    arrays = self.positions, self.atom_mask, self.residue_index
    positions, mask, index = (self.layout.sorted(np.asarray(array)) for array in arrays)
    return find_clashes(positions, mask, index, self.layout.chain, len(self.layout.sizes))

  @property
  def chain_ptm(self) -> np.ndarray:  # [N_chain]
    """pTM of each chain for itself, to three decimals as in ColabFold's files."""
    return np.diagonal(expected.pairwise_iptm(self.chain_tm, self.layout)).round(3)

  @property
  def actifptm(self) -> float:
    """actifpTM of the whole complex, to three decimals."""
    return round(expected.actifptm(self.chain_tm), 3)

  def matrix(self, name: str) -> np.ndarray:
    """A score of SCORES of each pair of chains, rounded: [N_chain, N_chain], aligned and scored; 0 on the diagonal."""
    row = SCORES[name]
    return (row.of(self) * (1 - np.eye(len(self.layout.sizes)))).round(row.digits)

  def joined(self, name: str) -> np.ndarray:
    """The same with one value for both directions."""
    row = SCORES[name]
    both = row.of(self) * (1 - np.eye(len(self.layout.sizes)))
    return row.join(both, both.T).round(row.digits)

  def by_direction(self, name: str, chains: Sequence[str]) -> dict[str, float]:
    """A score by names of the aligned and the scored chain: 'A-B', and 'B-A' if that may differ (`pair_name`)."""
    matrix, row = self.matrix(name), SCORES[name]
    pairs = [(i, j) for i in range(len(chains)) for j in range(len(chains)) if i < j or i > j and row.is_directed]
    return {pair_name(chains[i], chains[j]): float(matrix[i, j]) for i, j in pairs}

  def by_pair(self, chains: Sequence[str]) -> dict[str, dict[str, float]]:
    """All scores of each pair of chains by their names, such as 'A-B', one value for both directions."""
    upper = np.triu_indices(len(chains), 1)
    columns = {name: self.joined(name)[upper].tolist() for name in SCORES}
    columns |= {name: list(map(int, columns[name])) for name, row in SCORES.items() if not row.digits}
    pairs, rows = itertools.combinations(chains, 2), zip(*columns.values(), strict=True)
    return {pair_name(*pair): dict(zip(columns, row)) for pair, row in zip(pairs, rows, strict=True)}

  def best(self, name: str) -> float:
    """A score of the best interface."""
    return float(self.joined(name).max())


# ------------------------------------------------------------------------------------------ the scores


def pdockq(assembly: Interfaces) -> np.ndarray:
  """Predicted DockQ, Bryant et al. 2022; 0 without contacts."""
  pairs = assembly.pairs
  x = interface_plddt(assembly) * np.log10(np.maximum(pairs.contacts, 1))
  return np.where(pairs.contacts > 0, 0.724 / (1 + np.exp(-0.052 * (x - 152.611))) + 0.018, 0.0)


def pdockq2(assembly: Interfaces) -> np.ndarray:
  """Predicted DockQ of a direction, Zhu et al. 2023, with the constants of other programs; 0 without contacts."""
  pairs = assembly.pairs
  x = interface_plddt(assembly) * pairs.contact_tm
  return np.where(pairs.contacts > 0, 1.31 / (1 + np.exp(-0.075 * (x - 84.733))) + 0.005, 0.0)


def interface_plddt(assembly: Interfaces) -> np.ndarray:
  """Mean pLDDT of the residues in contact, 0 to 100; 0 without contacts."""
  pairs = assembly.pairs
  count = pairs.touching + pairs.touching.T
  return (pairs.touching_plddt + pairs.touching_plddt.T) / np.maximum(count, 1)


def interface_pae(assembly: Interfaces) -> np.ndarray:
  """Mean PAE between the chains in both directions, Å."""
  mean = assembly.pairs.mean_pae
  return (mean + mean.T) / 2


def ilis(assembly: Interfaces) -> np.ndarray:
  """Integrated local interaction score: the geometric mean of LIS and cLIS, AFM-LIS 2025."""
  return np.sqrt(assembly.pairs.lis * assembly.pairs.clis)


def _mean(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  return (one + other) / 2


class InterfaceScore(NamedTuple):
  """A score of pairs of chains."""

  of: Callable[[Interfaces], np.ndarray]  # [N_chain, N_chain], aligned and scored
  digits: int  # decimals in files
  join: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.maximum  # of both directions
  is_directed: bool = False  # the directions differ


SCORES: Mapping[str, InterfaceScore] = {
  'iptm': InterfaceScore(lambda one: expected.pairwise_iptm(one.chain_tm, one.layout), 3),
  'actifptm': InterfaceScore(lambda one: expected.pairwise_actifptm(one.chain_tm, one.layout), 3),
  'ipsae': InterfaceScore(lambda one: one.pairs.ipsae, 6, is_directed=True),
  'ipsae_d0chn': InterfaceScore(lambda one: one.pairs.ipsae_d0chn, 6, is_directed=True),
  'ipsae_d0dom': InterfaceScore(lambda one: one.pairs.ipsae_d0dom, 6, is_directed=True),
  'iptm_d0chn': InterfaceScore(lambda one: one.pairs.iptm_d0chn, 6, is_directed=True),
  'pdockq': InterfaceScore(pdockq, 4),
  'pdockq2': InterfaceScore(pdockq2, 4, is_directed=True),
  'lis': InterfaceScore(lambda one: one.pairs.lis, 4, _mean, is_directed=True),
  'lia': InterfaceScore(lambda one: one.pairs.lia, 1, _mean, is_directed=True),
  'clis': InterfaceScore(lambda one: one.pairs.clis, 4, _mean, is_directed=True),
  'clia': InterfaceScore(lambda one: one.pairs.clia, 1, _mean, is_directed=True),
  'ilis': InterfaceScore(ilis, 4, _mean, is_directed=True),
  'plddt': InterfaceScore(interface_plddt, 2),
  'pae': InterfaceScore(interface_pae, 2),
  'min_pae': InterfaceScore(lambda one: one.pairs.min_pae, 2, np.minimum, is_directed=True),
  'contacts': InterfaceScore(lambda one: one.pairs.contacts, 0),
  'clashes': InterfaceScore(lambda one: one.clashes.between, 0, np.add, is_directed=True),
}
