# SPDX-License-Identifier: Apache-2.0
"""Traced programs kept on disk beside the compiled ones, so that the next process need not trace the network again.

With JAX's own cache a process still traces and lowers the whole network before it can look up the compiled program,
which takes longer than reading it. Here a program is found by what it is made from: specs, shapes, settings, the
machine with its packages, and our own code. So no other version ever reads it, which JAX does not promise to work for
GPU kernels.
"""

import functools
import hashlib
import logging
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax
import jax.export

from alphafold_jax import atomic, devices
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.ops import seam

_log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent
_SETTINGS = ('jax_default_matmul_precision', 'jax_enable_x64', 'jax_threefry_partitionable')


def kept(jitted: Any, identity: Hashable, arguments: tuple) -> Callable:
  """Reads a function as an earlier process traced it, or traces it and keeps that for later processes.

  Args:
    jitted: the function under `jax.jit`; its result depends on `identity` and its arguments alone.
    identity: its text identifies the function among all others.
    arguments: of the function, or `jax.ShapeDtypeStruct`s.

  Returns:
    a function to be put under jit: `jitted` itself where JAX keeps no compiled programs or cannot keep this one.
  """
  if (folder := devices.compilation_cache()) is None:
    return jitted
  try:
    path = folder / f'traced-{digest(identity, arguments)}'
  except OSError:  # our own code cannot be read
    return jitted
  try:
    return jax.export.deserialize(bytearray(path.read_bytes())).call
  except OSError:
    pass  # nobody has traced it yet
  except Exception as error:  # whatever a damaged file leads to
    _log.info('%s cannot be read and is written again: %s', path, error)
  try:
    exported = jax.export.export(jitted, disabled_checks=allowed_calls())(*arguments)
    with atomic.replacing(path) as file:
      file.write(exported.serialize())
  except (AlphaFoldError, OSError) as error:
    _log.info('a traced program cannot be kept: %s', error)
    return jitted
  except Exception as error:  # it calls back into this process, say
    _log.debug('this traced program cannot be kept: %s', error)
    return jitted
  return exported.call


def allowed_calls() -> list[jax.export.DisabledSafetyCheck]:
  """The custom calls that a kept program may hold: those of the kernels."""
  return [jax.export.DisabledSafetyCheck.custom_call(name) for name in seam.custom_calls()]


def digest(identity: Hashable, arguments: tuple) -> str:
  """The name of a program: whatever it is made from.

  Args:
    identity: as of `kept`.
    arguments: of the function, or `jax.ShapeDtypeStruct`s.

  Raises:
    OSError: our own code cannot be read.
  """
  leaves, tree = jax.tree.flatten(arguments)
  shapes = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
  settings = [getattr(jax.config, name) for name in _SETTINGS]
  parts = (identity, str(tree), shapes, settings, devices.machine_key(), source())
  return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


@functools.cache
def source() -> str:
  """A digest of all code of this package, so that a program traced by another version is not found."""
  digest = hashlib.sha256()
  for path in sorted(_PACKAGE.rglob('*.py')):
    digest.update(path.read_bytes())
  return digest.hexdigest()
