# SPDX-License-Identifier: Apache-2.0
"""The exceptions a caller may want to catch; each message names value, place and remedy."""

_LONGEST = 3000  # characters of a message; it may quote a damaged file, which would flood a terminal


class AlphaFoldError(Exception):
  """Base of every error this package raises on purpose."""

  def __str__(self) -> str:
    """The message; of one that is too long the beginning, with the place, and the end, with the remedy."""
    text = super().__str__()
    return text if len(text) <= _LONGEST else f'{text[: 2 * _LONGEST // 3]} [...] {text[-_LONGEST // 3 :]}'


class InputError(AlphaFoldError, ValueError):
  """A sequence, alignment, template or settings value that cannot be used."""

  argument: str | None = None  # whose value is refused, if the message begins with it: `argument=value: ...`


class WeightsError(AlphaFoldError, ValueError):
  """A parameter file that is missing, unreadable, or does not fit the model."""


class TransferError(AlphaFoldError, RuntimeError):
  """A download that cannot be made or kept: no connection, a server that refuses, a place that cannot be written."""


class SearchError(AlphaFoldError, RuntimeError):
  """A search for homologues or templates that cannot be made: a missing engine, a server that refuses."""


class ResourceError(AlphaFoldError, RuntimeError):
  """A job that does not fit the memory, disk or device at hand."""


class NumericalError(AlphaFoldError, ArithmeticError):
  """A prediction that contained NaN or infinity, also in float32."""


def how_to_install(*extras: str) -> str:
  """The remedy where an optional package is missing: the command that installs an extra, or one of several.

  The package is on no index, so its name cannot be installed; the folder of its source can.
  """
  commands = ' or '.join(f"`pip install '.[{extra}]'`" for extra in extras)
  return f'run {commands} in the folder of the source (a clone of the repository)'
