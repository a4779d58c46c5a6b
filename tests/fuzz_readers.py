# SPDX-License-Identifier: Apache-2.0
"""How the parsers of tests/fuzz_parsers.py are called: each function reads an input, a file or a text, and uses it.

What is of this program only, such as claims, counts as absent where it is damaged; whoever reads it must get values
that can be used.
"""

import contextlib
import email
import tempfile
import types
import zipfile
from pathlib import Path

import fuzz_seeds as seeds

from alphafold_jax import config, program_files, sharing
from alphafold_jax import program_archive as archives_of_programs
from alphafold_jax.cli import flags
from alphafold_jax.data import jobnames, queries, template_map
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.training import cache
from alphafold_jax.errors import InputError
from alphafold_jax.evaluation import finding, own_scores
from alphafold_jax.runs.files import records, stored
from alphafold_jax.runs.fleet import claims
from alphafold_jax.runs.work import inputs as work_inputs
from alphafold_jax.search import databases, download, fasta, m8
from alphafold_jax.search.cache import SearchCache
from alphafold_jax.search.server import archive, client, engine, tickets
from alphafold_jax.search.server import pairs as server_pairing
from alphafold_jax.search.standard_sets import StandardSet
from alphafold_jax.search.templates import library
from alphafold_jax.train import one_file, watch
from alphafold_jax.transfer import fetch
from alphafold_jax.weights import install, manifest, npz

_LARGEST = 1 << 28  # bytes of an archive from a server, here


def file(folder: Path, name: str, data: bytes) -> Path:
  path = folder / name
  path.write_bytes(data)
  return path


def whole_map(path: Path) -> None:
  for chosen in template_map.read_template_map(path)[:4]:
    chosen.place(seeds.SEQUENCE)


def table_hits(text: str) -> None:
  by_query, _ = m8.read_table(text, 20)
  for lines in by_query.values():
    for line in lines:
      line.hit(seeds.SEQUENCE, len(seeds.SEQUENCE))


def features_query(path: Path) -> None:
  item = work_inputs._feature_query(path)
  if isinstance(item, queries.FailedQuery):
    raise InputError(item.message)


def prediction(data: bytes, folder: Path) -> None:
  file(folder, 'tag.npz', data)
  found = stored.find(folder, 'x', 'x', 'tag', 'key')
  if found is not None:
    _ = {name: found.arrays[name] for name in found.arrays}, f'{found.mean_plddt:.1f} {found.seed}'


def done(data: bytes, folder: Path) -> None:
  path = file(folder, 'x.done.txt', data)
  for content in (records.read(path), records.read(path, {'a.pdb'})):
    _ = content and [(row.get('model'), content.get('key')) for row in content['predictions']]


def claim(data: bytes, folder: Path) -> None:
  (folder / 'job').mkdir(exist_ok=True)
  file(folder / 'job', 'claim.1', data)
  mine = object.__new__(claims.Claims)
  mine._folder = folder
  if last := mine.last('job'):
    mine.is_over(last)
    _ = str(last), last.deaths + 1, list(last.failures), list(last.predictions), list(last.files)


def command(data: bytes, folder: Path) -> None:
  run = sharing._read_command(file(folder, '.run.1', data))
  if run is not None:
    run.is_gone(folder)
    sharing._differing(run, 'predict', {'--num-recycle': '--num-recycle 1'})


def kept_search(data: bytes, folder: Path) -> None:
  (folder / 'ab').mkdir(exist_ok=True)
  kept = SearchCache(folder)
  try:
    file(folder / 'ab', 'ab00000000000000.json.gz', data)
    _ = [f'{one.engine} {one.num_res} {one.num_rows}' for one in kept.entries()]
    if found := kept.get('ab00000000000000'):
      for rows in found.rows:
        parse_a3m(rows.a3m, rows.database)
  finally:
    kept.close()


def fasta_database(path: Path) -> None:
  import pyhmmer

  for chunk in fasta.chunks(path, 1 << 12):
    fasta.digitize(chunk, pyhmmer.easel.Alphabet.amino())


def database_archive(data: bytes, folder: Path) -> None:
  part = file(folder, 'set.tar.gz', data)
  one = StandardSet('set', 'https://a/set.tar.gz', 1, 'uniref30', 'none', databases.MMSEQS, 'set')
  with tempfile.TemporaryDirectory(dir=folder) as unpacked:
    download._unpack(one, part, Path(unpacked), lambda done, total: None)
    only_inside(Path(unpacked))


def parameter_archive(data: bytes, folder: Path) -> None:
  part = file(folder, 'params.tar', data)
  with tempfile.TemporaryDirectory(dir=folder) as unpacked:
    install._extract(part, Path(unpacked), {'params_model_1.npz', 'LICENSE'}, lambda done, total: None)
    only_inside(Path(unpacked))


def program_archive(data: bytes, folder: Path) -> None:
  whole = file(folder, 'programs.tar', data)
  with tempfile.TemporaryDirectory(dir=folder) as taken:
    archives_of_programs.take_in(whole, Path(taken), {})
    only_inside(Path(taken))


def program(data: bytes, folder: Path) -> None:
  with tempfile.TemporaryDirectory(dir=folder) as kept:
    path = file(Path(kept), f'program-{"0" * 32}', data)
    list(program_files.kept(path.parent))
    try:
      program_files.check(path)
    except program_files.DamagedError as error:
      raise InputError(str(error)) from error


def only_inside(folder: Path) -> None:
  for path in folder.iterdir():
    if folder.resolve() not in path.resolve().parents:
      raise RuntimeError(f'{path.name} leads out of the folder')


def parameters(path: Path) -> None:
  shapes = npz.read_shapes(path)
  npz.shape_problems(shapes, {'a//w': (3, 4)})
  npz.read_arrays(path)


def record(data: bytes, folder: Path) -> None:
  entry = cache.ChainEntry('x', 5, 5, 1.0, '', '', 'x', 'train', 0.2, 2, 2, '', 0)
  opened = cache.TrainingCache(folder, (entry,))
  opened._reader = types.SimpleNamespace(read=lambda indices: [data])
  record = opened[0]
  _ = record.atom_positions.sum(), record.profile.sum()


def server_rows(text: str) -> None:
  for name, entries in engine._entries(text).items():
    engine._rows('uniref', entries, seeds.SEQUENCE, f'http://host/{name[:20]}')


def server_pairs(text: str) -> None:
  sequences = {'101': seeds.SEQUENCE, '102': seeds.SEQUENCE[:10]}
  depths = {len(rows) for rows in server_pairing._paired_rows(text, sequences, 'http://host, pair.a3m').values()}
  assert len(depths) == 1


def searched(data: bytes, folder: Path) -> None:
  files = archive.read(data, m8.FILES, 'http://host', _LARGEST)
  m8.read_sequences(files)


def ticket(data: bytes, folder: Path) -> None:
  file(folder, 'key.json', data)
  tickets.Tickets(folder).read('key')


def setting(text: str) -> None:
  """As argparse does: a ValueError becomes its message."""
  with contextlib.suppress(ValueError):
    changes = dict([flags.change(text)])
    config.changed(config.model_config('mini'), changes)


def database(text: str) -> None:
  databases.parse(text)


def pairs(path: Path) -> None:
  list(finding._rows(path))


def parameter_manifest(data: bytes, folder: Path) -> None:
  file(folder, 'manifest.json', data)
  content = manifest.read(folder)
  manifest.untouched(folder / 'near.pdb', content['files'].get('near.pdb'))


def downloads(data: bytes, folder: Path) -> None:
  file(folder, 'downloads.json', data)
  for known in download._read(folder).values():
    download._untouched(folder, known)


def part(data: bytes, folder: Path) -> None:
  file(folder, 'x.part.json', data)
  known = fetch._read_note(folder / 'x.part', 'https://a/x')
  if known:
    _ = 3 <= (known.total or 3), {'If-Range': known.validator}


def download_headers(text: str) -> None:
  """The answer to a request for the rest of a file, of which nothing is there."""
  with contextlib.suppress(fetch._TryAgainError):
    headers = email.message_from_string(text)
    answer = types.SimpleNamespace(headers=headers, status=206 if 'Content-Range' in headers else 200)
    known = fetch._RemoteFile('https://a/x', 100, '"one"')
    _, now = fetch._where_it_starts(answer, 'https://a/x', Path('/nowhere/x'), known, 10)
    _ = (now.total or 0) - 10


def retry_after(text: str) -> None:
  client._asked_wait(email.message_from_string(f'Retry-After: {text}'))


def scores(path: Path) -> None:
  own_scores.predicted_scores(finding.PredictionFile('x', path, scores=path))


def metrics(path: Path) -> None:
  watch.read(path)
  watch.Table(path, 3)


def carried_run(data: bytes, folder: Path) -> None:
  """A run as one file, of which only what is said of the run is damaged; there is no state in it."""
  with zipfile.ZipFile(folder / 'run.zip', 'w') as packed:
    packed.writestr('run.json', data)
  one_file.unpack(folder / 'run.zip', folder / 'run')


def release(path: Path) -> None:
  library.release_date(path)


def names(data: bytes, folder: Path) -> None:
  file(folder, jobnames.NAMES, data)
  jobnames.original_names(folder)
