# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax doctor`: what this machine has for predictions, and what to do about what is missing.

Each part of PARTS looks at one thing. One that fails is a line of the report, and the others are looked at.
"""

import os
import platform
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from alphafold_jax import folders, installed, machine
from alphafold_jax.errors import AlphaFoldError, how_to_install
from alphafold_jax.screen import number
from alphafold_jax.transfer.files import human_size, state
from alphafold_jax.version import __version__
from alphafold_jax.weights import shipped, store

_PACKAGES = {  # needed: the name for pip, and the module
  'jax': 'jax',
  'jaxlib': 'jaxlib',
  'dm-haiku': 'haiku',
  'numpy': 'numpy',
  'ml-collections': 'ml_collections',
  'biopython': 'Bio',
  'gemmi': 'gemmi',
  'matplotlib': 'matplotlib',
  'rich': 'rich',
}
_SHORT = 384  # residues, about the middle length of proteins; a machine that takes no more is a small one
_DEEPEST = 'model_1_ptm'  # of the models that are run by default, the one that takes most memory
_PATIENCE = 120.0  # s for JAX to start
_GOOD, _NOTE, _POOR, _BAD = 'ok', '--', '!!', 'NO'

Line = tuple[str, str, str]  # mark, subject, what about it
Part = Callable[[str | None], Iterator[Line]]  # is given the folder of the parameters, None: the default one


def examine(data: str | None = None) -> int:
  """Prints what this machine has; returns 1 if predictions are not possible, else 0.

  Args:
    data: folder of the parameters; None: the default one.
  """
  bad, width = False, min(shutil.get_terminal_size().columns, 120)
  for name, part in PARTS.items():
    for mark, subject, text in _guarded(name, part, data):
      bad = bad or mark == _BAD
      line = f'[{mark}] {subject:<18} {text}'
      print(textwrap.fill(line, width, subsequent_indent=' ' * 24, break_long_words=False, break_on_hyphens=False))
  print('\nThis machine is not ready: see the lines marked [NO].' if bad else '\nThis machine can predict structures.')
  return int(bad)


def _guarded(subject: str, part: 'Part', data: str | None) -> Iterator[Line]:
  """The lines of a part; whatever it fails of is the last of them."""
  try:
    yield from part(data)
  except AlphaFoldError as error:  # its message has the remedy
    yield _POOR, subject, str(error)
  except Exception as error:
    remedy = 'mend that, or install the packages anew; the lines below do not depend on it'
    yield _POOR, subject, f'cannot be examined ({type(error).__name__}: {error}); {remedy}'


def _program(data: str | None) -> Iterator[Line]:
  yield _GOOD, 'alphafold_jax', f'{__version__} on Python {platform.python_version()}, {platform.platform()}'
  versions = {name: installed.version(name) for name in _PACKAGES}
  yield _GOOD, 'packages', ', '.join(f'{name} {version}' for name, version in versions.items() if version)
  if missing := [name for name, version in versions.items() if version is None]:
    yield _BAD, 'packages', f'missing: {", ".join(missing)}; run `pip install {" ".join(missing)}`'
  for name, module in _PACKAGES.items():
    if versions[name] is not None and (why := installed.fault(module)):
      yield _BAD, 'packages', f'{name} cannot be loaded ({why}); run `pip install --force-reinstall {name}`'


def _home(data: str | None) -> Iterator[Line]:
  home = folders.home()
  elsewhere = all(map(os.environ.get, ('ALPHAFOLD_JAX_PARAMS', 'XDG_CACHE_HOME')))
  if not elsewhere and (why := folders.hindrance(home)):
    remedy = 'set ALPHAFOLD_JAX_PARAMS to the folder of the parameters and XDG_CACHE_HOME to a folder you may write to'
    yield _POOR, 'home', f'{home}: {why.lower()}, so nothing is found or kept there; {remedy}, or HOME to your own'
  for kind, variable in folders.VARIABLES.items():
    if os.environ.get(variable) and (why := folders.hindrance(folders.user_cache(kind))):
      yield _POOR, 'environment', f'{variable}={folders.user_cache(kind)}: {why.lower()}; name a folder, or unset it'


def _device(data: str | None) -> Iterator[Line]:
  if not machine.jax_has_begun() and (why := _start_elsewhere()):
    yield _BAD, 'device', machine.without_jax(why)
    return
  try:
    import jax

    from alphafold_jax import devices, dtypes

    found = devices.describe()
    choice = dtypes.default(found['platform'])
  except AlphaFoldError as error:
    yield _BAD, 'device', str(error)
    return
  except Exception as error:  # whatever a driver or a plugin leads to
    yield _BAD, 'device', machine.without_jax(f'{type(error).__name__}: {error}')
    return
  yield _GOOD, 'device', f'{found["count"]} x {found["kind"]}, platform {found["platform"]}, JAX {jax.__version__}'
  if hint := devices.idle_accelerator():
    yield _POOR, 'device', hint
  elif found['platform'] == 'cpu':
    slow = 'small proteins take minutes, large ones hours; a GPU or TPU is much faster'
    yield _POOR, 'device', f'{number(machine.num_processors(), "processor")} and no accelerator: {slow}'
  yield _GOOD, 'dtype', f'{choice}; --dtype chooses another'
  yield _memory(found['free_bytes'], choice.dtype)
  cache = devices.use_compilation_cache()
  if cache is None:
    yield _POOR, 'compiled programs', devices.cannot_keep()
  else:
    sizes = [found['size'] for path in cache.glob('*') if os.path.isfile(path) and (found := state(path))]
    yield _GOOD, 'compiled programs', f'{number(len(sizes), "file")}, {human_size(sum(sizes))}, in {cache}'


def _start_elsewhere() -> str | None:
  """Why JAX does not start; tried in another process, which XLA may end, or a driver stop; None: it does."""
  program = [sys.executable, '-c', 'import jax; jax.devices()']
  try:
    done = subprocess.run(program, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE, check=False)
  except subprocess.TimeoutExpired:
    return f'it still waits for a device after {_PATIENCE:.0f} s'
  if not done.returncode:
    return None
  said = [line.strip() for line in done.stderr.decode('utf-8', 'replace').splitlines() if line.strip()]
  telling = [line for line in said if 'Error' in line or 'flags' in line] or said
  return telling[-1][:300] if telling else f'its process ended with exit code {done.returncode}'


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


def _disk_here(data: str | None) -> Iterator[Line]:
  try:
    yield _free('disk, here', Path.cwd())
  except FileNotFoundError:
    yield _POOR, 'disk, here', 'the folder this was started in is gone; start in one that exists'


def _disk_of_parameters(data: str | None) -> Iterator[Line]:
  folder = store.default_directory()
  yield _free('disk, parameters', next(one for one in (folder, *folder.parents, Path('/')) if os.path.exists(one)))


def _free(subject: str, folder: Path) -> Line:
  return _GOOD, subject, f'{human_size(shutil.disk_usage(folder).free)} free in {folder}'


def _search(data: str | None) -> Iterator[Line]:
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
      named = any(name in str(error) for name in os.environ if name.startswith('ALPHAFOLD_JAX_'))
      yield _POOR if named else _NOTE, 'search', f'{use}: {error}'


def _databases(data: str | None) -> Iterator[Line]:
  from alphafold_jax.search import databases

  folder = folders.user_cache('databases')
  found = databases.found_in(folder)
  for one in found:
    yield _GOOD, 'database', f'{one.role}: {one.path} ({one.kind}, {human_size(databases.size(one))})'
  if not found:
    remedy = '`alphafold-jax db download` fetches some, and --database takes those that are elsewhere'
    yield _NOTE, 'database', f'none in {folder}; {remedy}'


def _relaxation(data: str | None) -> Iterator[Line]:
  versions = {name: installed.version(name) for name in ('openmm', 'pdbfixer')}
  if missing := [name for name, version in versions.items() if version is None]:
    yield _NOTE, 'relaxation', f'no {" and no ".join(missing)} (--amber, relax): {how_to_install("relax")}'
  elif why := installed.fault('openmm'):
    yield _POOR, 'relaxation', f'openmm cannot be loaded ({why}); run `pip install --force-reinstall openmm`'
  else:
    from openmm import Platform

    names = [Platform.getPlatform(i).getName() for i in range(Platform.getNumPlatforms())]
    yield _GOOD, 'relaxation', f'OpenMM {versions["openmm"]} on {", ".join(names)}; pdbfixer {versions["pdbfixer"]}'


PARTS: dict[str, Part] = {
  'packages': _program,
  'home': _home,
  'device': _device,
  'parameters': _parameters,
  'search': _search,
  'database': _databases,
  'relaxation': _relaxation,
  'disk, here': _disk_here,
  'disk, parameters': _disk_of_parameters,
}
