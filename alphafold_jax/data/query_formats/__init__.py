# SPDX-License-Identifier: Apache-2.0
"""The kinds of files that hold queries: which reader for which file.

letters    what stands for a residue, and what is refused
fasta      FASTA and PIR
aligned    A3M and Stockholm
tables     CSV and TSV
structure  PDB and mmCIF
job_json   the input of AlphaFold 3, and job_templates its templates
foreign    what is not read, by name

What a file holds is told by its content where that leaves no doubt, whatever it is called; FASTA and A3M, which may
look the same, by the suffix.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from alphafold_jax.data import alphafold3, stockholm
from alphafold_jax.data.query import Items, Opened, Read, suffix
from alphafold_jax.data.query_formats import aligned, fasta, foreign, job_json, structure, tables
from alphafold_jax.data.records import read_bytes, read_head, read_text
from alphafold_jax.errors import InputError

Reader = Callable[[Opened], Items]
STRUCTURES = ('.pdb', '.cif', '.mmcif', '.ent')
BY_CONTENT = ('', '.txt', '.text', '.seq', '.dat')  # suffixes that say nothing
_FASTA = ('.fasta', '.fa', '.faa', '.fas', '.fst', '.fsa', '.pep', '.pir', '.nbrf')
READERS: dict[str, Reader] = {
  **dict.fromkeys(_FASTA, fasta.read_fasta),
  **dict.fromkeys(('.a3m', '.a2m', '.sto', '.stk', '.stockholm'), aligned.read_aligned),
  **dict.fromkeys(('.csv', '.tsv'), tables.read_table),
  '.json': job_json.read_jobs,
  **dict.fromkeys(STRUCTURES, structure.read_structure),
}
SHOWN = '.fasta, .fa, .a3m, .sto, .csv, .tsv, .pdb, .cif, .json'  # of those, for messages
_NUCLEOTIDES = ('.ffn', '.fna', '.frn')
_ATOMS = re.compile(r'^(?:ATOM  |HETATM)[ \d]|^\s*_atom_site\.', re.MULTILINE)
_A3M = re.compile(
  r'#(?:A3M#|\s*\d+(?:,\d+)*\s+\d+(?:,\d+)*\s*$)', re.MULTILINE
)  # HH-suite; ColabFold's lengths of chains
_ENOUGH = 1 << 20  # bytes of a file, to see what it is
_TABLE = re.compile(r'\W*id\W*[,;\t]\W*sequence\b', re.IGNORECASE)


def open_file(path: Path, read: Read = read_bytes, is_complex: bool = False) -> tuple[Reader, Opened]:
  """A file's content, and what reads it.

  Args:
    path: the file.
    read: gives the content of a file, decompressed.
    is_complex: whether its records are the chains of one complex.

  Raises:
    InputError: it cannot be read, or is of a kind that is not.
  """
  content = read(path)
  if what := foreign.foreign_bytes(content):
    raise InputError(f'{path}: {what}')
  file = Opened(path, content, read, is_complex)
  return _reader(file), file


def _reader(file: Opened) -> Reader:
  kind = suffix(file.path)
  if file.content[:_ENOUGH].removeprefix(b'\xef\xbb\xbf').lstrip().startswith(b'>'):  # without reading on
    return aligned.read_aligned if READERS.get(kind) is aligned.read_aligned else fasta.read_fasta
  text = file.text
  if text.startswith(stockholm.MARK) or _A3M.match(text):
    return aligned.read_aligned
  if what := foreign.foreign_text(text):
    raise InputError(f'{file.path}: {what}')
  if alphafold3.is_json(text):
    return job_json.read_jobs
  if _ATOMS.search(text):
    return structure.read_structure
  if kind in BY_CONTENT and _TABLE.match(text):
    return tables.read_table
  return READERS.get(kind, fasta.read_fasta)


def is_job(path: Path) -> bool:
  """Whether a JSON file is the input of AlphaFold 3, perhaps a damaged one."""
  try:
    return alphafold3.may_be_input(read_text(path))
  except InputError:
    return False


def refuse_unknown(path: Path) -> NoReturn:
  """Raises InputError for a file whose suffix is none of these; the message says what it is, if its content shows."""
  kind, head = suffix(path), read_head(path, _ENOUGH)
  if kind in _NUCLEOTIDES:
    raise InputError(f'{path}: nucleotide sequences by its suffix; translate them to protein')
  if what := foreign.foreign_bytes(head) or foreign.foreign_text(head.decode('latin-1')):
    raise InputError(f'{path}: {what}')
  like = '; it begins like a FASTA file, so call it .fasta, or .a3m if it is an alignment' if head[:1] == b'>' else ''
  raise InputError(
    f'{path}: unknown kind of file {path.suffix!r}; give {SHOWN} (also .gz), or a directory of these{like}'
  )
