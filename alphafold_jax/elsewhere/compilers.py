# SPDX-License-Identifier: Apache-2.0
"""The compilers of TPUs and of NVIDIA GPUs on a machine that has neither, and the devices that they compile for."""

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alphafold_jax import installed, machine
from alphafold_jax.elsewhere.targets import CUDA, TPU, Machine
from alphafold_jax.errors import InputError, ResourceError, how_to_install
from alphafold_jax.screen import number

# What JAX and the compilers must be told before JAX starts: that this is a machine without devices, and no machine of
# Google's cloud whose server would be asked.
ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'JAX_ENABLE_COMPILATION_CACHE': 'false',  # what is read from there takes no time to compile
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',  # by several processes at once: no devices are taken from one another
}
_NO_TUNING = '--xla_gpu_autotune_level=0'  # tuning runs kernels, which needs the device
_PLUGINS = {  # modules, any of which brings the compiler, and the extras that install them
  TPU: (('libtpu',), ('tpu',)),
  CUDA: (('jax_cuda12_plugin', 'jax_cuda13_plugin'), ('cuda12', 'cuda13')),
}
_DISTRIBUTIONS = ('alphafold_jax', 'jax', 'jaxlib', 'libtpu', 'jax-cuda12-pjrt', 'jax-cuda13-pjrt')
_LONGEST = 300  # characters of what a compiler says


def prepare() -> None:
  """Sets what must be set before JAX starts, and starts it.

  Raises:
    ResourceError: it has started.
  """
  if machine.jax_has_begun():
    raise ResourceError('JAX runs in this process already; compile for other machines in a process of its own')
  os.environ |= ENVIRONMENT
  flags = os.environ.get('XLA_FLAGS', '')
  if 'xla_gpu_autotune_level' not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} {_NO_TUNING}'.strip()
  if (jax := sys.modules.get('jax')) is not None:  # which has read the variables
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_enable_compilation_cache', False)
  with _quietly():  # importing JAX is enough for CUDA's packages to miss a driver
    from alphafold_jax import devices

    devices.start()


def versions(platform: str) -> dict[str, str]:
  """The versions of the packages that a compiled program depends on."""
  from alphafold_jax.version import __version__

  found = {name: installed.version(name) for name in _DISTRIBUTIONS} | {'alphafold_jax': __version__}
  others = 'cuda' if platform == TPU else 'libtpu'
  return {name: version for name, version in found.items() if version and others not in name}


def devices_of(target: Machine, num_devices: int) -> list:
  """The first devices of a machine that is not here.

  Raises:
    InputError: the machine has fewer, or its compiler does not know it, or does not take so many of its chips.
    ResourceError: its compiler is not installed, or does not start.
  """
  if num_devices > target.num_devices:
    larger = f'{target.kind}:{num_devices}' if target.platform == CUDA else 'a larger topology'
    raise InputError(f'{target.name}: it has {number(target.num_devices, "device")}, not {num_devices}; give {larger}')
  modules, extras = _PLUGINS[target.platform]
  if not any(importlib.util.find_spec(module) for module in modules):
    what = 'TPUs' if target.platform == TPU else 'NVIDIA GPUs'
    raise ResourceError(
      f'{target.name}: the compiler of {what} is not installed ({" or ".join(modules)}); {how_to_install(*extras)}. '
      'It needs no device'
    )
  from jax.experimental import topologies

  with _quietly():
    try:
      found = topologies.get_topology_desc(platform=target.platform, **target.options).devices
    except Exception as error:  # whatever a plugin leads to
      if target.platform == TPU and 'topology' in str(error).lower():
        raise InputError(
          f'{target.name}: its compiler does not know this machine ({in_short(error)}); sides of a topology are mostly '
          'powers of two, such as v5e:4x4 or v4:2x2x4'
        ) from error
      installed_here = ', '.join(map(' '.join, versions(target.platform).items()))
      raise ResourceError(
        f'{target.name}: its compiler does not start ({in_short(error)}); jax, jaxlib and its plugin must be of one '
        f'version: {installed_here}'
      ) from error
  taken: list[Any] = list(found)[:num_devices]
  if target.platform == TPU and num_devices > 1 and max(device.id for device in taken) >= num_devices:
    raise InputError(  # its compiler would end the process: it takes them for the first ones of the topology
      f'{target.name}: its compiler does not take {num_devices} of its chips, which are not numbered one after another '
      f'there; give a topology of {num_devices} chips (v5e:2x2 is one of 4)'
    )
  return taken


def in_short(error: Exception) -> str:
  """What a compiler says, on one line."""
  text = ' '.join(str(error).split())
  return text if len(text) <= _LONGEST else f'{text[:_LONGEST]} ...'


@contextmanager
def _quietly() -> Iterator[None]:
  """Without what plugins say of devices and drivers that are not there, which some write past Python."""
  before, stderr = logging.root.manager.disable, os.dup(2)
  logging.disable(logging.CRITICAL)
  try:
    with open(os.devnull, 'wb') as nowhere:
      os.dup2(nowhere.fileno(), 2)
    yield
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)
    logging.disable(before)
