# SPDX-License-Identifier: Apache-2.0
"""Domains of a prediction: groups of residues that lie firmly to one another by the predicted aligned error (PAE).

Residues are nodes of a graph, pairs of a small PAE its edges, weighted by 1 / PAE^power; domains are its communities of
greatest modularity (Clauset, Newman and Moore 2004), which networkx finds. A PAE has two values for a pair of residues,
a graph has one edge: their mean is taken first, so that the order of residues decides nothing.
"""

import dataclasses
from collections.abc import Sequence

import networkx
import numpy as np

_LEAST = 0.2  # Å, in the place of smaller errors, 0 among them, of which there would be no weight (Croll's program)


@dataclasses.dataclass(frozen=True)
class DomainRules:
  """A published set of parameters; and the number of residues from which a domain or a stretch of one is kept."""

  cutoff: float  # Å of PAE, below which a pair has an edge
  power: float  # of PAE in the weight
  resolution: float  # of modularity: larger values make smaller domains
  min_domain: int  # residues
  min_fragment: int  # residues
  source: str


_PHENIX = 'phenix.process_predicted_model (cctbx)'
RULES = {
  'phenix': DomainRules(5.0, 1.0, 0.5, 10, 5, f'{_PHENIX}, its standard parameters'),
  'phenix_alt': DomainRules(4.0, 2.0, 4.0, 20, 10, f'{_PHENIX}, alt_pae_params=True'),
  'croll': DomainRules(5.0, 1.0, 1.0, 10, 5, "T. Croll's pae_to_domains with networkx; least sizes are Phenix's"),
}


def symmetric(pae: np.ndarray) -> np.ndarray:  # [N_res, N_res] Å -> the same
  """The mean of both directions, with small errors raised to 0.2 Å."""
  return np.maximum((pae + pae.T) / 2, _LEAST)


def find_domains(pae: np.ndarray, rules: DomainRules) -> list[np.ndarray]:
  """All residues in groups, by their first residue; some may be groups of one.

  Args:
    pae: [N_res, N_res] Å, as it was predicted.
    rules: a set of RULES.

  Returns:
    the indices of each group's residues, from 0, ascending.
  """
  errors = symmetric(pae)
  rows, columns = np.nonzero(np.triu(errors < rules.cutoff))  # a residue has an edge to itself, as in both programs
  weights = 1 / errors[rows, columns].astype(np.float64) ** rules.power
  graph = networkx.Graph()
  graph.add_nodes_from(range(len(errors)))
  graph.add_weighted_edges_from(zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True))
  found = networkx.community.greedy_modularity_communities(graph, weight='weight', resolution=rules.resolution)
  return sorted((np.array(sorted(group)) for group in found), key=lambda group: group[0])


def merged(domains: Sequence[np.ndarray], pae: np.ndarray, most: int) -> tuple[list[np.ndarray], list[float]]:
  """At most so many domains: of more, those two become one between which the mean PAE is smallest, and so on.

  Args:
    domains: indices of residues, from 0.
    pae: [N_res, N_res] Å.
    most: the number of domains, 1 or more.

  Returns:
    the domains by their first residue, and the mean PAE of each merger, Å.
  """
  errors, left = symmetric(pae), list(domains)
  between: list[float] = []
  while len(left) > most:
    means = {(i, j): float(errors[np.ix_(left[i], left[j])].mean()) for j in range(len(left)) for i in range(j)}
    i, j = min(means, key=lambda pair: means[pair])
    between.append(means[i, j])
    joined = np.sort(np.concatenate([left[i], left[j]]))
    left = sorted([joined, *(one for k, one in enumerate(left) if k not in (i, j))], key=lambda group: group[0])
  return left, between
