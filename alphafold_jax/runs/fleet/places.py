# SPDX-License-Identifier: Apache-2.0
"""Which devices of this machine each process gets, found without loading JAX."""

import dataclasses
import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

from alphafold_jax.errors import InputError

_GPUS = Path('/proc/driver/nvidia/gpus')


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
  """What one process computes on."""

  name: str  # 'worker 2 (GPU 1)'
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cores: frozenset[int] = frozenset()  # empty: all

  def occupy(self) -> None:
    """Confines this process to the place; JAX must not have been loaded."""
    os.environ.update(self.environment)
    if self.cores:
      os.sched_setaffinity(0, self.cores)


def on_this_machine(num_workers: int | None, num_devices: int = 1) -> list[Place]:
  """A place on this machine for each process; a single one leaves everything as it is.

  Args:
    num_workers: how many; None: as many as there are NVIDIA GPUs for that JAX can use.
    num_devices: that share a protein, of each process.

  Raises:
    InputError: there are fewer GPUs.
  """
  gpus = visible_gpus()
  count = num_workers or max(1, len(gpus) // num_devices)
  if count == 1:
    return [Place('worker 1')]
  if not gpus:
    return [Place(f'worker {i + 1}', cores=cores) for i, cores in enumerate(_shared_cores(count))]
  if count * num_devices > len(gpus):
    needs = f'{num_devices} (--devices {num_devices})' if num_devices > 1 else 'one'
    raise InputError(
      f'--workers {count}: there are {len(gpus)} GPUs ({", ".join(gpus)}), and each worker needs '
      f'{needs}; --workers {max(1, len(gpus) // num_devices)} is the most'
    )
  each = len(gpus) // count
  own = [','.join(gpus[i * each : (i + 1) * each]) for i in range(count)]
  return [Place(f'worker {i + 1} (GPU {names})', {'CUDA_VISIBLE_DEVICES': names}) for i, names in enumerate(own)]


def visible_gpus() -> list[str]:
  """The NVIDIA GPUs that a process started here would see, as CUDA names them; none if JAX cannot use any."""
  if not is_for_gpus():
    return []
  given = os.environ.get('CUDA_VISIBLE_DEVICES')
  if given is None:
    return [str(i) for i in range(sum(1 for _ in _GPUS.iterdir()))] if _GPUS.is_dir() else []
  names = []
  for name in (part.strip() for part in given.split(',')):
    if not name or name.startswith('-'):  # CUDA reads no further
      break
    names.append(name)
  return names


def is_for_gpus() -> bool:
  """Whether JAX is installed for NVIDIA GPUs, and not kept from them."""
  platforms = os.environ.get('JAX_PLATFORMS', '')
  if platforms and not {'cuda', 'gpu'} & set(platforms.split(',')):
    return False
  return any('cuda' in plugin.name for plugin in importlib.metadata.entry_points(group='jax_plugins'))


def _shared_cores(count: int) -> list[frozenset[int]]:
  """The processors divided among so many processes; all to each where there are too few or they cannot be chosen."""
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
  each = len(cores) // count
  return [frozenset(cores[i * each : (i + 1) * each]) for i in range(count)]
