# SPDX-License-Identifier: Apache-2.0
"""The published parameters on this machine: downloaded, listed, found and verified; and the note of lesser ones.

    params_model_1.npz ... params_model_5.npz            monomer
    params_model_1_ptm.npz ... params_model_5_ptm.npz    monomer with predicted aligned error
    params_model_1_multimer_v3.npz ...                   complexes; also _v2, and of the first version without number
    LICENSE, NOTICE.txt                                  CC BY 4.0, and where they come from
    manifest.json                                        archive, size, SHA-256 and date of each

Nothing here needs JAX: the names and shapes of a model's arrays are passed in, as a function `expected(model)`.
"""

import dataclasses
import fnmatch
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from alphafold_jax import folders
from alphafold_jax.errors import WeightsError
from alphafold_jax.transfer.fetch import Patience
from alphafold_jax.transfer.files import digest, state
from alphafold_jax.weights import manifest, shipped
from alphafold_jax.weights.install import Expected, Installation
from alphafold_jax.weights.manifest import verify_file
from alphafold_jax.weights.npz import is_ours, read_shapes, shape_problems
from alphafold_jax.weights.published import (
  ARCHIVES,
  DEFAULT_ARCHIVE,
  LICENCE,
  MODELS,
  Archive,
  advising,
  archive_of_file,
  archive_with,
  default_directory,
  file_name,
  find_archive,
)

PathLike = str | os.PathLike[str]


RANDOM_SOURCE = 'random'  # in place of a file


class Note(NamedTuple):
  """A warning that goes wherever a prediction goes."""

  text: str  # in every file; short enough for one line of a PDB remark
  advice: str  # its meaning and the remedy, for the log and the closing table


RANDOM = Note(
  'RANDOM WEIGHTS: NOT A PREDICTION',
  'The structures mean nothing; for real ones run `alphafold-jax params download` and leave out --params random',
)
MINI = Note(
  'MINI MODEL: small, far less accurate than AlphaFold 2',
  "For AlphaFold 2's own accuracy run `alphafold-jax params download` (CC BY 4.0, about 5 GB)",
)


def note_of(model: str, source: PathLike) -> Note | None:
  """What must be said of a model's predictions; None for the published parameters.

  It goes by the file, never by the name of the network: who trains `mini` has parameters of their own. A file is taken
  for a published one if it was installed from a published archive; or else if it has the name of one and was not
  written by this program.

  Args:
    model: such as 'model_1_ptm'.
    source: the file of its parameters, or 'random'.
  """
  if source == RANDOM_SOURCE:
    return RANDOM
  path = pathlib.Path(source)
  if shipped.is_it(path):
    return MINI
  return None if path.is_file() and _is_published(model, path) else own_parameters(path.name)


def own_parameters(file: str) -> Note:
  """The note of parameters that are neither published nor shipped."""
  return Note(
    f'PARAMETERS OF {file}: not the published ones',
    'How accurate they are is not known to this program; `alphafold-jax evaluate` compares with experiments',
  )


def _is_published(model: str, path: pathlib.Path) -> bool:
  if entry := manifest.read(path.parent)['files'].get(path.name):
    return entry.get('archive') in {archive.name for archive in ARCHIVES.values()}
  return path.name == file_name(model) and not is_ours(path)


@dataclasses.dataclass(frozen=True)
class ParameterFile:
  """A model's parameter file on this machine, or its absence."""

  model: str
  file: str
  status: str  # 'installed', 'verified', 'unrecorded', 'changed', 'damaged' or 'missing'
  size: int | None = None  # bytes
  sha256: str | None = None
  licence: str | None = None
  problems: tuple[str, ...] = ()  # what keeps the file from being used
  remarks: tuple[str, ...] = ()  # what is odd, but harmless

  @property
  def usable(self) -> bool:
    """Whether the model can be run with it."""
    return self.status in ('installed', 'verified', 'unrecorded')


def download(
  archive: str | Archive = DEFAULT_ARCHIVE,
  directory: PathLike | None = None,
  *,
  source: PathLike | None = None,
  sha256: str | None = None,
  expected: Expected | None = None,
  force: bool = False,
  patience: Patience = Patience(),
) -> list[ParameterFile]:
  """Installs the parameters of an archive; does nothing if they are there and unchanged.

  Args:
    archive: a key of ARCHIVES, the file name of one, an address, or an Archive.
    directory: the target; default_directory() by default.
    source: an archive that is already on this machine; nothing is fetched then, and the file is kept.
    sha256: the digest the archive must have, if known from elsewhere.
    expected: names and shapes to check each file against.
    force: fetch and install again even if all is there.
    patience: retries and deadlines of the transfer.

  Returns:
    the rows of list_params for the models of the archive.

  Raises:
    WeightsError: it cannot be fetched, or is not what it should be; nothing is installed then.
    ResourceError: there is no room for it.
  """
  target = folders.expanded(directory or default_directory())
  file = None if source is None else folders.expanded(source)
  chosen = archive_of_file(file.name) if file and archive == DEFAULT_ARCHIVE else find_archive(archive)
  with advising():
    Installation(chosen, target, sha256 and sha256.strip().lower(), expected).run(file, force, patience)
  recorded = manifest.read(target)
  return [_row(target, recorded, model) for model in chosen.models]


def list_params(directory: PathLike | None = None) -> list[ParameterFile]:
  """One row for each model that this program knows, and for each other parameter file there is; no file is hashed.

  Args:
    directory: where they are; default_directory() by default.
  """
  folder = _folder(directory)
  recorded = _recorded(folder, directory)
  return [_row(folder, recorded, model) for model in _models_in(folder, recorded, MODELS)]


def find_params(model: str, params: PathLike | None = None) -> pathlib.Path:
  """The parameter file of a model.

  Args:
    model: such as 'model_1_ptm'.
    params: an .npz file, or a directory with params_{model}.npz in it or in its subdirectory `params`;
      by default default_directory(), or for `mini` the file that ships with the package.

  Raises:
    WeightsError: it is not there; the message says what to run.
  """
  if model == shipped.MODEL and params is None:
    return shipped.find()
  place = folders.expanded(params or default_directory())
  candidates = (place, place / file_name(model), place / 'params' / file_name(model))
  for path in candidates:
    if os.path.isfile(path):
      return path
  if params is not None and (why := folders.hindrance(place)):
    raise WeightsError(f'{place}: {why.lower()}.\n{_what_to_run(model)}')
  there = sorted({*_files_in(place), *_files_in(place / 'params')})
  holds = f' (it holds {", ".join(there)})' if there else ''
  raise WeightsError(f'{place}: no {file_name(model)} there{holds}.\n{_what_to_run(model)}')


def has(model: str, params: PathLike | None = None) -> bool:
  """Whether `find_params` finds a model's parameters."""
  try:
    return find_params(model, params).is_file()
  except WeightsError:
    return False


def has_any(models: Iterable[str]) -> bool:
  """Whether there are parameters of any of these models in the default directory."""
  folder = _folder(None)
  return any(os.path.isfile(folder / file_name(model)) for model in models)


def default_place() -> str:
  """The default directory, for messages; with the reason where nothing can be seen in it."""
  return folders.with_hindrance(default_directory())


def verify(directory: PathLike | None = None, expected: Expected | None = None) -> list[ParameterFile]:
  """Hashes every parameter file again and reads its names and shapes.

  Args:
    directory: where they are; default_directory() by default.
    expected: names and shapes a model should have. Without it only digests and readability are checked.

  Returns:
    a row for each file, with its problems.

  Raises:
    WeightsError: there are no parameter files.
  """
  folder = _folder(directory)
  recorded = _recorded(folder, directory)
  models = _models_in(folder, recorded, ())
  if not models:
    raise WeightsError(f'{folder}: no parameter files to verify.\n{_what_to_run(MODELS[0])}')
  return [_verified(folder, _row(folder, recorded, model), expected) for model in models]


def _folder(directory: PathLike | None) -> pathlib.Path:
  """The directory itself, or its subdirectory `params` where the files are (the layout of AlphaFold's data)."""
  folder = folders.expanded(directory or default_directory())
  return folder / 'params' if not _files_in(folder) and _files_in(folder / 'params') else folder


def _files_in(folder: pathlib.Path) -> list[str]:
  """The names of the parameter files there; none where nothing can be seen."""
  try:
    return fnmatch.filter(os.listdir(folder), file_name('*'))
  except OSError:
    return []


def _recorded(folder: pathlib.Path, directory: PathLike | None) -> dict[str, Any]:
  """The manifest; nothing is recorded in a default directory that cannot be seen, such as that of a locked home."""
  unseen = directory is None and folders.hindrance(folder)
  return manifest.empty() if unseen else manifest.read(folder)


def _models_in(folder: pathlib.Path, recorded: dict[str, Any], always: tuple[str, ...]) -> list[str]:
  """Names of the models with a file or a record here, the known ones first."""
  files = {*_files_in(folder), *recorded['files']}
  models = {file.removeprefix('params_').removesuffix('.npz') for file in files}
  known = [model for model in MODELS if model in models or model in always]
  return known + sorted(models - set(known))


def _row(folder: pathlib.Path, recorded: dict[str, Any], model: str) -> ParameterFile:
  path = folder / file_name(model)
  entry = recorded['files'].get(path.name)
  size = state(path).get('size')
  if size is None:
    status = 'missing'
  elif entry is None:
    status = 'unrecorded'
  else:
    status = 'installed' if manifest.untouched(path, entry) else 'changed'
  archive = recorded['archives'].get(entry.get('archive'), {}) if entry else {}
  return ParameterFile(model, path.name, status, size, entry and entry['sha256'], archive.get('licence'))


def _verified(folder: pathlib.Path, row: ParameterFile, expected: Expected | None) -> ParameterFile:
  """The row after hashing the file and reading its headers."""
  path = folder / row.file
  if row.status == 'missing':
    why = 'recorded in manifest.json, but the file is gone' if row.sha256 else 'a link that leads nowhere'
    return dataclasses.replace(row, problems=(why,))
  problems: list[str] = []
  remarks: list[str] = []
  sha256, status = row.sha256, 'verified'
  try:
    verify_file(path, full=True)
    if sha256 is None:
      with advising():
        sha256, status = digest(path)['sha256'], 'unrecorded'
      remarks.append('not installed by this program, so there is no digest to compare with')
    shapes = read_shapes(path)
    if expected is not None and row.model in MODELS:
      problems, surplus = shape_problems(shapes, expected(row.model))
      remarks += surplus
  except WeightsError as error:
    problems = [str(error)]
  status = 'damaged' if problems else status
  return dataclasses.replace(row, status=status, sha256=sha256, problems=tuple(problems), remarks=tuple(remarks))


def _what_to_run(model: str) -> str:
  if model == shipped.MODEL:
    return f'Leave out --data and --params to use the {model} that ships with the package.'
  mini = f"  alphafold-jax predict ... --model-type {shipped.MODEL}   use this program's small model, far less accurate"
  key = archive_with(model)
  fetch = 'alphafold-jax params download' + (f' --archive {key}' if key != DEFAULT_ARCHIVE else '')
  lines = (
    f'{model} needs the published AlphaFold parameters ({LICENCE}, a download of about 5 GB). Do one of these:',
    f'  {fetch:<43}  fetch them, once',
    '  alphafold-jax params download --from FILE    unpack an archive fetched elsewhere, from',
    f'                                               {ARCHIVES[key].url}',
    f'  alphafold-jax predict ... --data DIR         use a directory that holds {file_name(model)}',
    *([mini] if shipped.exists() else []),
    '  alphafold-jax predict ... --params random    try out the installation: the structures will mean nothing',
    f'They are kept in {default_directory()}; set ALPHAFOLD_JAX_PARAMS to keep them elsewhere.',
  )
  return '\n'.join(lines)
