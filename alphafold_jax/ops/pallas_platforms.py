# SPDX-License-Identifier: Apache-2.0
"""Where our Pallas kernels can run: the backends of this JAX, and the platform that a program is lowered for."""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from alphafold_jax.ops.seam import Place

_BACKENDS = {'gpu': 'jax.experimental.pallas.triton', 'tpu': 'jax.experimental.pallas.tpu'}
_LOWERED = {'cuda': 'gpu', 'rocm': 'gpu', 'tpu': 'tpu'}
_LEAST_CAPABILITY = 8.0  # of NVIDIA's GPUs, for Triton as XLA has it


def missing(place: Place) -> str | None:
  """Why no kernel runs there, or None where they do."""
  device = jax.devices()[0]
  here = device.platform == place.platform  # else it is compiled for another machine
  return declines(place.platform, getattr(device, 'compute_capability', '') if here else '')


def declines(platform: str, compute_capability: str = '') -> str | None:
  """Why no kernel runs on a platform, or None where they do.

  Args:
    platform: as `jax.default_backend()` says: 'cpu', 'gpu' or 'tpu'
    compute_capability: of a GPU, as its `jax.Device` says; '' if unknown
  """
  if platform not in _BACKENDS:
    return f'needs a GPU or TPU, not {platform}'
  if compute_capability[:1].isdigit() and float(compute_capability) < _LEAST_CAPABILITY:  # AMD's are names
    return f'needs compute capability {_LEAST_CAPABILITY}, not {compute_capability}'
  if not _importable(platform):
    return f'this jax has no {_BACKENDS[platform]}'
  return None


def run(choices: Mapping[str, Callable[[Any], Any]], x: Any) -> Any:
  """Applies to the arrays x what is chosen for the platform, 'gpu' or 'tpu', that the program will be lowered for."""
  branches = {name: choices[platform] for name, platform in _LOWERED.items() if _importable(platform)}
  return jax.lax.platform_dependent(x, **branches)


def triton(warps: int) -> Any:
  """What Triton is to be told about a kernel: warps of 32 threads per program, loads a step ahead of their use."""
  return importlib.import_module(_BACKENDS['gpu']).CompilerParams(num_warps=warps, num_stages=2)


@functools.cache
def _importable(platform: str) -> bool:
  try:
    importlib.import_module(_BACKENDS[platform])
  except ImportError:
    return False
  return True
