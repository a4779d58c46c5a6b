# SPDX-License-Identifier: Apache-2.0
"""Where processes run: on which devices of this machine, found without loading JAX, or on which Ray."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import itertools
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import installed, machine
from alphafold_jax.errors import InputError

_log = logging.getLogger(__name__)
_GPUS = Path('/proc/driver/nvidia/gpus')
_PATIENCE = 10.0  # seconds for an address to answer; Ray would try for minutes
_STORE = 2**27  # bytes for objects in a Ray of our own; ours are small
_TOKEN = secrets.token_hex(32)  # of a Ray of our own; without one it would write one into the home folder


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
  names = (part.strip() for part in given.split(','))
  return list(itertools.takewhile(lambda name: name and not name.startswith('-'), names))  # CUDA reads no further


def expects_accelerators(in_cluster: bool) -> bool:
  """Whether proteins will be computed on GPUs or TPUs, of a Ray cluster perhaps, as can be known without JAX."""
  platforms = os.environ.get('JAX_PLATFORMS', '')
  has_tpu = importlib.util.find_spec('libtpu') is not None and (not platforms or 'tpu' in platforms.split(','))
  return has_tpu or bool(visible_gpus()) or in_cluster and is_for_gpus()


def is_for_gpus() -> bool:
  """Whether JAX is installed for NVIDIA GPUs, and not kept from them."""
  platforms = os.environ.get('JAX_PLATFORMS', '')
  if platforms and not {'cuda', 'gpu'} & set(platforms.split(',')):
    return False
  return any('cuda' in plugin.name for plugin in importlib.metadata.entry_points(group='jax_plugins'))


def _shared_cores(count: int) -> list[frozenset[int]]:
  """The processors divided among so many processes; all to each where there are too few or they cannot be chosen."""
  cores = machine.processors()
  each = len(cores) // count
  return [frozenset(cores[i * each : (i + 1) * each]) for i in range(count)]


# ------------------------------------------------------------------------------------------ Ray


@contextlib.contextmanager
def connected(address: str | None, num_workers: int) -> Iterator[tuple[Any, bool]]:
  """Ray, and whether it is our own; what the program has joined or started before is used, and left as it is.

  Args:
    address: of a cluster, or 'auto'; None: start one of our own.
    num_workers: that our own has room for.

  Raises:
    InputError: there is no such cluster, or Ray does not start here.
  """
  os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO='0')  # places say which GPUs
  if why := installed.fault('ray'):
    raise InputError(f'Ray cannot be loaded ({why}); install it anew (pip install ray), or use --workers 1')
  import ray

  if ray.is_initialized():
    yield ray, False
    return
  with contextlib.ExitStack() as stack:
    handler = signal.getsignal(signal.SIGTERM)
    try:
      if address and address != 'auto':
        host, _, port = address.rpartition(':')
        socket.create_connection((host, int(port)), _PATIENCE).close()
      settings = {'address': address} if address else stack.enter_context(_of_our_own(ray, num_workers))
      stack.callback(ray.shutdown)
      ray._private.worker._worker_logs_enabled = False  # deaths are reported by us
      ray.init(**settings, log_to_driver=False, logging_level=logging.CRITICAL)
      if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray has set its own
    except (OSError, RuntimeError, ValueError) as error:
      remedy = 'start one by `ray start --head`, and set RAY_AUTH_MODE here as there' if address else 'try --workers 1'
      raise InputError(f'--ray {address or "on this machine"}: {str(error).rstrip(".")}; {remedy}') from error
    yield ray, address is None


@contextlib.contextmanager
def _of_our_own(ray: Any, num_workers: int) -> Iterator[dict[str, Any]]:
  """What starts a Ray whose addresses are all 127.0.0.1."""
  os.environ.setdefault('RAY_AUTH_TOKEN', _TOKEN)
  constants, folder = ray._private.ray_constants, tempfile.mkdtemp(prefix='ray-')  # a short name, for its sockets
  spans_machines, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
  try:
    yield {
      'address': 'local',
      'num_cpus': num_workers,
      'num_gpus': 0,  # places say which
      'include_dashboard': False,
      'object_store_memory': _STORE,
      '_temp_dir': folder,
      '_system_config': {'memory_monitor_refresh_ms': 0},  # it would kill what uses much
    }
  finally:
    constants.ENABLE_RAY_CLUSTER = spans_machines
    shutil.rmtree(folder, ignore_errors=True)


def workers_of_cluster(
  nodes: Sequence[dict[str, Any]], num_workers: int | None, num_devices: int
) -> tuple[int, dict[str, Any]]:
  """How many workers a cluster gets, and what Ray is to reserve for each; InputError: no machine has so many GPUs.

  Args:
    nodes: of ray.nodes().
    num_workers: as many as are wanted, also more than there is room for now; None: what there is room for.
    num_devices: GPUs that share a protein.
  """
  found = [node['Resources'] for node in nodes if node['Alive']]
  gpus = [int(node.get('GPU', 0)) for node in found]
  if not any(gpus) and not (num_workers and is_for_gpus()):
    return num_workers or len(found), {'num_cpus': 1, 'scheduling_strategy': 'SPREAD'}
  if not any(gpus):
    _log.info('waiting for GPUs, of which the cluster has none yet; JAX_PLATFORMS=cpu does without')
  elif max(gpus) < num_devices:
    raise InputError(f'--devices {num_devices}: no machine of the Ray cluster has more than {max(gpus)} GPUs')
  return num_workers or sum(count // num_devices for count in gpus), {'num_cpus': 0, 'num_gpus': num_devices}
