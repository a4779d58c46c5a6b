# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax doctor`: what this machine has for predictions, and what to do about what is missing."""

import os
import platform
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

from alphafold_jax import folders, installed
from alphafold_jax.errors import AlphaFoldError, how_to_install
from alphafold_jax.transfer.files import human_size
from alphafold_jax.version import __version__
from alphafold_jax.weights import shipped, store

_PACKAGES = ('jax', 'jaxlib', 'dm-haiku', 'numpy', 'ml-collections', 'biopython', 'matplotlib', 'rich')
_SHORT = 384  # residues, about the middle length of proteins; a machine that takes no more is a small one
_DEEPEST = 'model_1_ptm'  # of the models that are run by default, the one that takes most memory
_GOOD, _NOTE, _POOR, _BAD = 'ok', '--', '!!', 'NO'

Line = tuple[str, str, str]  # mark, subject, what about it


def examine(data: str | None = None) -> int:
  """Prints what this machine has; returns 1 if predictions are not possible, else 0.

  Args:
    data: folder of the parameters; None: the default one.
  """
  bad, width = False, min(shutil.get_terminal_size().columns, 120)
  for part in (_program, _device, lambda: _parameters(data), _search, _disk):
    for mark, subject, text in part():
      bad = bad or mark == _BAD
      line = f'[{mark}] {subject:<18} {text}'
      print(textwrap.fill(line, width, subsequent_indent=' ' * 24, break_long_words=False, break_on_hyphens=False))
  print('\nThis machine is not ready: see the lines marked [NO].' if bad else '\nThis machine can predict structures.')
  return int(bad)


def _program() -> Iterator[Line]:
  yield _GOOD, 'alphafold_jax', f'{__version__} on Python {platform.python_version()}, {platform.platform()}'
  versions = {name: installed.version(name) for name in _PACKAGES}
  yield _GOOD, 'packages', ', '.join(f'{name} {version}' for name, version in versions.items() if version)
  if missing := [name for name, version in versions.items() if version is None]:
    yield _BAD, 'packages', f'missing: {", ".join(missing)}; run `pip install {" ".join(missing)}`'


def _device() -> Iterator[Line]:
  try:
    import jax

    from alphafold_jax import devices

    found = devices.describe()
  except Exception as error:  # whatever a driver or a plugin leads to
    remedy = "JAX_PLATFORMS=cpu, or install jax for this machine's driver: pip install 'jax[cuda12]' or 'jax[cuda13]'"
    yield _BAD, 'device', f'JAX does not start ({type(error).__name__}: {error}). Try {remedy}'
    return
  yield _GOOD, 'device', f'{found["count"]} x {found["kind"]}, platform {found["platform"]}, JAX {jax.__version__}'
  if hint := devices.idle_accelerator():
    yield _POOR, 'device', hint
  elif found['platform'] == 'cpu':
    slow = 'small proteins take minutes, large ones hours; a GPU or TPU is much faster'
    yield _POOR, 'device', f'{os.cpu_count()} processors and no accelerator: {slow}'
  yield _memory(found['free_bytes'], devices.default_dtype())
  cache = devices.use_compilation_cache()
  if cache is None:
    remedy = 'set XDG_CACHE_HOME or JAX_COMPILATION_CACHE_DIR to a folder you may write to'
    yield _POOR, 'compiled programs', f'cannot be kept: the cache folder cannot be written; {remedy}'
  else:
    files = [path for path in cache.glob('*') if path.is_file()]
    size = human_size(sum(path.stat().st_size for path in files))
    yield _GOOD, 'compiled programs', f'{len(files)} files, {size}, in {cache}'


def _memory(free: int | None, dtype: str) -> Line:
  if free is None:
    return _POOR, 'memory', 'unknown; too large a protein will fail only when it runs'
  try:
    from alphafold_jax import config, planning
  except ImportError:  # a package is missing, as reported above
    return _GOOD, 'memory', f'{human_size(free)} free'
  longest = planning.longest(config.changed(config.model_config(_DEEPEST), {'dtype': dtype}), free)
  fits = f'up to about {longest:,} residues fit with the published models and deep alignments in {dtype}'
  text = f'{human_size(free)} free: {fits}; longer proteins are refused'
  return _GOOD if longest >= _SHORT else _POOR, 'memory', text


def _parameters(data: str | None) -> Iterator[Line]:
  place = data or store.default_directory()
  try:
    rows = store.list_params(data)
  except AlphaFoldError as error:
    yield _BAD, 'parameters', str(error)
    return
  usable = [row.model for row in rows if row.usable]
  if shipped.exists():
    yield _GOOD, 'shipped model', f'{shipped.MODEL}, part of this package: small, far less accurate than AlphaFold 2'
  else:
    yield _NOTE, 'shipped model', f'none: this copy of the package has no {shipped.FILE}'
  for row in rows:
    if row.status == 'changed':
      yield _POOR, 'parameters', f'{row.file} has changed since it was installed; run `alphafold-jax params verify`'
  default = [model for model in store.MODELS if model.endswith('_ptm')]
  missing = [model for model in default if model not in usable]
  fetch = 'run `alphafold-jax params download` (CC BY 4.0)'
  if not missing:
    yield _GOOD, 'parameters', f'{len(usable)} models in {place}'
  elif not usable and data is None and shipped.exists():
    yield _POOR, 'parameters', f'none in {place}, so predictions are made with {shipped.MODEL}; {fetch} for AlphaFold 2'
  else:
    what = 'none' if not usable else f'{", ".join(usable)}, but not {", ".join(missing)},'
    others = 'or name their folder with --data DIR; --params random tries out the installation without'
    yield _BAD, 'parameters', f'{what} in {place}; {fetch}, {others}'


def _disk() -> Iterator[Line]:
  for subject, folder in (('disk, here', Path.cwd()), ('disk, parameters', store.default_directory())):
    while not folder.exists():
      folder = folder.parent
    yield _GOOD, subject, f'{human_size(shutil.disk_usage(folder).free)} free in {folder}'


def _search() -> Iterator[Line]:
  from alphafold_jax.search import databases
  from alphafold_jax.search.mmseqs import program as mmseqs_program
  from alphafold_jax.search.templates import hhsearch

  for name, use in (('pyhmmer', '--msa-mode hmmer, templates'), ('kalign-python', 'templates')):
    if (present := installed.version(name)) is not None:
      yield _GOOD, 'search', f'{name} {present}: {use}'
    else:
      yield _NOTE, 'search', f'no {name} ({use}): {how_to_install("search")}'
  for name, use, find, version in (
    ('mmseqs', '--msa-mode mmseqs2', mmseqs_program.find, mmseqs_program.version),
    ('hhsearch', 'templates in pdb70', hhsearch.program, hhsearch.version),
  ):
    try:
      program = find()
      yield _GOOD, 'search', f'{name} {version(program)} ({use}): {program}'
    except AlphaFoldError as error:
      yield _NOTE, 'search', f'{use}: {error}'
  folder = folders.user_cache('databases')
  found = databases.found_in(folder)
  for one in found:
    yield _GOOD, 'database', f'{one.role}: {one.path} ({one.kind}, {human_size(databases.size(one))})'
  if not found:
    remedy = '`alphafold-jax db download` fetches some, and --database takes those that are elsewhere'
    yield _NOTE, 'database', f'none in {folder}; {remedy}'
