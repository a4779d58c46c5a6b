# SPDX-License-Identifier: Apache-2.0
"""The best hits of one query, chosen while a database is read, without keeping the others.

E-values are those of the whole database: the P-value times the number of its sequences; for a domain, times the number
of sequences that are hits. Both numbers only grow during the reading, so a hit that is over a threshold stays over it.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple


class Domain(NamedTuple):
  """A stretch of a sequence that is aligned to the query."""

  pvalue: float
  record: str  # of an A3M text


class Hit(NamedTuple):
  """A sequence that is similar to the query."""

  score: float  # bits
  name: str
  pvalue: float
  domains: tuple[Domain, ...]


class Best:
  """The best hits with their records; of the others only the P-values, which are needed to count them."""

  def __init__(self, max_rows: int | None, max_evalue: float, max_domain_evalue: float):
    """Begins without any.

    Args:
      max_rows: records wanted, one for the query included; None for all.
      max_evalue: of a significant sequence.
      max_domain_evalue: of a significant domain of one.
    """
    self._max_records = max_rows and max_rows - 1
    self._keep = max_rows and 2 * max_rows  # twice: a significant hit may have no significant domain
    self._max_evalue, self._max_domain_evalue = max_evalue, max_domain_evalue
    self._hits: list[Hit] = []
    self._others = array('d')  # P-values of further hits
    self._other_domains = array('d')  # of each of their domains two P-values: the hit's, its own

  def add(self, hits: Iterable[Hit], num_targets: int) -> None:
    """Adds the hits of a block; `num_targets` sequences were searched so far, with those of the block."""
    self._hits.extend(hit for hit in hits if self._significant(hit.pvalue, num_targets))
    if self._keep and len(self._hits) > 2 * self._keep:
      self._sort()
      for hit in self._hits[self._keep :]:
        self._others.append(hit.pvalue)
        self._other_domains.extend(value for domain in hit.domains for value in (hit.pvalue, domain.pvalue))
      del self._hits[self._keep :]

  def significant(self, num_targets: int) -> tuple[list[Hit], int]:
    """The significant hits that were kept, best first, and the number of all; of `num_targets` sequences.

    Hits with equal scores come in the order of their names, as in HMMER.
    """
    self._sort()
    hits = [hit for hit in self._hits if self._significant(hit.pvalue, num_targets)]
    return hits, len(hits) + sum(self._significant(pvalue, num_targets) for pvalue in self._others)

  def records(self, num_targets: int) -> tuple[list[str], int]:
    """Records of the significant domains of significant hits, best first, as many as wanted; and their number."""
    hits, num_hits = self.significant(num_targets)
    limit = self._max_domain_evalue
    records = [domain.record for hit in hits for domain in hit.domains if domain.pvalue * num_hits <= limit]
    num_others = sum(
      self._significant(of_hit, num_targets) and own * num_hits <= limit
      for of_hit, own in zip(self._other_domains[::2], self._other_domains[1::2], strict=True)
    )
    return records[: self._max_records], len(records) + num_others

  def _significant(self, pvalue: float, num_targets: int) -> bool:
    return pvalue * num_targets <= self._max_evalue

  def _sort(self) -> None:
    self._hits.sort(key=lambda hit: (-hit.score, hit.name))
