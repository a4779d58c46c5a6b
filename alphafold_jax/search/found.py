# SPDX-License-Identifier: Apache-2.0
"""What an engine is, and what it gives: rows of alignments by database and template hits.

An engine is anything that has a name and the methods below. One kind finds homologues, another templates. What is found
comes and goes as JSON for the files that keep it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.one_line import one_line


@dataclasses.dataclass(frozen=True)
class Rows:
  """What one database adds to an alignment."""

  database: str  # role or name of the database
  a3m: str  # A3M text: the query, then the rows, best first
  num_found: int  # rows found, those beyond the cap included


@dataclasses.dataclass(frozen=True)
class TemplateHit:
  """A stretch of a known structure's sequence aligned to the query."""

  entry: str  # PDB id in lower case, or the stem of a structure file
  chain: str  # the authors' chain name
  sequence: str  # the residues of the hit, upper case, without gaps
  pairs: tuple[tuple[int, int], ...]  # (residue of the query, residue of `sequence`), both from 0
  start: int = 0  # place of `sequence` in the chain's full sequence, from 0
  description: str = ''
  probability_sum: float | None = None  # HH-suite's sum of posterior probabilities; ranks the hits that have one
  evalue: float | None = None

  __repr__ = one_line

  @property
  def name(self) -> str:
    """As in `4zey_A`."""
    return f'{self.entry}_{self.chain}'

  def to_json(self) -> dict[str, Any]:
    """The fields by name."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> 'TemplateHit':
    """The hit of which `to_json` gave this content, perhaps read from a file: tuples come back as lists there.

    Raises:
      KeyError, TypeError, ValueError: a field is missing, unknown or of another kind.
    """
    _check_text(content, 'entry', 'chain', 'sequence', 'description')
    return cls(**{**content, 'pairs': tuple((query, residue) for query, residue in content['pairs'])})


@dataclasses.dataclass(frozen=True)
class Found:
  """All that a search found for one sequence."""

  rows: tuple[Rows, ...]  # in the order in which they are merged
  hits: tuple[TemplateHit, ...] = ()  # best first; () also where templates were not asked for
  notes: tuple[str, ...] = ()  # what a person should know

  __repr__ = one_line

  def to_json(self) -> dict[str, Any]:
    """The fields by name."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> 'Found':
    """What `to_json` gave this content of; see `TemplateHit.from_json`."""
    for one in content['rows']:
      _check_text(one, 'database', 'a3m')
    rows, hits = (Rows(**one) for one in content['rows']), map(TemplateHit.from_json, content['hits'])
    return cls(tuple(rows), tuple(hits), tuple(content['notes']))


def _check_text(content: Mapping[str, Any], *names: str) -> None:
  """Raises TypeError where an entry that should be text is none."""
  for name in names:
    if not isinstance(content[name], str):
      raise TypeError(f'{name!r} is {type(content[name]).__name__}, not text')


Watch = Callable[[float, str], None]  # called with the share of a search that is done, 0 to 1, and what is done now
Result = tuple[int, Found | AlphaFoldError]  # index of a sequence, and what was found for it or why nothing was


class Engine(Protocol):
  """Finds homologues of sequences."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON: program version, settings, identities of the databases."""

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Searches for all sequences; each result as soon as it is there.

    Args:
      sequences: upper-case letters, each different from the others.
      watch: called now and then with the progress.

    Raises:
      SearchError, InputError, ResourceError: nothing more can be found; what was yielded stands.
    """


class TemplateEngine(Protocol):
  """Finds known structures by the alignment of a sequence."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON."""

  def search(self, sequence: str, found: Found, watch: Watch) -> Found:
    """The hits for one sequence whose homologues were found, and no rows; the same errors as of `Engine`."""


# ------------------------------------------------------------ pairs of a complex


@dataclasses.dataclass(frozen=True)
class FoundPairs:
  """Rows to be paired, of the distinct chains of a complex."""

  chains: tuple[str, ...]  # A3M text of each: its sequence, then the rows
  by_species: bool = False  # to be paired by the species in their names; else row k stands beside row k of each chain
  notes: tuple[str, ...] = ()  # what a person should know

  __repr__ = one_line

  @classmethod
  def none(cls, chains: Sequence[str], why: str | None = None) -> 'FoundPairs':
    """The sequences alone; `why` there are no pairs is noted."""
    notes = () if why is None else (f'found no pairs because {why}; goes on unpaired',)
    return cls(tuple(f'>query\n{sequence}\n' for sequence in chains), notes=notes)

  @property
  def num_rows(self) -> tuple[int, ...]:
    """Rows of each chain, its own sequence included."""
    return tuple(text.count('>') for text in self.chains)


PairResult = tuple[int, FoundPairs | AlphaFoldError]  # index of a complex, and what was found or why nothing was


@dataclasses.dataclass(frozen=True)
class FoundComplex:
  """All that was found for a complex."""

  chains: tuple[Found, ...]  # for each distinct chain
  pairs: FoundPairs  # of the same chains

  __repr__ = one_line


ComplexResult = tuple[int, FoundComplex | AlphaFoldError]  # index of a complex, and what was found or why nothing was


class PairEngine(Protocol):
  """Finds rows to be paired, for complexes of two or more distinct chains.

  What it searches for is up to it: one chain, whose rows all complexes with that chain share, or a whole complex. It
  says so as a text, by which the result is kept.
  """

  name: str
  strategy: str  # a value of choices.PAIR_STRATEGIES

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON; the same as of `Engine`."""

  def parts(self, chains: Sequence[str]) -> tuple[str, ...]:
    """What is searched for, for a complex of these distinct sequences."""

  def search(self, parts: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Searches for all parts, each different from the others; see `Engine.search`."""

  def pairs(self, chains: Sequence[str], found: Sequence[Found]) -> FoundPairs:
    """The pairs of a complex, from what was found for its `parts`."""


class NoPairs:
  """Stands in the place of an engine where pairs are not asked for or cannot be found."""

  name, strategy = 'no pairs', ''

  def __init__(self, why: str | None = None):
    """Takes the reason; None: nobody asked for pairs."""
    self._why = why

  def identity(self) -> Mapping[str, Any]:
    """Nothing shapes what is not there."""
    return {}

  def parts(self, chains: Sequence[str]) -> tuple[str, ...]:
    """Nothing is searched for."""
    return ()

  def search(self, parts: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Finds nothing."""
    return iter(())

  def pairs(self, chains: Sequence[str], found: Sequence[Found]) -> FoundPairs:
    """The sequences alone, with the reason."""
    return FoundPairs.none(chains, self._why)
