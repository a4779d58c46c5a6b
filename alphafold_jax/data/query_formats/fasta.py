# SPDX-License-Identifier: Apache-2.0
"""FASTA: one item for each record. Also PIR (NBRF), in which the line below a header like `>P1;CRAB` is a description.

PIR is told from its header alone. Where the line below could as well be residues the record is refused, since reading
either as the other gives a wrong protein.
"""

import dataclasses
import re
from pathlib import Path

from alphafold_jax.data.chains import spans
from alphafold_jax.data.query import FailedQuery, Items, Opened, Query, Reading, query_of
from alphafold_jax.data.query_formats.letters import read_chains
from alphafold_jax.data.records import ANNOTATIONS, FastaRecord, split_records
from alphafold_jax.errors import InputError
from alphafold_jax.naming import chain_name, listed
from alphafold_jax.screen import number

_PIR = re.compile(r'(P1|F1|DL|DC|RL|RC|N1|N3|XX);\s*(.*)', re.IGNORECASE)  # what it is, and its name
_PIR_PROTEINS = ('P1', 'F1', 'XX')  # whole, fragment, anything
_KINDS = 'ligand|smiles|ccd|dna|rna|glycan'
_NO_PROTEIN = re.compile(rf'[^|]{{1,5}}\|({_KINDS})(?:\||$)|({_KINDS})\|name=', re.IGNORECASE)  # of Boltz; of Chai
_WITH_ALIGNMENT = re.compile(r'[^|]{1,5}\|protein\|(?!empty$)(\S+)', re.IGNORECASE)  # Boltz
_RESIDUES = re.compile(r'[A-Za-z]+\*?')
_RECORDS = ' records'  # at the end of the source of what is made of all of them
_SHORT = 20  # letters of a word that may be a description


def read_fasta(file: Opened) -> Items:
  """One item for each record; of a file that is read as a complex, one item of all of them."""
  records, _ = split_records(file.text, str(file.path))
  if annotations := [record for record in records if _is_annotation(record)]:
    records = [record for record in records if not _is_annotation(record)]
    if not records:
      raise InputError(f'{file.path}: no sequence besides secondary structure rows; give the sequence')
    yield f'{file.path}: {number(len(annotations), "secondary structure row")} left out'
  if file.is_complex and len(records) > 1:
    yield query_of(file.stem, f'{file.path}, {len(records)}{_RECORDS}', _one_complex, records, file.path)
    return
  for index, record in enumerate(records, start=1):
    name = _name(record) or f'{file.stem}_{index}'
    source = f'{file.path}, record {index} (line {record.line})'
    yield query_of(name, source, _record, record, file.path)


def is_joined(item: Query | FailedQuery) -> bool:
  """Whether an item is of all records of a file that is read as a complex."""
  return item.source.endswith(_RECORDS)


def _one_complex(records: list[FastaRecord], path: Path) -> Reading:
  """The chains of all records, in their order."""
  chains: list[str] = []
  titles: list[str] = []
  notes, named = [], []
  for record in records:
    read = _record(record, path)
    of_record = [read.sequence[span] for span in spans(read.lengths or (len(read.sequence),))]
    notes += [f'record {record.id!r}: {note}' for note in read.notes]
    named += [
      f'{chain_name(len(chains) + i)} is {record.id or "a record without a name"}' for i in range(len(of_record))
    ]
    chains += of_record
    titles += [record.name] * len(of_record)
  notes.insert(0, f'one complex of all records: {listed(named, 6)}')
  return Reading(''.join(chains), tuple(notes), lengths=tuple(map(len, chains)), titles=tuple(titles))


def _name(record: FastaRecord) -> str:
  """The name in a header."""
  pir = _PIR.match(record.name)
  return pir[2].strip() if pir else record.name


def _record(record: FastaRecord, path: Path) -> Reading:
  return _pir_record(record, path) if _PIR.match(record.name) else _fasta_record(record, path)


def _is_annotation(record: FastaRecord) -> bool:
  """Whether a record is no sequence but secondary structure: of HH-suite, or as in ss.txt of the PDB."""
  return record.id in ANNOTATIONS or record.id.endswith(':secstr')


def _fasta_record(record: FastaRecord, path: Path) -> Reading:
  if other := _NO_PROTEIN.match(record.name):
    raise InputError(
      f'{path}, line {record.line}: record {record.id!r} is no protein ({other[1] or other[2]}) by its header; '
      'AlphaFold 2 predicts proteins only, so leave it out (or give it another name, if it is a protein)'
    )
  read = read_chains(record, path)
  notes = read.notes
  if named := _WITH_ALIGNMENT.match(record.name):
    notes = (*notes, f'the alignment {named[1]} that its header names is not read; give it as INPUT')
  return Reading(read.sequence, notes, lengths=read.lengths)


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
  read = read_chains(body, path)
  ending = "the stop '*' at the end left out"  # which ends every PIR record, and is no stop
  said = (f'read as PIR: {description[:40]!r} is the description',) if description else ('read as PIR',)
  return Reading(read.sequence, (*said, *(note for note in read.notes if note != ending)), lengths=read.lengths)
