# SPDX-License-Identifier: Apache-2.0
"""The letters of a sequence: which are read otherwise than written, and which are refused."""

import dataclasses
import re
from pathlib import Path

from alphafold_jax.data.records import FastaRecord
from alphafold_jax.errors import InputError

_READ_AS = {'B': 'D', 'Z': 'E', 'U': 'C', 'J': 'unknown', 'O': 'unknown', 'X': 'unknown'}
_NUCLEOTIDES = re.compile('[ACGTUN]{20,}')
_SECONDARY_STRUCTURE = re.compile('(?=.*H|.*E)[HECBGITS]{20,}')  # by DSSP; of proteins one in 10^9 of this length
_NO_LETTER = re.compile(r'[^A-Za-z\s]')
_THREE_LETTERS = frozenset(
  'ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL XAA UNK SEC PYL ASX GLX'.split()
)
_DIGIT = 'is a digit; remove numbering and counts from the sequence'
_GAP = 'is an alignment gap; remove it, or give an alignment as .a3m'
_COMPLEX = 'joins the chains of a complex; complexes are a later feature, give every chain its own record'
_REMEDIES = {
  ':': _COMPLEX,
  '/': _COMPLEX,
  '-': _GAP,
  '.': _GAP,
  '*': 'is a stop in the middle; cut the sequence there or remove it',
  **dict.fromkeys('0123456789', _DIGIT),
  '': 'is no residue; give one-letter codes A-Z',
}


def read_sequence(record: FastaRecord, source: str | Path) -> tuple[str, tuple[str, ...]]:
  """A record's sequence in upper case, and notes on letters that are not read as written.

  Raises:
    InputError: it is empty, or holds what is no residue; the message gives the line and the remedy.
  """
  notes = []
  if record.text.endswith('*'):
    number, line = record.lines[-1]
    record = dataclasses.replace(record, lines=(*record.lines[:-1], (number, line[:-1])))
    notes.append("the stop '*' at the end left out")
  record.refuse(_NO_LETTER, str(source), _REMEDIES)
  sequence = record.text
  if _are_names(sequence.upper()):
    raise InputError(
      f'{source}, line {record.line}: record {record.id!r} is in three-letter codes ({sequence[:9]}...); write one '
      'letter for each residue'
    )
  if not sequence:
    raise InputError(f'{source}, line {record.line}: record {record.id!r} has no sequence; add it or remove the header')
  if not sequence.isupper():
    notes.append('lower-case letters read as residues')
  return sequence.upper(), (*notes, *letter_notes(sequence.upper()))


def _are_names(letters: str) -> bool:
  """Whether letters can only be three-letter codes; no known protein reads like four of these."""
  if len(letters) % 3 or len(letters) < 12:
    return False
  return all(letters[i : i + 3] in _THREE_LETTERS for i in range(0, len(letters), 3))


def letter_notes(sequence: str) -> tuple[str, ...]:
  """Notes on letters that are not read as written, and on what may be no protein."""
  rare = [f'{letter} read as {meaning}' for letter, meaning in _READ_AS.items() if letter in sequence]
  notes = ['; '.join(rare)] if rare else []
  if _NUCLEOTIDES.fullmatch(sequence):
    notes.append('only the letters of DNA or RNA; read as a protein')
  elif _SECONDARY_STRUCTURE.fullmatch(sequence):
    notes.append('only the letters of secondary structure (H, E, C, T, S, G, I, B); read as a protein')
  return tuple(notes)
