# SPDX-License-Identifier: Apache-2.0
"""What aligned errors (PAE) and coordinates say of all pairs of chains, in two passes over the pairs of residues.

A few rows of PAE are looked at at a time, and what is found is kept per pair of chains, so that neither time nor memory
grow with the number of pairs of chains times that of residues.
"""

import dataclasses

import numpy as np

from alphafold_jax.interfaces.layout import ChainLayout
from alphafold_jax.one_line import one_line

PAE_CUTOFF = 15.0  # Å, of ipSAE in ColabFold; its authors' program takes 10 by custom
LIS_CUTOFF = 12.0  # Å, Kim et al. 2024
CONTACT = 8.0  # Å between C-beta atoms (C-alpha for glycine), Bryant et al. 2022
PDOCKQ2_D0 = 10.0  # Å, Zhu et al. 2023
_AT_ONCE = 1 << 19  # pairs of residues: what stays in the cache of a processor


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ChainPairs:
  """Of each pair of chains [N_chain, N_chain], aligned and scored; what is on the diagonal means nothing."""

  ipsae: np.ndarray  # of the best aligned residue: the mean TM term over near residues, d0 of their number
  ipsae_d0chn: np.ndarray  # d0 of the residues of both chains
  ipsae_d0dom: np.ndarray  # d0 of the residues of both chains that are near
  iptm_d0chn: np.ndarray  # all residues, near or not, d0 of the residues of both chains
  min_pae: np.ndarray  # Å
  mean_pae: np.ndarray  # Å
  lis: np.ndarray  # mean of 1 - PAE / 12 Å over pairs below 12 Å; 0 where there is none
  lia: np.ndarray  # the number of these pairs
  clis: np.ndarray  # as lis, of those in contact
  clia: np.ndarray
  contacts: np.ndarray  # pairs of residues in contact
  contact_tm: np.ndarray  # mean TM term of these, d0 of 10 Å
  touching: np.ndarray  # residues of the aligned chain in contact with the scored one
  touching_plddt: np.ndarray  # their sum of pLDDT

  __repr__ = one_line


def chain_pairs(
  pae: np.ndarray, plddt: np.ndarray, beta: np.ndarray, layout: ChainLayout, cutoff: float = PAE_CUTOFF
) -> ChainPairs:
  """Looks at all pairs of residues; arguments are in the layout's order.

  Args:
    pae: [N_res, N_res] Å.
    plddt: [N_res] 0..100.
    beta: [N_res, 3] Å, C-beta atoms (C-alpha for glycine); NaN where a residue has no place.
    layout: of the chains.
    cutoff: Å, PAE below which a pair of residues is near (ipSAE).
  """
  sizes, num_chain, most = layout.sizes, len(layout.sizes), max(1, _AT_ONCE // len(plddt))
  d0_chn = d0_of_whole(sizes[:, None] + sizes)  # [N_chain, N_chain]
  best = {name: np.full((num_chain, num_chain), -np.inf) for name in ('ipsae', 'ipsae_d0chn', 'iptm_d0chn', 'min_pae')}
  total = {name: np.zeros((num_chain, num_chain)) for name in _TOTALS}
  is_near = np.zeros((num_chain, len(plddt)), bool)  # [N_chain, N_res] a residue to any of a chain
  for chain, rows in layout.blocks(most):
    errors = np.asarray(pae[rows], np.float64)
    is_near[chain] |= np.any(errors < cutoff, axis=0)
    found = _errors_of_rows(errors, layout, cutoff, d0_chn[chain])
    for name, of_rows in found.items():
      np.maximum(best[name][chain], of_rows.max(axis=0), out=best[name][chain])
    for name, of_rows in _totals_of_rows(errors, _distances(beta[rows], beta), plddt[rows], layout, cutoff).items():
      total[name][chain] += of_rows.sum(axis=0)
  d0_dom = d0_of_whole(total['near_rows'] + layout.sums(is_near))
  return ChainPairs(
    **best | {'min_pae': -best['min_pae']},
    ipsae_d0dom=_ipsae(pae, layout, cutoff, d0_dom, most),
    mean_pae=total['pae'] / (sizes[:, None] * sizes),
    lis=_mean(total['lis'], total['lia']),
    clis=_mean(total['clis'], total['clia']),
    contact_tm=_mean(total['contact_tm'], total['contacts']),
    **{name: total[name] for name in ('lia', 'clia', 'contacts', 'touching', 'touching_plddt')},
  )


def tm_term(error: np.ndarray, d0: np.ndarray | float) -> np.ndarray:
  """1 / (1 + (error / d0)^2), Zhang & Skolnick 2004."""
  return 1 / (1 + np.square(error / d0))


def d0_of_near(count: np.ndarray) -> np.ndarray:
  """Å, the scale of the TM term for so many near residues, counted as at least 26; Dunbrack 2025, since version 4."""
  return np.maximum(1.0, 1.24 * np.cbrt(np.maximum(count, 26) - 15.0) - 1.8)


def d0_of_whole(count: np.ndarray) -> np.ndarray:
  """Å, the scale of the TM term for chains or domains of so many residues; 1 up to 27; Dunbrack 2025."""
  return np.where(np.asarray(count) > 27, d0_of_near(count), 1.0)


_TOTALS = ('near_rows', 'pae', 'lis', 'lia', 'clis', 'clia', 'contacts', 'contact_tm', 'touching', 'touching_plddt')


def _errors_of_rows(
  errors: np.ndarray, layout: ChainLayout, cutoff: float, d0_chn: np.ndarray
) -> dict[str, np.ndarray]:
  """Of some residues of a chain [b, N_chain] what the best of is taken; errors [b, N_res], d0 [N_chain]."""
  near = errors < cutoff
  count = layout.sums(near)
  terms = tm_term(errors, layout.spread(d0_chn))
  d0 = layout.spread(d0_of_near(count))
  return {
    'ipsae': _mean(layout.sums(tm_term(errors, d0) * near), count),
    'ipsae_d0chn': _mean(layout.sums(terms * near), count),
    'iptm_d0chn': layout.sums(terms) / layout.sizes,
    'min_pae': layout.largest(-errors),
  }


def _totals_of_rows(
  errors: np.ndarray, distances: np.ndarray, plddt: np.ndarray, layout: ChainLayout, cutoff: float
) -> dict[str, np.ndarray]:
  """Of some residues of a chain [b, N_chain] what is added up; errors and distances [b, N_res], plddt [b]."""
  close, contact = errors < LIS_CUTOFF, distances <= CONTACT
  in_contact = close & (distances < CONTACT)
  local = 1 - errors / LIS_CUTOFF
  contacts = layout.sums(contact)
  return {
    'near_rows': layout.sums(errors < cutoff) > 0,
    'pae': layout.sums(errors),
    'lis': layout.sums(local * close),
    'lia': layout.sums(close),
    'clis': layout.sums(local * in_contact),
    'clia': layout.sums(in_contact),
    'contacts': contacts,
    'contact_tm': layout.sums(tm_term(errors, PDOCKQ2_D0) * contact),
    'touching': contacts > 0,
    'touching_plddt': (contacts > 0) * plddt[:, None],
  }


def _ipsae(pae: np.ndarray, layout: ChainLayout, cutoff: float, d0: np.ndarray, most: int) -> np.ndarray:
  """ipSAE with a d0 for each pair of chains: [N_chain, N_chain]."""
  best = np.zeros(d0.shape)
  for chain, rows in layout.blocks(most):
    errors = np.asarray(pae[rows], np.float64)
    near = errors < cutoff
    terms = tm_term(errors, layout.spread(d0[chain])) * near
    means = _mean(layout.sums(terms), layout.sums(near))
    np.maximum(best[chain], means.max(axis=0), out=best[chain])
  return best


def _distances(rows: np.ndarray, beta: np.ndarray) -> np.ndarray:
  """[b, 3], [N_res, 3] -> [b, N_res] Å, in double precision; NaN, which is near nothing, where one has no place."""
  return np.sqrt(sum(np.square(rows[:, None, k] - beta[None, :, k]) for k in range(3)))


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
  """Total over count; 0 where there is nothing."""
  return np.divide(total, count, out=np.zeros_like(total), where=count > 0)
