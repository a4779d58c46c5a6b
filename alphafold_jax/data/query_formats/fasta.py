# SPDX-License-Identifier: Apache-2.0
"""FASTA: one item for each record. Also PIR (NBRF), in which the line below a header like `>P1;CRAB` is a description.

PIR is told from its header alone. Where the line below could as well be residues the record is refused, since reading
either as the other gives a wrong protein.
"""

import dataclasses
import re
from pathlib import Path

from alphafold_jax.data.query import Items, Opened, Reading, query_of
from alphafold_jax.data.query_formats.letters import read_sequence
from alphafold_jax.data.records import ANNOTATIONS, FastaRecord, split_records
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number

_PIR = re.compile(r'(P1|F1|DL|DC|RL|RC|N1|N3|XX);\s*(.*)', re.IGNORECASE)  # what it is, and its name
_PIR_PROTEINS = ('P1', 'F1', 'XX')  # whole, fragment, anything
_KINDS = 'ligand|smiles|ccd|dna|rna|glycan'
_NO_PROTEIN = re.compile(rf'[^|]{{1,5}}\|({_KINDS})(?:\||$)|({_KINDS})\|name=', re.IGNORECASE)  # of Boltz; of Chai
_WITH_ALIGNMENT = re.compile(r'[^|]{1,5}\|protein\|(?!empty$)(\S+)', re.IGNORECASE)  # Boltz
_RESIDUES = re.compile(r'[A-Za-z]+\*?')
_SHORT = 20  # letters of a word that may be a description


def read_fasta(file: Opened) -> Items:
  """One item for each record."""
  records, _ = split_records(file.text, str(file.path))
  if annotations := [record for record in records if _is_annotation(record)]:
    records = [record for record in records if not _is_annotation(record)]
    if not records:
      raise InputError(f'{file.path}: no sequence besides secondary structure rows; give the sequence')
    yield f'{file.path}: {number(len(annotations), "secondary structure row")} left out'
  for index, record in enumerate(records, start=1):
    pir = _PIR.match(record.name)
    name = (pir[2].strip() if pir else record.name) or f'{file.stem}_{index}'
    source = f'{file.path}, record {index} (line {record.line})'
    yield query_of(name, source, _pir_record if pir else _fasta_record, record, file.path)


def _is_annotation(record: FastaRecord) -> bool:
  """Whether a record is no sequence but secondary structure: of HH-suite, or as in ss.txt of the PDB."""
  return record.id in ANNOTATIONS or record.id.endswith(':secstr')


def _fasta_record(record: FastaRecord, path: Path) -> Reading:
  if other := _NO_PROTEIN.match(record.name):
    raise InputError(
      f'{path}, line {record.line}: record {record.id!r} is no protein ({other[1] or other[2]}) by its header; '
      'complexes are a later feature, so leave it out (or give it another name, if it is a protein)'
    )
  sequence, notes = read_sequence(record, path)
  if named := _WITH_ALIGNMENT.match(record.name):
    notes = (*notes, f'the alignment {named[1]} that its header names is not read; give it as INPUT')
  return Reading(sequence, notes)


def _pir_record(record: FastaRecord, path: Path) -> Reading:
  """The sequence of a PIR record, its description set aside."""
  place = f'{path}, line {record.line}: record {record.id!r}'
  if record.name[:2].upper() not in _PIR_PROTEINS:
    raise InputError(f'{place} is a nucleic acid by its PIR header; give the protein')
  lines, description = record.lines, ''
  if lines and lines[0][0] == record.line + 1:  # else that line is empty
    description, lines = lines[0][1], lines[1:]
  if _RESIDUES.fullmatch(description) and (len(description) > _SHORT or not record.text.endswith('*')):
    raise InputError(
      f'{place} has the header of a PIR file, where the line below is a description, but {description[:20]!r} may be '
      "residues; if they are, put an empty line above them, or make the header that of a FASTA file, such as '>name'"
    )
  body = dataclasses.replace(record, lines=lines)
  if '*' in body.text[:-1]:
    before = body.text.partition('*')[0]
    raise InputError(f"{place}: text behind the '*' that ends a PIR record ({len(before)} residues); remove it")
  sequence, notes = read_sequence(body, path)
  ending = "the stop '*' at the end left out"  # which ends every PIR record, and is no stop
  said = (f'read as PIR: {description[:40]!r} is the description',) if description else ('read as PIR',)
  return Reading(sequence, (*said, *(note for note in notes if note != ending)))
