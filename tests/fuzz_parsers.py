# SPDX-License-Identifier: Apache-2.0
"""Everything that this program reads, as a table of parsers: where inputs come from and what reads them.

An input is number N of a parser under a seed: `made(parser, seed, N)` gives its bytes, `outcome` reads them. Whatever
is not a typed exception of errors.py is a fault; a few parsers behind a door that catches more say so in their row.
"""

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import fuzz_inputs as inputs
import fuzz_readers as readers
import fuzz_seeds as seeds
import numpy as np
from fuzz_inputs import Make

from alphafold_jax import dtypes, tuning
from alphafold_jax.data import features, pae_files, queries, structures, templates
from alphafold_jax.data.training import cache, deposition, source_table
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.runs.files import changes
from alphafold_jax.runs.work import templates as work_templates
from alphafold_jax.search.mmseqs import making
from alphafold_jax.search.server import answers
from alphafold_jax.search.server.client import PassingError
from alphafold_jax.search.templates import hhsearch, hmmsearch, library
from alphafold_jax.trimming import predicted, writing

LONGEST_MESSAGE = 4000  # characters; more floods a terminal


@dataclasses.dataclass(frozen=True)
class Parser:
  """Something that reads what others wrote."""

  name: str
  make: Make
  read: Callable[[bytes, Path], object]  # given an input, and a folder for files
  may_raise: tuple[type[Exception], ...] = ()  # besides the typed exceptions


class Fault(Exception):
  """What no input may cause."""


def made(parser: Parser, seed: int, number: int) -> bytes:
  """Input number `number` of a parser."""
  return parser.make(Random(f'{seed} {parser.name} {number}'))


def outcome(parser: Parser, data: bytes, folder: Path) -> bool:
  """Whether a parser accepts an input or refuses it with a typed exception; Fault if it does neither."""
  try:
    parser.read(data, folder)
    return True
  except (AlphaFoldError, *parser.may_raise) as error:
    message = str(error)
    if not message.strip():
      raise Fault(f'{type(error).__name__} without a message') from error
    if len(message) > LONGEST_MESSAGE:
      raise Fault(f'{type(error).__name__} with a message of {len(message)} characters') from error
    return False
  except Exception as error:
    raise Fault(f'{type(error).__name__}: {str(error)[:200]}') from error


@contextlib.contextmanager
def quiet_folder() -> Iterator[Path]:
  """A folder in memory where there is one, with what some inputs refer to; logs are off meanwhile."""
  memory = Path('/dev/shm')
  before = logging.root.manager.disable
  logging.disable(logging.CRITICAL)
  try:
    with tempfile.TemporaryDirectory(prefix='fuzz-', dir=memory if memory.is_dir() else None) as name:
      (Path(name) / 'near.pdb').write_text(seeds.PDB)
      (Path(name) / 'pair.a3m').write_text(seeds.PAIR)
      yield Path(name)
  finally:
    logging.disable(before)


# ------------------------------------------------------------------------------------------ how each is read


def _query(name: str, suffix: str, make: Make) -> Parser:
  """What to predict, in a file of some suffix, read to its end."""

  def read(data: bytes, folder: Path) -> None:
    scan = queries.scan_queries(readers.file(folder, f'query{suffix}', data))
    for query in scan.queries:
      query.load_alignment()
    for failure in scan.failures:
      raise InputError(failure.message)

  return Parser(name, make, read)


def _path(name: str, make: Make, read: Callable[[Path], object], file: str = 'input', **more: object) -> Parser:
  """Something that reads a file."""
  return Parser(name, make, lambda data, folder: read(readers.file(folder, file, data)), **more)


def _text(name: str, make: Make, read: Callable[[str], object], **more: object) -> Parser:
  """Something that reads a text that programs wrote: what is no UTF-8 in it is replaced, as everywhere there."""
  return Parser(name, make, lambda data, _: read(data.decode('utf-8', 'replace')), **more)


# ------------------------------------------------------------------------------------------ the table

_STRUCTURE = inputs.sometimes_packed(inputs.of_bytes(seeds.PDB, seeds.PDB_HEADED))
_MMCIF = inputs.sometimes_packed(inputs.of_bytes(seeds.MMCIF, seeds.MMCIF_LOOSE))
_A3M = inputs.sometimes_packed(inputs.of_bytes(*seeds.A3M))
_PREDICTED = inputs.of_npz(seeds.PREDICTION, {'__result__': inputs.of_json(seeds.RESULT)})
_FEATURES = inputs.of_npz(seeds.features(), {'__format__': inputs.of_json(seeds.FORMAT)})

PARSERS = (
  _query('FASTA', '.fasta', inputs.sometimes_packed(inputs.of_bytes(*seeds.FASTA))),
  _query('PIR', '.pir', inputs.of_bytes(seeds.PIR)),
  _query('A3M', '.a3m', _A3M),
  _query('Stockholm', '.sto', inputs.sometimes_packed(inputs.of_bytes(*seeds.STOCKHOLM))),
  _query('CSV', '.csv', inputs.sometimes_packed(inputs.of_bytes(*seeds.CSV))),
  _query('TSV', '.tsv', inputs.of_bytes(*(text.replace(',', '\t') for text in seeds.CSV))),
  _query('AlphaFold 3 JSON', '.json', inputs.of_json(*seeds.AF3)),
  _query('PDB as query', '.pdb', _STRUCTURE),
  _query('mmCIF as query', '.cif', _MMCIF),
  _path('PDB', _STRUCTURE, structures.read_chains),
  _path('mmCIF', _MMCIF, structures.read_chains),
  _text('metadata of PDB', inputs.of_bytes(seeds.PDB_HEADED), deposition.deposition),
  _text('metadata of mmCIF', inputs.of_bytes(seeds.MMCIF), deposition.deposition),
  _path('release date', inputs.of_bytes(seeds.MMCIF, seeds.PDB_HEADED), readers.release),
  _path('obsolete.dat', inputs.of_bytes(seeds.OBSOLETE), library._read_obsolete),
  _path('template map', inputs.of_json(*seeds.TEMPLATE_MAP), readers.whole_map),
  _path(
    'template alignment',
    inputs.of_bytes(seeds.PAIR),
    lambda path: templates.map_from_alignment(path, seeds.SEQUENCE, seeds.SEQUENCE),
  ),
  _text('hhr', inputs.of_bytes(*seeds.hhr()), lambda text: hhsearch.parse_hhr(text, 'x.hhr')),
  _text('m8', inputs.of_bytes(seeds.M8), readers.table_hits),
  _text('hmmsearch alignment', inputs.of_bytes(*seeds.A3M), hmmsearch._stockholm),
  Parser('server answer', inputs.of_json(*seeds.ANSWERS), lambda data, _: answers.state_of(data), (PassingError,)),
  _text('server alignments', inputs.of_bytes(seeds.SERVER_A3M), readers.server_rows),
  _text('server pairs', inputs.of_bytes(seeds.SERVER_PAIRS), readers.server_pairs),
  Parser('server archive', inputs.of_tar(seeds.TEMPLATE_ARCHIVE, pack=True), readers.searched, (PassingError,)),
  Parser('server ticket', inputs.of_json({'ticket': 'abc-1'}), readers.ticket),
  Parser('kept search', inputs.packed(seeds.kept_search()), readers.kept_search),
  _path('FASTA database', inputs.sometimes_packed(inputs.of_bytes(*seeds.FASTA)), readers.fasta_database),
  _path('FASTA for MMseqs2', inputs.sometimes_packed(inputs.of_bytes(*seeds.FASTA)), making.scan),
  Parser('database archive', inputs.of_tar(seeds.DATABASE_ARCHIVE, pack=True), readers.database_archive),
  Parser('record of databases', inputs.of_json(seeds.DOWNLOADS), readers.downloads),
  _text('--database', inputs.of_bytes('uniref90=near.pdb', 'near.pdb', 'x=y'), readers.database),
  _path('parameters', inputs.of_npz(seeds.PARAMETERS), readers.parameters),
  Parser('parameter archive', inputs.of_tar(seeds.PARAMETER_ARCHIVE), readers.parameter_archive),
  Parser('parameter manifest', inputs.of_json(seeds.MANIFEST), readers.parameter_manifest),
  _text('headers of a download', inputs.of_bytes(*seeds.HEADERS), readers.download_headers),
  _text('Retry-After', inputs.of_bytes('120', 'Wed, 21 Oct 2026 07:28:00 GMT'), readers.retry_after),
  Parser('partial download', inputs.of_json(seeds.PART), readers.part),
  _path('features', inputs.sometimes_packed(_FEATURES), features.load_features),
  _path('features as query', _FEATURES, readers.features_query, 'input.npz'),
  Parser('kept prediction', _PREDICTED, readers.prediction),
  Parser('done record', inputs.of_json(seeds.DONE), readers.done),
  _path('journal of files', inputs.of_json(seeds.JOURNAL), lambda path: changes.Journal(path).content),
  Parser('claim', inputs.of_json(seeds.CLAIM), readers.claim),
  Parser('run in a folder', inputs.of_json(seeds.COMMAND), readers.command),
  _path('kept hits', inputs.of_json(seeds.HITS), work_templates._read_hits),
  Parser('names.json', inputs.of_json({'a_1': 'a|1', 'b': 'b'}), readers.names),
  _path('scores', inputs.of_json(seeds.SCORES), readers.scores),
  _path('PAE', inputs.sometimes_packed(inputs.of_json(*seeds.PAE)), pae_files.read_pae),
  _path('PAE arrays', inputs.of_npz({'pae': seeds.PAE_MATRIX, 'plddt': np.ones(2)}), pae_files.read_pae),
  _path('prediction to trim', _STRUCTURE, predicted.read_predicted),
  _path(
    'record of a trimming', inputs.of_json({'files': ['x_a.pdb', 'x_b.pdb']}), lambda path: writing._listed(path, 'x')
  ),
  _path('table of pairs', inputs.of_bytes('prediction,reference,chain\na,b,A\nc,d,\n'), readers.pairs),
  _path('table of chains', inputs.of_bytes(seeds.CHAINS), lambda path: source_table.read_table(path, {})),
  _path('clusters', inputs.of_bytes('1abc_A\t1abc_A\n1abc_A\t2abc_B\n'), source_table.read_clusters),
  _path('index of a cache', inputs.of_bytes(seeds.index()), cache._read_index),
  Parser(
    'manifest of a cache',
    inputs.of_json(seeds.CACHE),
    lambda data, folder: cache._read_manifest(readers.file(folder, cache.MANIFEST, data).parent),
  ),
  Parser('record of a cache', seeds.record(), readers.record),
  _path('metrics.csv', inputs.of_bytes('step,loss,seconds\n1,2.5,0.1\n2,2.25,0.1\n'), readers.metrics),
  Parser('run as one file', inputs.of_json(seeds.RUN), readers.carried_run),
  _text('--config', inputs.of_bytes(*seeds.SETTINGS), readers.setting),
  Parser('archive of programs', inputs.of_tar(seeds.PROGRAM_ARCHIVE), readers.program_archive),
  Parser('compiled program', inputs.of_bytes(seeds.PROGRAM), readers.program),
  _path('trials of kernels', inputs.of_json(seeds.TRIALS), tuning._read),
  _path('measured dtype', inputs.of_json(seeds.RATIOS), dtypes.read),
)
BY_NAME = {parser.name: parser for parser in PARSERS}
