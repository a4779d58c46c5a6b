# SPDX-License-Identifier: Apache-2.0
"""A protein to predict, or what stands in the place of one that cannot be."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.data.alignment import Alignment, checked, encode, parse_a3m
from alphafold_jax.data.alignment_files import Read, read_a3m
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.records import decode, read_bytes
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number


@runtime_checkable
class OwnTemplate(Protocol):
  """A template that comes with a protein."""

  def place(self, query_sequence: str) -> Any:
    """The structure on the protein's residues, a `data.templates.Template`."""

  def identity(self) -> str:
    """A digest of the structure and its place."""


@dataclasses.dataclass(frozen=True)
class Query:
  """One protein to predict."""

  name: str  # as in the file: header, CSV id, or the stem of an A3M file
  sequence: str  # upper-case letters
  alignment: Alignment | Path | None = None  # a path is read by `load_alignment`
  source: str = ''  # file and record, for messages
  job: str = ''  # safe for file names and unique in its input; by default made from the name
  notes: tuple[str, ...] = ()  # what was repaired on reading
  templates: tuple[OwnTemplate, ...] | None = None  # its own, perhaps none at all; None: nothing is said

  __repr__ = one_line

  def __post_init__(self) -> None:
    if not isinstance(self.name, str):
      raise InputError(f'the name of a protein is {self.name!r:.60}; give a text')
    if not isinstance(self.alignment, Alignment | str | Path | None):
      raise InputError(
        f'{self.name}: the alignment is of type {type(self.alignment).__name__}; give a path or Alignment'
      )
    object.__setattr__(self, 'sequence', checked(self.sequence, self.name))
    if not self.job:
      object.__setattr__(self, 'job', safe_name(self.name))

  def load_alignment(self, read: Read = read_bytes) -> Alignment | None:
    """The alignment, read and checked now; None for a bare sequence.

    Args:
      read: gives the content of a file, decompressed.

    Raises:
      InputError: it cannot be read, or its query is another sequence.
    """
    alignment = self.alignment
    if isinstance(alignment, str | Path):
      alignment = parse_a3m(read_a3m(alignment, read), str(alignment))
    if alignment is not None:
      what = 'the alignment' if alignment is self.alignment else f'the alignment {self.alignment}'
      check_same(alignment.query, self.sequence, f'{self.source or self.name}: {what}')
    return alignment


@dataclasses.dataclass(frozen=True)
class FailedQuery:
  """A record or file that cannot be used."""

  name: str
  source: str
  message: str
  job: str = ''


class Reading(NamedTuple):
  """What a record says of a protein, its name aside."""

  sequence: str
  notes: tuple[str, ...] = ()
  alignment: Alignment | Path | None = None
  templates: tuple[OwnTemplate, ...] | None = None

  def __repr__(self) -> str:
    return one_line(self)


@dataclasses.dataclass(frozen=True)
class Opened:
  """A file of queries that was read."""

  path: Path
  content: bytes  # decompressed
  read: Read  # for other files that it names

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
  except InputError as error:
    return FailedQuery(name, source, str(error))
  return Query(name, content.sequence, content.alignment, source, notes=content.notes, templates=content.templates)


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
