# SPDX-License-Identifier: Apache-2.0
"""Traced programs kept on disk beside the compiled ones, so that the next process need not trace the network again.

With JAX's own cache a process still traces and lowers the whole network before it can ask for what was compiled, which
takes longer than reading it. Here a program is found by what it is made from: specs, shapes, settings, the machine with
its packages, and our own code. So it need not be readable by another version, which JAX refuses to promise for GPU
kernels.
"""

import functools
import hashlib
import logging
from collections.abc import Callable, Hashable
from pathlib import Path

import jax
import jax.export

from alphafold_jax import atomic, devices
from alphafold_jax.errors import AlphaFoldError

_log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent
_KERNELS = (
  'triton_kernel_call',
  'triton_kernel_call_ffi',
  '__gpu$xla.gpu.triton',
  'tpu_custom_call',
  '__cudnn$fmhaSoftmax',
  '__cudnn$fmhaScaleBiasSoftmax',
)
_SETTINGS = ('jax_default_matmul_precision', 'jax_enable_x64', 'jax_threefry_partitionable')
_ALLOWED = tuple(jax.export.DisabledSafetyCheck.custom_call(name) for name in _KERNELS)


def kept(jitted: Callable, identity: Hashable, arguments: tuple) -> Callable:
  """A function under jit as it was traced by an earlier process, or as it is traced now for the processes to come.

  Args:
    jitted: the function, which must be a function of `identity` and its arguments alone.
    identity: whose text tells it from all others.
    arguments: of the function, or `jax.ShapeDtypeStruct`s.

  Returns:
    a function to be put under jit; the given one where JAX keeps no compiled programs, or cannot keep this one.
  """
  folder = jax.config.jax_compilation_cache_dir
  if not folder or not jax.config.jax_enable_compilation_cache:
    return jitted
  path = Path(folder) / f'traced-{_digest(identity, arguments)}'
  try:
    return jax.export.deserialize(bytearray(path.read_bytes())).call
  except OSError:
    pass  # nobody has traced it yet
  except Exception as error:  # whatever a damaged file leads to
    _log.info('%s cannot be read and is made anew: %s', path, error)
  try:
    exported = jax.export.export(jitted, disabled_checks=_ALLOWED)(*arguments)
    with atomic.replacing(path) as file:
      file.write(exported.serialize())
  except (AlphaFoldError, OSError) as error:
    _log.info('a traced program cannot be kept: %s', error)
    return jitted
  except Exception as error:  # it calls back into this process, say
    _log.debug('this traced program is none that can be kept: %s', error)
    return jitted
  return exported.call


def _digest(identity: Hashable, arguments: tuple) -> str:
  leaves, tree = jax.tree.flatten(arguments)
  shapes = [(leaf.shape, str(leaf.dtype)) for leaf in leaves]
  settings = [getattr(jax.config, name) for name in _SETTINGS]
  parts = (identity, str(tree), shapes, settings, devices.machine_key(), _source())
  return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


@functools.cache
def _source() -> str:
  """A digest of this package's code, all of it: what was traced by another version is not found."""
  digest = hashlib.sha256()
  for path in sorted(_PACKAGE.rglob('*.py')):
    digest.update(path.read_bytes())
  return digest.hexdigest()
