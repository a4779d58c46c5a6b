# SPDX-License-Identifier: Apache-2.0
"""Where our Pallas kernels run: the backends of this JAX, and the platform that a program is lowered for.

jax 0.12 announces that it will remove the backend for Triton; without it the kernels are not available on GPUs.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

_BACKENDS = {'cuda': 'triton', 'rocm': 'triton', 'tpu': 'tpu'}  # modules of jax.experimental.pallas, by platform
PLATFORMS = tuple(_BACKENDS)
CUSTOM_CALLS = ('triton_kernel_call', 'triton_kernel_call_ffi', '__gpu$xla.gpu.triton', 'tpu_custom_call')
_LEAST_CAPABILITY = 8.0  # of NVIDIA's GPUs, for Triton as XLA has it


def unavailable(platform: str) -> str | None:
  """Why no kernel runs on one of PLATFORMS here, or None where they do."""
  capability = getattr(jax.devices()[0], 'compute_capability', '') if platform == 'cuda' else ''
  return unavailable_on(platform, capability)


def unavailable_on(platform: str, compute_capability: str) -> str | None:
  """Why no kernel runs on such a device, or None where they do.

  Args:
    platform: one of PLATFORMS
    compute_capability: of a GPU, as its `jax.Device` gives it; '' if unknown
  """
  if compute_capability[:1].isdigit() and float(compute_capability) < _LEAST_CAPABILITY:  # AMD's are names
    return f'needs compute capability {_LEAST_CAPABILITY}, not {compute_capability}'
  return None if _importable(backend(platform)) else f'this jax has no jax.experimental.pallas.{backend(platform)}'


def backend(platform: str) -> str:
  """The backend of Pallas, 'triton' or 'tpu', that lowers kernels for one of PLATFORMS."""
  return _BACKENDS[platform]


def run(choices: Mapping[str, Callable[[Any], Any]], x: Any) -> Any:
  """Applies to the arrays x the choice, by backend, for the platform that the program will be lowered for."""
  branches = {platform: choices[name] for platform, name in _BACKENDS.items() if _importable(name)}
  return jax.lax.platform_dependent(x, **branches)


def triton(warps: int) -> Any:
  """Triton's parameters for a kernel: warps of 32 threads per program, loads a step ahead of their use."""
  return importlib.import_module('jax.experimental.pallas.triton').CompilerParams(num_warps=warps, num_stages=2)


@functools.cache
def _importable(name: str) -> bool:
  try:
    importlib.import_module(f'jax.experimental.pallas.{name}')
  except ImportError:
    return False
  return True
