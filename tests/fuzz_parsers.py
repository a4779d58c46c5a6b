# SPDX-License-Identifier: Apache-2.0
"""Everything that this program reads, as a table of parsers: where inputs come from and what reads them.

An input is number N of a parser under a seed: `made(parser, seed, N)` gives its bytes, `outcome` reads them. Whatever
is not a typed exception of errors.py is a fault; a few parsers behind a door that catches more say so in their row.
"""

import contextlib
import dataclasses
import email
import logging
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import fuzz_inputs as inputs
import fuzz_seeds as seeds
from fuzz_inputs import Make

from alphafold_jax import config, tuning
from alphafold_jax.cli import flags
from alphafold_jax.data import features, jobnames, queries, structures, template_map, templates
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.training import cache, deposition, source_table
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.evaluation import finding, scoring
from alphafold_jax.runs.files import job_files, stored
from alphafold_jax.runs.fleet import claims
from alphafold_jax.runs.work import inputs as work_inputs
from alphafold_jax.runs.work import templates as work_templates
from alphafold_jax.search import databases, download, fasta, m8
from alphafold_jax.search.cache import SearchCache
from alphafold_jax.search.mmseqs import making
from alphafold_jax.search.server import archive, client, engine, tickets
from alphafold_jax.search.server.client import PassingError
from alphafold_jax.search.standard_sets import StandardSet
from alphafold_jax.search.templates import hhsearch, hmmsearch, library
from alphafold_jax.train import watch
from alphafold_jax.transfer import fetch
from alphafold_jax.weights import install, manifest, npz

LONGEST_MESSAGE = 4000  # characters; more floods a terminal
_LARGEST = 1 << 28  # bytes of an archive from a server, here


@dataclasses.dataclass(frozen=True)
class Parser:
  """Something that reads what others wrote."""

  name: str
  make: Make
  read: Callable[[bytes, Path], object]  # given an input, and a folder for files
  may_raise: tuple[type[Exception], ...] = ()  # besides the typed exceptions
  owned: bool = False  # reads only files of this program, so that a damaged one counts as absent


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


def _file(folder: Path, name: str, data: bytes) -> Path:
  path = folder / name
  path.write_bytes(data)
  return path


def _query(name: str, suffix: str, make: Make) -> Parser:
  """What to predict, in a file of some suffix, read to its end."""

  def read(data: bytes, folder: Path) -> None:
    scan = queries.scan_queries(_file(folder, f'query{suffix}', data))
    for query in scan.queries:
      query.load_alignment()
    for failure in scan.failures:
      raise InputError(failure.message)

  return Parser(name, make, read)


def _path(name: str, make: Make, read: Callable[[Path], object], file: str = 'input', **more: object) -> Parser:
  """Something that reads a file."""
  return Parser(name, make, lambda data, folder: read(_file(folder, file, data)), **more)


def _text(name: str, make: Make, read: Callable[[str], object], **more: object) -> Parser:
  """Something that reads a text that programs wrote: what is no UTF-8 in it is replaced, as everywhere there."""
  return Parser(name, make, lambda data, _: read(data.decode('utf-8', 'replace')), **more)


def _whole_map(path: Path) -> None:
  for chosen in template_map.read_template_map(path)[:4]:
    chosen.place(seeds.SEQUENCE)


def _table_hits(text: str) -> None:
  by_query, _ = m8.read_table(text, 20)
  for lines in by_query.values():
    for line in lines:
      line.hit(seeds.SEQUENCE, len(seeds.SEQUENCE))


def _features_query(path: Path) -> None:
  item = work_inputs._feature_query(path)
  if isinstance(item, queries.FailedQuery):
    raise InputError(item.message)


def _prediction(data: bytes, folder: Path) -> None:
  _file(folder, 'tag.npz', data)
  found = stored.find(folder, 'x', 'x', 'tag', 'key')
  if found is not None:
    _ = {name: found.arrays[name] for name in found.arrays}, f'{found.mean_plddt:.1f} {found.seed}'


def _done(data: bytes, folder: Path) -> None:
  _file(folder, 'x.done.txt', data)
  files = object.__new__(job_files.JobFiles)
  files.out, files.job = folder, types.SimpleNamespace(name='x')
  files.done('key')
  files.done('key', {'a.pdb'})


def _claim(data: bytes, folder: Path) -> None:
  (folder / 'job').mkdir(exist_ok=True)
  _file(folder / 'job', 'claim.1', data)
  mine = object.__new__(claims.Claims)
  mine._folder = folder
  if last := mine.last('job'):
    mine.is_over(last)
    _ = str(last), last.deaths + 1, list(last.failures), list(last.predictions), list(last.files)


def _kept_search(data: bytes, folder: Path) -> None:
  (folder / 'ab').mkdir(exist_ok=True)
  kept = SearchCache(folder)
  try:
    _file(folder / 'ab', 'ab00000000000000.json.gz', data)
    _ = [f'{one.engine} {one.num_res} {one.num_rows}' for one in kept.entries()]
    if found := kept.get('ab00000000000000'):
      for rows in found.rows:
        parse_a3m(rows.a3m, rows.database)
  finally:
    kept.close()


def _fasta_database(path: Path) -> None:
  import pyhmmer

  for chunk in fasta.chunks(path, 1 << 12):
    fasta.digitize(chunk, pyhmmer.easel.Alphabet.amino())


def _database_archive(data: bytes, folder: Path) -> None:
  part = _file(folder, 'set.tar.gz', data)
  one = StandardSet('set', 'https://a/set.tar.gz', 1, 'uniref30', 'none', databases.MMSEQS, 'set')
  with tempfile.TemporaryDirectory(dir=folder) as unpacked:
    download._unpack(one, part, Path(unpacked), lambda done, total: None)
    _only_inside(Path(unpacked))


def _parameter_archive(data: bytes, folder: Path) -> None:
  part = _file(folder, 'params.tar', data)
  with tempfile.TemporaryDirectory(dir=folder) as unpacked:
    install._extract(part, Path(unpacked), {'params_model_1.npz', 'LICENSE'}, lambda done, total: None)
    _only_inside(Path(unpacked))


def _only_inside(folder: Path) -> None:
  for path in folder.iterdir():
    if folder.resolve() not in path.resolve().parents:
      raise RuntimeError(f'{path.name} leads out of the folder')


def _parameters(path: Path) -> None:
  shapes = npz.read_shapes(path)
  npz.shape_problems(shapes, {'a//w': (3, 4)})
  npz.read_arrays(path)


def _record(data: bytes, folder: Path) -> None:
  entry = cache.ChainEntry('x', 5, 5, 1.0, '', '', 'x', 'train', 0.2, 2, 2, '', 0)
  opened = cache.TrainingCache(folder, (entry,))
  opened._reader = types.SimpleNamespace(read=lambda indices: [data])
  record = opened[0]
  _ = record.atom_positions.sum(), record.profile.sum()


def _server_rows(text: str) -> None:
  for name, entries in engine._entries(text).items():
    engine._rows('uniref', entries, seeds.SEQUENCE, f'http://host/{name[:20]}')


def _searched(data: bytes, folder: Path) -> None:
  files = archive.read(data, m8.FILES, 'http://host', _LARGEST)
  m8.read_sequences(files)


def _ticket(data: bytes, folder: Path) -> None:
  _file(folder, 'key.json', data)
  tickets.Tickets(folder).read('key')


def _setting(text: str) -> None:
  """As argparse does: a ValueError becomes its message."""
  with contextlib.suppress(ValueError):
    changes = dict([flags.change(text)])
    config.changed(config.model_config('mini'), changes)


def _database(text: str) -> None:
  databases.parse(text)


def _pairs(path: Path) -> None:
  list(finding._rows(path))


def _manifest(data: bytes, folder: Path) -> None:
  _file(folder, 'manifest.json', data)
  content = manifest.read(folder)
  manifest.untouched(folder / 'near.pdb', content['files'].get('near.pdb'))


def _downloads(data: bytes, folder: Path) -> None:
  _file(folder, 'downloads.json', data)
  for known in download._read(folder).values():
    download._untouched(folder, known)


def _part(data: bytes, folder: Path) -> None:
  _file(folder, 'x.part.json', data)
  known = fetch._read_note(folder / 'x.part', 'https://a/x')
  if known:
    _ = 3 <= (known.total or 3), {'If-Range': known.validator}


def _download_headers(text: str) -> None:
  """The answer to a request for the rest of a file, of which nothing is there."""
  with contextlib.suppress(fetch._TryAgainError):
    headers = email.message_from_string(text)
    answer = types.SimpleNamespace(headers=headers, status=206 if 'Content-Range' in headers else 200)
    known = fetch._RemoteFile('https://a/x', 100, '"one"')
    _, now = fetch._where_it_starts(answer, 'https://a/x', Path('/nowhere/x'), known, 10)
    _ = (now.total or 0) - 10


def _retry_after(text: str) -> None:
  client._asked_wait(email.message_from_string(f'Retry-After: {text}'))


def _scores(path: Path) -> None:
  scoring._predicted_scores(finding.PredictionFile('x', path, scores=path))


def _metrics(path: Path) -> None:
  watch.read(path)
  watch.Table(path, 3)


def _release(path: Path) -> None:
  library.release_date(path)


def _names(data: bytes, folder: Path) -> None:
  _file(folder, jobnames.NAMES, data)
  jobnames.original_names(folder)


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
  _path('release date', inputs.of_bytes(seeds.MMCIF, seeds.PDB_HEADED), _release),
  _path('obsolete.dat', inputs.of_bytes(seeds.OBSOLETE), library._read_obsolete),
  _path('template map', inputs.of_json(*seeds.TEMPLATE_MAP), _whole_map),
  _path(
    'template alignment',
    inputs.of_bytes(seeds.PAIR),
    lambda path: templates.map_from_alignment(path, seeds.SEQUENCE, seeds.SEQUENCE),
  ),
  _text('hhr', inputs.of_bytes(*seeds.hhr()), lambda text: hhsearch.parse_hhr(text, 'x.hhr')),
  _text('m8', inputs.of_bytes(seeds.M8), _table_hits),
  _text('hmmsearch alignment', inputs.of_bytes(*seeds.A3M), hmmsearch._stockholm),
  Parser('server answer', inputs.of_json(*seeds.ANSWERS), lambda data, _: engine._state(data), (PassingError,)),
  _text('server alignments', inputs.of_bytes(seeds.SERVER_A3M), _server_rows),
  Parser('server archive', inputs.of_tar(seeds.TEMPLATE_ARCHIVE, pack=True), _searched, (PassingError,)),
  Parser('server ticket', inputs.of_json({'ticket': 'abc-1'}), _ticket, owned=True),
  Parser('kept search', inputs.packed(seeds.kept_search()), _kept_search, owned=True),
  _path('FASTA database', inputs.sometimes_packed(inputs.of_bytes(*seeds.FASTA)), _fasta_database),
  _path('FASTA for MMseqs2', inputs.sometimes_packed(inputs.of_bytes(*seeds.FASTA)), making.scan),
  Parser('database archive', inputs.of_tar(seeds.DATABASE_ARCHIVE, pack=True), _database_archive),
  Parser('record of databases', inputs.of_json(seeds.DOWNLOADS), _downloads),
  _text('--database', inputs.of_bytes('uniref90=near.pdb', 'near.pdb', 'x=y'), _database),
  _path('parameters', inputs.of_npz(seeds.PARAMETERS), _parameters),
  Parser('parameter archive', inputs.of_tar(seeds.PARAMETER_ARCHIVE), _parameter_archive),
  Parser('parameter manifest', inputs.of_json(seeds.MANIFEST), _manifest),
  _text('headers of a download', inputs.of_bytes(*seeds.HEADERS), _download_headers),
  _text('Retry-After', inputs.of_bytes('120', 'Wed, 21 Oct 2026 07:28:00 GMT'), _retry_after),
  Parser('partial download', inputs.of_json(seeds.PART), _part, owned=True),
  _path('features', inputs.sometimes_packed(_FEATURES), features.load_features),
  _path('features as query', _FEATURES, _features_query, 'input.npz'),
  Parser('kept prediction', _PREDICTED, _prediction, owned=True),
  Parser('done record', inputs.of_json(seeds.DONE), _done, owned=True),
  _path('journal of files', inputs.of_json(seeds.JOURNAL), lambda path: job_files.Journal(path).content, owned=True),
  Parser('claim', inputs.of_json(seeds.CLAIM), _claim, owned=True),
  _path('kept hits', inputs.of_json(seeds.HITS), work_templates._read_hits),
  Parser('names.json', inputs.of_json({'a_1': 'a|1', 'b': 'b'}), _names, owned=True),
  _path('scores', inputs.of_json(seeds.SCORES), _scores),
  _path('table of pairs', inputs.of_bytes('prediction,reference,chain\na,b,A\nc,d,\n'), _pairs),
  _path('table of chains', inputs.of_bytes(seeds.CHAINS), lambda path: source_table.read_table(path, {})),
  _path('clusters', inputs.of_bytes('1abc_A\t1abc_A\n1abc_A\t2abc_B\n'), source_table.read_clusters),
  _path('index of a cache', inputs.of_bytes(seeds.index()), cache._read_index),
  Parser(
    'manifest of a cache',
    inputs.of_json(seeds.CACHE),
    lambda data, folder: cache._read_manifest(_file(folder, cache.MANIFEST, data).parent),
  ),
  Parser('record of a cache', seeds.record(), _record),
  _path('metrics.csv', inputs.of_bytes('step,loss,seconds\n1,2.5,0.1\n2,2.25,0.1\n'), _metrics),
  _text('--config', inputs.of_bytes(*seeds.SETTINGS), _setting),
  _path('trials of kernels', inputs.of_json(seeds.TRIALS), tuning._read, owned=True),
)
BY_NAME = {parser.name: parser for parser in PARSERS}
