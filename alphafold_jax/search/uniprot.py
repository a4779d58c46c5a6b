# SPDX-License-Identifier: Apache-2.0
"""The engine that finds rows to be paired by species, as AlphaFold-Multimer does: jackhmmer in UniProt, for each chain.

AlphaFold 2.3.2 keeps the first 50,000 rows, drops those that repeat another (data/pipeline_multimer.py), and pairs them
by the species at the end of a UniProt name: tr|A0A0C5BVQ8|A0A0C5BVQ8_STAAU.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alphafold_jax.search import pairing
from alphafold_jax.search.databases import ROLES, Database
from alphafold_jax.search.found import Found, FoundPairs, Result, Watch
from alphafold_jax.search.hmmer import Hmmer


class UniProtPairs:
  """jackhmmer as an engine of pairs."""

  name = 'hmmer'

  def __init__(self, databases: Sequence[Database], num_threads: int, strategy: str):
    """Checks packages and databases.

    Args:
      databases: FASTA files of UniProt.
      num_threads: that search.
      strategy: a value of choices.PAIR_STRATEGIES, for whoever pairs the rows.

    Raises:
      InputError: no database, or one that is no FASTA file or is not there.
      SearchError: pyhmmer is not installed.
    """
    self._engine, self.strategy = Hmmer(databases, num_threads), strategy

  def identity(self) -> Mapping[str, Any]:
    """See `PairEngine.identity`."""
    return self._engine.identity()

  def parts(self, chains: Sequence[str]) -> tuple[str, ...]:
    """Each chain alone, so that all its complexes share a search."""
    return tuple(chains)

  def search(self, parts: Sequence[str], watch: Watch) -> Iterator[Result]:
    """See `PairEngine.search`."""
    return self._engine.search(parts, lambda fraction, text: watch(fraction, f'pairs: {text}'))

  def pairs(self, chains: Sequence[str], found: Sequence[Found]) -> FoundPairs:
    """The rows of each chain, which have yet to be paired."""
    most = ROLES['uniprot'].max_rows
    texts = tuple(
      pairing.distinct(sequence, [rows.a3m for rows in one.rows], most)
      for sequence, one in zip(chains, found, strict=True)
    )
    notes = dict.fromkeys(note for one in found for note in one.notes)
    return FoundPairs(texts, by_species=True, notes=tuple(notes))
