# SPDX-License-Identifier: Apache-2.0
"""What a search gives: rows of alignments by database, and template hits."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Rows:
  """What one database adds to an alignment."""

  database: str  # role or name of the database
  a3m: str  # A3M text: the query, then the rows, best first
  num_found: int  # rows found, those beyond the cap included


@dataclasses.dataclass(frozen=True)
class Hit:
  """A stretch of a known structure's sequence aligned to the query."""

  entry: str  # PDB id in lower case, or the stem of a structure file
  chain: str  # the authors' chain name
  sequence: str  # the residues of the hit, upper case, without gaps
  pairs: tuple[tuple[int, int], ...]  # (residue of the query, residue of `sequence`), both from 0
  start: int = 0  # place of `sequence` in the chain's full sequence, from 0
  description: str = ''
  probability_sum: float | None = None  # HH-suite's sum of posterior probabilities; ranks the hits that have one
  evalue: float | None = None

  @property
  def name(self) -> str:
    """As in `4zey_A`."""
    return f'{self.entry}_{self.chain}'


@dataclasses.dataclass(frozen=True)
class Found:
  """All that a search found for one sequence."""

  rows: tuple[Rows, ...]  # in the order in which they are merged
  hits: tuple[Hit, ...] = ()  # best first; () also where templates were not asked for
  notes: tuple[str, ...] = ()  # what a person should know
