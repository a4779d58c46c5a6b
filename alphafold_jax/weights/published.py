# SPDX-License-Identifier: Apache-2.0
"""The published parameter archives: what each holds for this program, and where it is kept here."""

import contextlib
import dataclasses
import pathlib
import urllib.parse
from collections.abc import Iterator

from alphafold_jax import choices, folders
from alphafold_jax.errors import ResourceError, TransferError, WeightsError


def _five(suffix: str) -> tuple[str, ...]:
  return tuple(f'model_{number}{suffix}' for number in choices.ORDER)


_MONOMERS = _five('') + _five('_ptm')
_COMPLEXES = {
  version: _five(suffix) for version, suffix in {1: '_multimer', 2: '_multimer_v2', 3: '_multimer_v3'}.items()
}
MODELS = _MONOMERS + _COMPLEXES[3] + _COMPLEXES[2] + _COMPLEXES[1]
LICENCE = 'CC BY 4.0'
LICENCE_FILE = 'LICENSE'


@dataclasses.dataclass(frozen=True)
class Archive:
  """A published archive of parameters."""

  url: str  # or the file name of an archive that is not published
  models: tuple[str, ...] = _MONOMERS  # those that are installed; all must be there
  licence: str = LICENCE  # as published; an archive of the user's own has what its LICENSE says

  @property
  def name(self) -> str:
    return pathlib.PurePosixPath(urllib.parse.urlsplit(self.url).path).name


_BASE = 'https://storage.googleapis.com/alphafold/'
ARCHIVES = {
  '2022-12-06': Archive(f'{_BASE}alphafold_params_2022-12-06.tar', _MONOMERS + _COMPLEXES[3]),
  '2022-03-02': Archive(f'{_BASE}alphafold_params_2022-03-02.tar', _COMPLEXES[2]),  # its monomers are the others'
  '2022-01-19': Archive(f'{_BASE}alphafold_params_2022-01-19.tar', _COMPLEXES[1]),
  '2021-07-14': Archive(f'{_BASE}alphafold_params_2021-07-14.tar'),
}
DEFAULT_ARCHIVE = choices.PARAMETERS

NOTICE = """\
AlphaFold parameters
Copyright DeepMind Technologies Limited

The files params_model_*.npz beside this notice are parameters published with
  Jumper, J. et al. Highly accurate protein structure prediction with AlphaFold.
  Nature 596, 583-589 (2021). https://doi.org/10.1038/s41586-021-03819-2
and, where their names say multimer, with
  Evans, R. et al. Protein complex prediction with AlphaFold-Multimer.
  bioRxiv (2021). https://doi.org/10.1101/2021.10.04.463034
Source: {url}
They are unchanged. They are made available under the Creative Commons Attribution 4.0 International licence
(CC BY 4.0, https://creativecommons.org/licenses/by/4.0/legalcode), without warranty; {licence_file}
Where LICENSE says otherwise, LICENSE counts.
Whoever passes them on, or publishes what was made with them, gives credit as above.
The program that fetched them, alphafold_jax, has another licence (Apache-2.0) and other authors.
"""


def file_name(model: str) -> str:
  """'model_1_ptm' -> 'params_model_1_ptm.npz'."""
  return f'params_{model}.npz'


def find_archive(archive: str | Archive) -> Archive:
  """The archive that is meant.

  Args:
    archive: a key of ARCHIVES, the file name of one, an address, or an Archive.

  Raises:
    WeightsError: no such archive.
  """
  if isinstance(archive, Archive):
    return archive
  for key, known in ARCHIVES.items():
    if archive in (key, known.name, known.name.removesuffix('.tar')):
      return known
  if '://' in archive and Archive(archive).name:
    return dataclasses.replace(archive_of_file(Archive(archive).name), url=archive)
  raise WeightsError(f'{archive!r}: not a known archive. Known are {", ".join(ARCHIVES)}; an address will do too.')


def archive_of_file(name: str) -> Archive:
  """The published archive of a file name, or one of the user's own."""
  own = Archive(name, licence=f'see {LICENCE_FILE}')
  return next((known for known in ARCHIVES.values() if known.name == name), own)


def archive_with(model: str) -> str:
  """The key of the first archive in ARCHIVES that has a model; the default one's if none has."""
  return next((key for key, archive in ARCHIVES.items() if model in archive.models), DEFAULT_ARCHIVE)


def default_directory() -> pathlib.Path:
  """Where parameters are kept: $ALPHAFOLD_JAX_PARAMS, or alphafold_jax/params in the user's cache directory."""
  return folders.user_cache('params')


@contextlib.contextmanager
def advising() -> Iterator[None]:
  """Adds to a failed transfer inside the block what can be done about parameters.

  Raises:
    WeightsError: in place of a TransferError.
    ResourceError: in place of one.
  """
  place = f'Another place is chosen by --data DIR or the variable {folders.VARIABLES["params"]}.'
  try:
    yield
  except TransferError as error:
    raise WeightsError(
      f'{str(error).rstrip(".")}. {place} A machine without internet access can use a file fetched elsewhere: '
      '`alphafold-jax params download --from FILE`.'
    ) from error
  except ResourceError as error:
    raise ResourceError(f'{str(error).rstrip(".")}. {place}') from error
