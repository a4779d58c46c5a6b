# SPDX-License-Identifier: Apache-2.0
"""The parameters that ship with this package: those of `mini`, trained by this project, in one file beside this one.

The file has the published layout in half precision, compressed; its notice is the archive's comment, which readers of
.npz files ignore (`unzip -z` shows it).
"""

import filecmp
import io
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic, choices
from alphafold_jax.errors import WeightsError
from alphafold_jax.transfer.files import human_size
from alphafold_jax.weights import official

MODEL = choices.MINI
FILE = 'mini.npz'
MAX_BYTES = 12_000_000  # what a package may weigh

NOTICE = """\
Parameters of `mini`, the small model of alphafold_jax, in the layout of the published AlphaFold 2 parameters.
Trained from scratch by the alphafold_jax project; nothing is taken from the parameters that DeepMind published.
Licence: Apache-2.0, as the program. {origin}
"""
REMEDY = """\
A copy of the source from before its training is without it: install a release, or train it, see docs/training.md.
For AlphaFold 2 itself run `alphafold-jax params download`; --params random tries out the installation."""


def path() -> Path:
  """The place of the file, whether or not this copy of the package has it."""
  return Path(str(resources.files(__package__).joinpath(FILE)))


def exists() -> bool:
  """Whether this copy of the package has the file."""
  return path().is_file()


def is_it(file: Path) -> bool:
  """Whether a file holds what ships, wherever it is and whatever it is called."""
  return exists() and file.is_file() and filecmp.cmp(file, path(), shallow=False)


def find() -> Path:
  """The place of the file; WeightsError if this copy of the package does not have it."""
  if not exists():
    raise WeightsError(f'{path()}: not there, so this copy of the package has no parameters of {MODEL}.\n{REMEDY}')
  return path()


def store(
  params: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any], path: str | Path, origin: str = ''
) -> int:
  """Writes parameters as the file that ships, whole or not at all.

  Args:
    params: our parameters, float32.
    config: of the model.
    path: the file.
    origin: where they come from, for the notice.

  Returns:
    the size of the file in bytes.

  Raises:
    WeightsError: an array does not fit half precision, a parameter has no rule, or the file would be too large.
  """
  with np.errstate(over='ignore'):
    arrays = official.to_official(params, config)
    halves: dict[str, Any] = {name: array.astype(np.float16) for name, array in arrays.items()}
  beyond = [name for name, array in halves.items() if not np.isfinite(array).all()]
  if beyond:
    raise WeightsError(f'{path}: {beyond[0]} holds values that are not finite in half precision; train on, or anew')
  content = io.BytesIO()
  np.savez_compressed(content, **halves)
  with zipfile.ZipFile(content, 'a') as archive:
    archive.comment = NOTICE.format(origin=origin).encode()
  size = content.getbuffer().nbytes
  if size > MAX_BYTES:
    raise WeightsError(
      f'{path}: {human_size(size)} are more than the {human_size(MAX_BYTES)} that a package may weigh; make the model '
      'smaller'
    )
  with atomic.replacing(path) as file:
    file.write(content.getbuffer())
  return size


def notice(path: str | Path) -> str:
  """The notice in a file that `store` wrote."""
  with zipfile.ZipFile(path) as archive:
    return archive.comment.decode()
