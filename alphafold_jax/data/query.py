# SPDX-License-Identifier: Apache-2.0
"""A protein or complex to predict, or what stands in the place of one that cannot be."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.arguments import wrong
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment as alignments
from alphafold_jax.data import complexes
from alphafold_jax.data.alignment import Alignment, checked_chains, encode, parse_a3m
from alphafold_jax.data.alignment_files import Read, read_a3m
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes import ComplexAlignment, Merging
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.records import decode, read_bytes
from alphafold_jax.errors import InputError
from alphafold_jax.naming import listed
from alphafold_jax.one_line import brief, cut, one_line
from alphafold_jax.screen import number


@runtime_checkable
class OwnTemplate(Protocol):
  """A template that comes with a protein."""

  def place(self, query_sequence: str) -> Any:
    """The structure on the residues of its chain, a `data.templates.Template`."""

  def identity(self) -> str:
    """A digest of the structure and its place."""


@dataclasses.dataclass(frozen=True)
class Query:
  """One protein or complex to predict.

  The chains of a complex are given as one text, 'AAA:BBB', or joined with their `lengths`.
  """

  name: str  # as in the file: header, CSV id, or the stem of an A3M file
  sequence: str  # upper-case letters; of a complex those of all chains, one behind the other
  alignment: Alignment | ComplexAlignment | Path | None = None  # a path is read by `load_alignment`
  source: str = ''  # file and record, for messages
  job: str = ''  # safe for file names and unique in its input; by default made from the name
  notes: tuple[str, ...] = ()  # what was repaired on reading
  templates: tuple[OwnTemplate, ...] | None = None  # its own, perhaps none at all; None: nothing is said
  lengths: tuple[int, ...] = ()  # residues of each chain of a complex, in the given order; none: a single chain
  chain_names: tuple[str, ...] = ()  # of a complex; none: A, B, ...
  titles: tuple[str, ...] = dataclasses.field(default=(), repr=False)  # headers of its chains, if each had its own

  def __post_init__(self) -> None:
    if not isinstance(self.name, str):
      raise InputError(f'the name of a protein is {self.name!r:.60}; give a text')
    if not isinstance(self.alignment, Alignment | ComplexAlignment | str | Path | None):
      raise InputError(
        f'{self.name}: the alignment is of type {type(self.alignment).__name__}; give a path or Alignment'
      )
    chains = self._checked_chains()
    several = len(chains) > 1
    object.__setattr__(self, 'sequence', chains.sequence)
    object.__setattr__(self, 'lengths', chains.lengths if several else ())
    object.__setattr__(self, 'chain_names', chains.names if several else ())
    if not self.job:
      object.__setattr__(self, 'job', safe_name(self.name))

  def __repr__(self) -> str:
    if not self.lengths:
      return one_line(self)
    shown: dict[str, Any] = {'name': self.name, 'sequence': self.chains.text, 'lengths': self.lengths}
    shown |= {'chain_names': self.chain_names, 'alignment': self.alignment, 'source': self.source}
    return cut(f'Query({", ".join(f"{name}={brief(value)}" for name, value in shown.items())}') + ')'

  @property
  def chains(self) -> Chains:
    """The chains; one of a single protein."""
    return Chains.cut(self.sequence, self.lengths, self.chain_names)

  def load_complex(self, read: Read = read_bytes) -> ComplexAlignment | None:
    """The alignments of the distinct chains of a complex, read and checked now; None for bare sequences.

    Args:
      read: gives the content of a file, decompressed.

    Raises:
      InputError: they cannot be read, or are given as one over all residues.
    """
    alignment = self.alignment
    if isinstance(alignment, Alignment):
      raise InputError(f'{self.source or self.name}: has one alignment over all chains; give those of each chain')
    if isinstance(alignment, str | Path):
      _, alignment = complexes.parse(read_a3m(alignment, read), str(alignment))
    return alignment

  def load_alignment(self, read: Read = read_bytes, merging: Merging = complexes.COLABFOLD) -> Alignment | None:
    """The alignment over all residues, read and checked now; None for a bare sequence.

    Args:
      read: gives the content of a file, decompressed.
      merging: which rows are taken of the alignments of a complex.

    Raises:
      InputError: it cannot be read, or its query is another sequence.
    """
    alignment = self.alignment
    place = f'{self.source or self.name}: the alignment'
    what = f'{place} {alignment}' if isinstance(alignment, str | Path) else place
    if isinstance(alignment, ComplexAlignment) or (self.lengths and not isinstance(alignment, Alignment)):
      of_chains = self.load_complex(read)
      return None if of_chains is None else _merged(of_chains, self.chains, merging, what)
    if isinstance(alignment, str | Path):
      alignment = parse_a3m(read_a3m(alignment, read), str(alignment))
    if alignment is not None:
      check_same(alignment.query, self.sequence, what)
      alignment = taken(_of_chains(alignment, self.lengths, what), merging)
    return alignment

  def bare_alignment(self, merging: Merging = complexes.COLABFOLD) -> Alignment:
    """The alignment of the protein alone; of a complex, of its chains together and each by itself."""
    chains = self.chains
    if len(chains) == 1:
      return alignments.single_sequence(self.sequence)
    return complexes.merge(complexes.bare(chains.distinct), chains, merging)

  def _checked_chains(self) -> Chains:
    """The chains, of which each can be built; errors name where they are from."""
    chains = checked_chains(self.sequence, self.name)
    try:
      if len(chains) == 1:
        chains = Chains.cut(chains.sequence, self.lengths)
      elif self.lengths and tuple(self.lengths) != chains.lengths:
        raise wrong('lengths', self.lengths, f"of {self.name!r}: ':' divides its sequence otherwise; leave them out")
      if len(chains) > 1:
        chains = Chains(chains.sequences, tuple(self.chain_names))
    except InputError as error:
      raise InputError(f'{self.source}: {error}' if self.source else str(error)) from None
    if len(chains) > 1:
      for name, sequence in zip(chains.names, chains.sequences, strict=True):
        if set(sequence) <= residues.UNKNOWN_LETTERS:
          raise InputError(
            f'{self.source or self.name}: every residue of chain {name} is of unknown type (X, J or O), so there is '
            'nothing to build of it; give its residue types, or leave the chain out'
          )
    return chains


def single_sequence(sequence: str, name: str = 'query') -> Alignment:
  """The alignment of a protein or complex without homologues: the same that its bare sequence is predicted with.

  Args:
    sequence: upper- or lower-case letters; of a complex 'AAA:BBB'.
    name: of its rows.

  Raises:
    InputError: it is empty, or not of letters.
  """
  if not isinstance(sequence, str) or ':' not in sequence:
    return alignments.single_sequence(sequence, name)
  chains = checked_chains(sequence, name)
  found = complexes.merge(complexes.bare(chains.distinct), chains)
  return dataclasses.replace(found, names=(name,) * len(found.names))


def taken(alignment: Alignment, merging: Merging) -> Alignment:
  """The rows of an alignment that models take: all, but of a complex without homologues those of its bare sequence.

  Args:
    alignment: over all residues.
    merging: of those models.
  """
  if not alignment.lengths or merging == complexes.COLABFOLD or len(alignment.tokens) > len(alignment.lengths) + 1:
    return alignment
  chains = Chains.cut(alignment.query, alignment.lengths)
  alone = complexes.bare(chains.distinct)
  if not np.array_equal(alignment.tokens, complexes.merge(alone, chains).tokens):
    return alignment
  return complexes.merge(alone, chains, merging)


def _of_chains(alignment: Alignment, lengths: tuple[int, ...], what: str) -> Alignment:
  """An alignment over all residues with the lengths of the chains, unless it has others."""
  if alignment.lengths == lengths:
    return alignment
  if alignment.lengths:
    raise InputError(
      f'{what} is of chains of {listed(map(str, alignment.lengths), 8)} residues, the sequence of '
      f'{listed(map(str, lengths or (len(alignment.query),)), 8)}; they must be the same chains in the same order'
    )
  return dataclasses.replace(alignment, lengths=lengths)


def _merged(alignment: ComplexAlignment, chains: Chains, merging: Merging, what: str) -> Alignment:
  try:
    return complexes.merge(alignment, chains, merging)
  except InputError as error:
    raise InputError(f'{what}: {error}') from None


@dataclasses.dataclass(frozen=True)
class FailedQuery:
  """A record or file that cannot be used."""

  name: str
  source: str
  message: str
  job: str = ''


class Reading(NamedTuple):
  """What a record says of a protein or complex, its name aside."""

  sequence: str
  notes: tuple[str, ...] = ()
  alignment: Alignment | ComplexAlignment | Path | None = None
  templates: tuple[OwnTemplate, ...] | None = None
  lengths: tuple[int, ...] = ()
  chain_names: tuple[str, ...] = ()
  titles: tuple[str, ...] = ()

  def __repr__(self) -> str:
    return one_line(self)


@dataclasses.dataclass(frozen=True)
class Opened:
  """A file of queries that was read."""

  path: Path
  content: bytes  # decompressed
  read: Read  # for other files that it names
  is_complex: bool = False  # whether its records are the chains of one complex

  @functools.cached_property
  def text(self) -> str:
    """The content as text; InputError if it is none."""
    return decode(self.content, str(self.path))

  @property
  def stem(self) -> str:
    """The file's name without its suffixes."""
    return stem(self.path)


Items = Iterator[Query | FailedQuery | str]  # of a file, in order; texts are notes on the file


def stem(path: Path) -> str:
  """A file's name without its suffixes."""
  return atomic.printable((Path(path.stem) if path.suffix.lower() == '.gz' else path).stem)


def suffix(path: Path) -> str:
  """A file's suffix in lower case, '.gz' set aside."""
  return (Path(path.stem) if path.suffix.lower() == '.gz' else path).suffix.lower()


def query_of(name: str, source: str, read: Callable[..., Reading], *arguments: Any) -> Query | FailedQuery:
  """The query with the content that `read` returns, or its failure."""
  try:
    content = read(*arguments)
    return Query(
      name,
      content.sequence,
      content.alignment,
      source,
      notes=content.notes,
      templates=content.templates,
      lengths=content.lengths,
      chain_names=content.chain_names,
      titles=content.titles,
    )
  except InputError as error:
    return FailedQuery(name, source, str(error))


def check_same(query: str, sequence: str, what: str) -> None:
  """Refuses an alignment whose first row is another protein."""
  if len(query) != len(sequence):
    raise InputError(
      f'{what} has a query of {number(len(query), "residue")}, the sequence has {len(sequence)}; '
      'its first row must be the sequence'
    )
  if (differ := np.flatnonzero(encode(query) != encode(sequence))).size:
    i = int(differ[0])
    raise InputError(
      f'{what} has {query[i]} at residue {i + 1} of its query, the sequence has {sequence[i]}; '
      'its first row must be the sequence'
    )


def check_chains(found: Reading, sequences: Sequence[str], what: str) -> None:
  """Refuses an alignment of other chains than these; their order does not count.

  Args:
    found: the query of the alignment.
    sequences: of the chains.
    what: names the alignment in messages.

  Raises:
    InputError: it is of another sequence, or of other chains.
  """
  if len(sequences) == 1 and not found.lengths:
    check_same(found.sequence, sequences[0], what)
    return
  theirs = Chains.cut(found.sequence, found.lengths)
  if not found.lengths:
    table = Chains(tuple(sequences))
    line = f'#{",".join(str(len(one)) for one in table.distinct)}\\t{",".join(map(str, table.copies))}'
    raise InputError(
      f"{what} does not say where its chains end; put the line '{line}' (a tab in the middle) above its first record, "
      'if that is the chains joined, each once'
    )
  if sorted(encode(one).tobytes() for one in theirs.sequences) != sorted(encode(one).tobytes() for one in sequences):
    raise InputError(
      f'{what} is of chains of {listed(map(str, theirs.lengths), 8)} residues, the sequence of '
      f'{listed((str(len(one)) for one in sequences), 8)}; they must be the same chains'
    )
