# SPDX-License-Identifier: Apache-2.0
"""MMseqs2 databases: their parts, whether they can be searched, and how one is made of a FASTA file.

A database is a group of files that begin with the same name:
  NAME, NAME.index, NAME.dbtype  sequences to search; of clusters, where there are some
  NAME_h...                      their headers
  NAME_seq..., NAME_aln...       with clusters: all members, and how they align to the sequence of their cluster
  NAME.idx...                    all of these with a table of k-mers, as `mmseqs createindex` makes it
  NAME_mapping                   the taxon of each sequence, where it is known
ColabFold's databases have clusters; a FASTA file's has none.
"""

import array
import dataclasses
import os
import re
import string
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from alphafold_jax import atomic, folders, screen
from alphafold_jax.data.records import GZIP_MAGIC
from alphafold_jax.errors import InputError, ResourceError
from alphafold_jax.one_line import one_line
from alphafold_jax.search import fasta as fasta_files
from alphafold_jax.search.databases import Database
from alphafold_jax.search.mmseqs import program as mmseqs_program
from alphafold_jax.search.mmseqs.program import Step
from alphafold_jax.transfer.files import require_space

_TYPES = {1: 'nucleotides', 2: 'profiles', 5: 'alignments', 6: 'clusters', 12: 'headers'}
_PARTS = ('', '_h', '_seq', '_seq_h', '_aln', '.idx')
_ENDINGS = (
  *(part + end for part in _PARTS for end in ('.dbtype', '', '.index', '.lookup', '.source')),
  '_mapping',
  '_taxonomy',
)
_PROTEIN, _FOR_GPU = 0, 8 << 16
_MADE_BY = 'make one of a FASTA file by `alphafold-jax db build`'
_ROOM = 3  # times the size of the sequences: while a database is made its parts are copied together
_INDEX_ROOM = 1 << 30, 12  # bytes of a table of k-mers, and bytes per residue
_CHUNK = 1 << 22  # bytes of FASTA text read at a time
_RESIDUES, _WHITE = b'*' + string.ascii_letters.encode(), b' \t\r\n'
_NO_RESIDUE = re.compile(rb'[^A-Za-z*\s]')
_TAXON = re.compile(rb' (?:OX|TaxID)=(\d{1,9})\b')  # in headers of UniProt, of UniRef
_MAPPING = b'\x13\x00\x17\x0c\x00'  # begins a binary file of pairs (place of the sequence, taxon), 32 bits each


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the parts of a database are."""

  path: Path  # what is searched
  members: Path  # the sequences that become rows
  alignments: Path | None  # of the members of a cluster; None: no clusters
  headers: Path
  load_mode: int  # 2: map an index into memory


def layout(database: Database, *, gpu: bool = False) -> Layout:
  """Where the parts of a database are, after a check that they can be searched.

  Args:
    database: an MMseqs2 database.
    gpu: whether it is to be searched on a GPU.

  Raises:
    InputError: it is incomplete, empty, of nucleotides, or not for GPUs.
  """
  path = database.path.resolve()
  _check(path, gpu)
  clustered = [part for part in ('_seq', '_aln') if _with(path, part, '.dbtype').is_file()]
  if len(clustered) == 1:
    raise InputError(
      f'{path}: of its clusters only {path.name}{clustered[0]} is there, and not the other of _seq and '
      '_aln; copy or unpack all of its files again'
    )
  if _with(path, '.idx.index').is_file():
    index = _with(path, '.idx')
    return Layout(path, index, index if clustered else None, index, load_mode=2)
  if clustered:
    return Layout(path, _with(path, '_seq'), _with(path, '_aln'), path, load_mode=0)
  return Layout(path, path, None, path, load_mode=0)


def _with(path: Path, *endings: str) -> Path:
  return path.with_name(path.name + ''.join(endings))


def taxa_file(database: Database) -> Path:
  """Where the taxa of a database's sequences are, if they are known."""
  return _with(database.path.resolve(), '_mapping')


def _check(path: Path, gpu: bool) -> None:
  """Refuses a database that the program would search without a warning, or end with an obscure message."""
  try:
    (kind,) = struct.unpack('<i', _with(path, '.dbtype').read_bytes()[:4])
    empty = not _with(path, '.index').stat().st_size
  except (OSError, struct.error):
    raise InputError(
      f'{path}: {path.name}.dbtype or {path.name}.index is missing or damaged; copy the database again, or {_MADE_BY}'
    ) from None
  if kind & 0xFFFF != _PROTEIN:
    raise InputError(
      f'{path}: an MMseqs2 database of {_TYPES.get(kind & 0xFFFF, "another kind")}, where one of '
      f'proteins is needed; {_MADE_BY}'
    )
  if not path.is_file() and not _with(path, '.0').is_file():
    raise InputError(f'{path}: the file of the sequences is missing; copy the database again, or {_MADE_BY}')
  if empty:
    raise InputError(f'{path}: holds no sequences; {_MADE_BY}')
  if gpu and not kind & _FOR_GPU:
    raise InputError(
      f'{path}: was not made for GPUs; run `mmseqs makepaddedseqdb {path} {path}_gpu` and name that '
      'database, or search without --gpu'
    )


def build(
  fasta: Path | str,
  out: Path | str,
  num_threads: int,
  *,
  index: bool = False,
  overwrite: bool = False,
  watch: Callable[[float, str], None] = lambda fraction, text: None,
) -> None:
  """Makes an MMseqs2 database of a FASTA file; it appears whole or not at all.

  Args:
    fasta: protein sequences, also .gz.
    out: what the names of the database's files begin with.
    num_threads: for the index.
    index: make the table of k-mers as well, which saves making it in every search and takes much more room.
    overwrite: replace a database of this name.
    watch: called with the share that is done, 0 to 1, and what is done now.

  Raises:
    InputError: the file cannot be made a database of (empty, DNA, cut off, a name twice), or there is one already.
    ResourceError: the disk is too small.
    SearchError: the program is missing or failed.
  """
  fasta, out = folders.expanded(fasta).resolve(), folders.expanded(out).resolve()
  program = mmseqs_program.find()
  if not overwrite and (parts := [part for part in _PARTS if _with(out, part, '.dbtype').exists()]):
    raise InputError(
      f'{out}: there is a database already ({out.name}{parts[0]}); choose another name or say --overwrite'
    )
  if out == fasta or (out.is_file() and not _with(out, '.index').exists()):
    raise InputError(f'{out}: a file that is no database has this name; choose another name')
  atomic.make_folder(out.parent)
  content = scan(fasta, lambda fraction: watch(0.5 * fraction, f'reading {fasta.name}'))
  _check_ending(fasta)
  room = _ROOM * content.num_bytes
  if index:
    fixed, each = _INDEX_ROOM
    room += fixed + each * content.num_residues
  require_space(out.parent, room, f'making {out.name}')
  with mmseqs_program.workplace(program, num_threads, out.parent) as work:
    watch(0.5, f'writing {screen.number(content.num_sequences, "sequence")}')
    (work.folder / 'made').mkdir()
    made = f'made/{out.name}'
    work.run(Step.of('createdb', fasta, made, '--dbtype', 1, '--shuffle', 0, about=fasta))
    _check_count(work.folder / f'{made}.index', content.num_sequences, fasta)
    if content.taxa is not None:
      _write_taxa(work.folder / f'{made}_mapping', content.taxa)
    if index:
      watch(0.7, 'making the table of k-mers')
      work.run(Step.of('createindex', made, 'tmp', about=out))
    _move(work.folder / 'made', out)
  watch(1.0, 'done')


def _check_ending(fasta: Path) -> None:
  """Refuses packed files that are not named .gz, and others that are: MMseqs2 goes by the name."""
  with open(fasta, 'rb') as file:
    packed = file.read(2) == GZIP_MAGIC
  if packed != (fasta.suffix == '.gz'):
    raise InputError(f'{fasta}: {"" if packed else "no "}gzip data; name packed files .gz, and only these')


@dataclasses.dataclass(frozen=True)
class Content:
  """What a FASTA file holds."""

  num_sequences: int
  num_residues: int
  num_bytes: int  # unpacked
  taxa: np.ndarray | None = None  # [num_sequences] uint32, 0 where none is said; None: there are none

  __repr__ = one_line


def scan(fasta: Path, watch: Callable[[float], None] = lambda fraction: None) -> Content:
  """Reads a FASTA file of proteins to its end, because MMseqs2 takes half a file for a whole one.

  Args:
    fasta: the file, also .gz.
    watch: called with the share that was read, 0 to 1.

  Raises:
    InputError: it cannot be read, breaks off, is empty or no FASTA file, holds DNA, or names two sequences alike.
  """
  digests, taxa = array.array('q'), array.array('I')  # of names and their taxa: twelve bytes each, whatever the length
  num_residues = num_bytes = 0
  for chunk in fasta_files.chunks(fasta, _CHUNK):
    headers, sequences = zip(*_records(chunk.text))
    letters = b''.join(sequences).translate(None, _WHITE)
    if letters.translate(None, _RESIDUES):
      raise InputError(fasta_files.complaint(chunk, _NO_RESIDUE))
    digests.extend(hash(_first_word(header)) for header in headers)
    taxa.extend(map(_taxon, headers))
    num_residues += len(letters)
    num_bytes += len(chunk.text)
    watch(chunk.position / fasta.stat().st_size)
  if not num_residues:
    raise InputError(f'{fasta}: holds no residue; give a FASTA file of proteins')
  _check_names(fasta, np.sort(np.asarray(digests)))
  known = np.asarray(taxa, np.uint32)
  return Content(len(digests), num_residues, num_bytes, known if known.any() else None)


def _records(text: bytes) -> Iterator[tuple[bytes, bytes]]:
  """Headers and the lines under them."""
  for record in text.strip()[1:].split(b'\n>'):
    header, _, lines = record.partition(b'\n')
    yield header, lines


def _first_word(header: bytes) -> bytes:
  words = header.split(maxsplit=1)
  return words[0] if words else b''


def _taxon(header: bytes) -> int:
  """The taxon's number in a header; 0 if it says none."""
  found = _TAXON.search(header)
  return int(found[1]) if found else 0


def _write_taxa(path: Path, taxa: np.ndarray) -> None:
  """Writes the file in which MMseqs2 looks taxa up; of sequences whose taxon is not known there is no entry."""
  places = np.flatnonzero(taxa)
  with open(path, 'wb') as file:
    file.write(_MAPPING)
    file.write(np.stack([places, taxa[places]], axis=1).astype('<u4').tobytes())


def _check_names(fasta: Path, digests: np.ndarray) -> None:
  """Refuses two sequences of one name; only if digests are alike the file is read again for the names."""
  alike = set(digests[1:][digests[1:] == digests[:-1]].tolist())
  seen: dict[bytes, int] = {}
  names = (_first_word(header) for chunk in fasta_files.chunks(fasta, _CHUNK) for header, _ in _records(chunk.text))
  for number, name in enumerate(names if alike else (), start=1):
    if hash(name) in alike and (before := seen.setdefault(name, number)) != number:
      raise InputError(
        f'{fasta}: records {before} and {number} are both named {name.decode("latin-1")!r}; give each '
        'sequence a name of its own'
      )


def _check_count(index: Path, expected: int, fasta: Path) -> None:
  """Refuses a database without all the sequences that were read from the file."""
  with open(index, 'rb') as lines:
    count = sum(1 for _ in lines)
  if count != expected:
    raise InputError(f'{fasta}: has {expected} sequences, of which MMseqs2 took {count}; is the file being changed?')


def _move(made: Path, out: Path) -> None:
  """Puts the files of a new database in place; the one that makes it a database comes last."""
  kept_for_last = out.name, f'{out.name}.dbtype'
  try:
    for ending in _ENDINGS:  # the .dbtype first: without it nothing takes the rest for a database
      _with(out, ending).unlink(missing_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: (path.name in kept_for_last, path.name)):
      os.replace(path, out.parent / path.name)
  except OSError as error:
    raise ResourceError(f'{out}: cannot be written ({error.strerror}); make room and run it again') from error
