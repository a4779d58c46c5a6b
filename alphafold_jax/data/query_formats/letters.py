# SPDX-License-Identifier: Apache-2.0
"""The letters of a sequence: which are read otherwise than written, and which are refused."""

import dataclasses
import re
from pathlib import Path
from typing import NamedTuple

from alphafold_jax.data.records import FastaRecord
from alphafold_jax.errors import InputError

_READ_AS = {'B': 'D', 'Z': 'E', 'U': 'C', 'J': 'unknown', 'O': 'unknown', 'X': 'unknown'}
_NUCLEOTIDES = re.compile('[ACGTUN]{20,}')
_SECONDARY_STRUCTURE = re.compile('(?=.*H|.*E)[HECBGITS]{20,}')  # by DSSP; of proteins one in 10^9 of this length
_NO_LETTER = re.compile(r'[^A-Za-z\s:]')  # ':' stands between the chains of a complex
_STOP = re.compile(r'\*(?=\s*:)')  # of a chain, before the next one
_THREE_LETTERS = frozenset(
  'ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL XAA UNK SEC PYL ASX GLX'.split()
)
_DIGIT = 'is a digit; remove numbering and counts from the sequence'
_GAP = 'is an alignment gap; remove it, or give an alignment as .a3m'
_STOP_LEFT_OUT = "the stop '*' at the end left out"
_REMEDIES = {
  '/': "divides chains in some programs, in others not; write ':' between those of a complex, or remove it",
  '-': _GAP,
  '.': _GAP,
  '*': 'is a stop in the middle; cut the sequence there or remove it',
  **dict.fromkeys('0123456789', _DIGIT),
  '': 'is no residue; give one-letter codes A-Z',
}


class ReadChains(NamedTuple):
  """The sequences of a record's chains, upper case; one of a single protein."""

  sequences: tuple[str, ...]
  notes: tuple[str, ...] = ()  # on letters that are not read as written

  @property
  def lengths(self) -> tuple[int, ...]:
    """Residues of each chain; none of a single protein."""
    return tuple(map(len, self.sequences)) if len(self.sequences) > 1 else ()

  @property
  def sequence(self) -> str:
    """All chains joined."""
    return ''.join(self.sequences)


def read_chains(record: FastaRecord, source: str | Path) -> ReadChains:
  """A record's chains, ':' between them, and notes on letters that are not read as written.

  Raises:
    InputError: one is empty, or holds what is no residue; the message gives the line and the remedy.
  """
  notes = []
  if record.text.endswith('*'):
    number, line = record.lines[-1]
    record = dataclasses.replace(record, lines=(*record.lines[:-1], (number, line[:-1])))
    notes.append(_STOP_LEFT_OUT)
  if _STOP.search(record.text):
    lines = tuple((number, _STOP.sub(' ', line)) for number, line in record.lines)
    record, notes = dataclasses.replace(record, lines=lines), [_STOP_LEFT_OUT]
  record.refuse(_NO_LETTER, str(source), _REMEDIES)
  if not record.text:
    raise InputError(f'{source}, line {record.line}: record {record.id!r} has no sequence; add it or remove the header')
  written = record.text.split(':')
  for index, chain in enumerate(written):
    if not chain:
      _refuse_empty(record, str(source), index, len(written))
    if _are_names(chain.upper()):
      which = f'chain {index + 1} of record {record.id!r}' if len(written) > 1 else f'record {record.id!r}'
      raise InputError(
        f'{source}, line {record.line}: {which} is in three-letter codes ({chain[:9]}...); write one letter for each '
        'residue'
      )
  if not record.text.isupper():
    notes.append('lower-case letters read as residues')
  sequences = tuple(chain.upper() for chain in written)
  return ReadChains(sequences, (*notes, *notes_on_chains(sequences)))


def _refuse_empty(record: FastaRecord, source: str, index: int, count: int) -> None:
  """Raises InputError at the ':' beside a chain without residues."""
  colons = [(number, found.start() + 1) for number, line in record.lines for found in re.finditer(':', line)]
  number, column = colons[max(index - 1, 0)]
  raise InputError(
    f"{source}, line {number}, {record.unit} {column}: ':' in record {record.id!r} stands between the chains of a "
    f'complex, and chain {index + 1} of {count} is empty; remove the one too many, or give the chain'
  )


def _are_names(letters: str) -> bool:
  """Whether letters can only be three-letter codes; no known protein reads like four of these."""
  if len(letters) % 3 or len(letters) < 12:
    return False
  return all(letters[i : i + 3] in _THREE_LETTERS for i in range(0, len(letters), 3))


def notes_on_chains(sequences: tuple[str, ...]) -> tuple[str, ...]:
  """Notes on the letters of one chain or several."""
  if len(sequences) == 1:
    return letter_notes(sequences[0])
  rare = _rare_letters(''.join(sequences))
  of_chains = (
    f'chain {index}: {note}' for index, one in enumerate(sequences, start=1) for note in _what_it_may_be(one)
  )
  return (*rare, *of_chains)


def letter_notes(sequence: str) -> tuple[str, ...]:
  """Notes on letters that are not read as written, and on what may be no protein."""
  return (*_rare_letters(sequence), *_what_it_may_be(sequence))


def _rare_letters(sequence: str) -> list[str]:
  rare = [f'{letter} read as {meaning}' for letter, meaning in _READ_AS.items() if letter in sequence]
  return ['; '.join(rare)] if rare else []


def _what_it_may_be(sequence: str) -> list[str]:
  if _NUCLEOTIDES.fullmatch(sequence):
    return ['only the letters of DNA or RNA; read as a protein']
  if _SECONDARY_STRUCTURE.fullmatch(sequence):
    return ['only the letters of secondary structure (H, E, C, T, S, G, I, B); read as a protein']
  return []
