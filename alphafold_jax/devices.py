# SPDX-License-Identifier: Apache-2.0
"""The devices of this machine, their memory, and the folder in which compiled programs are kept for later runs."""

import ctypes
import hashlib
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.extend import backend

from alphafold_jax import atomic, folders, installed, machine
from alphafold_jax.errors import InputError, ResourceError
from alphafold_jax.ops import seam
from alphafold_jax.version import __version__

ANOTHER_CACHE = 'set XDG_CACHE_HOME or JAX_COMPILATION_CACHE_DIR to a folder you may write to'
_COMPILE_SECONDS_WORTH_KEEPING = 0.02


def start() -> list[jax.Device]:
  """Starts JAX, unless it runs already; every way to a computation comes through here.

  Returns:
    all devices, of all hosts.

  Raises:
    ResourceError: it cannot start, or this process was forked after it started elsewhere.
  """
  machine.refuse_forked()
  try:
    return jax.devices()
  except Exception as error:  # whatever a driver or a plugin leads to
    why = f'{type(error).__name__}: {error}'.removesuffix(': ')
    raise ResourceError(f'{machine.without_jax(why)}. `alphafold-jax doctor` says more') from error


def default_dtype() -> str:
  """The trunk's dtype of training, and of predictions where nothing was measured: float32 on CPUs, else bfloat16."""
  return 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'


def first(num_devices: int) -> list[jax.Device]:
  """The first devices of this process, to share one protein.

  Raises:
    InputError: there are fewer than that.
  """
  start()
  found = jax.local_devices()
  if num_devices > len(found):
    raise InputError(
      f'num_devices={num_devices}: there {"is" if len(found) == 1 else "are"} {len(found)} ({found[0].device_kind}); '
      f'use --devices {len(found)}{" or fewer" if len(found) > 1 else ""}'
    )
  return found[:num_devices]


def num_separate() -> int:
  """How many devices of this machine have memory of their own; simulated devices share the host's."""
  return 1 if jax.default_backend() == 'cpu' else jax.local_device_count()


def describe() -> dict[str, Any]:
  """Describes the devices that compute, for logs and for config.json."""
  found = start()
  device = found[0]
  return {
    'platform': device.platform,
    'kind': device.device_kind,
    'count': len(found),
    'free_bytes': available_bytes(),
  }


def idle_accelerator() -> str | None:
  """The remedy where JAX computes on the CPU of a machine with an NVIDIA GPU, or None where it does not."""
  if jax.default_backend() != 'cpu' or not machine.has_nvidia_driver():
    return None
  if 'cpu' in os.environ.get('JAX_PLATFORMS', ''):
    return 'this machine has an NVIDIA GPU, but JAX_PLATFORMS=cpu forbids its use; unset it'
  return (
    "this machine has an NVIDIA GPU, but JAX cannot use it and computes on the CPU; install CUDA's packages with "
    "pip install 'jax[cuda12]' or 'jax[cuda13]', whichever the driver takes"
  )


def available_bytes(num_devices: int = 1) -> int | None:
  """Free memory in bytes of each device that computes, or None where the device does not report it."""
  chosen = first(num_devices)
  if chosen[0].platform == 'cpu':  # simulated devices share one memory
    free = machine.free_bytes()
    return None if free is None else free // num_devices
  stats = [device.memory_stats() or {} for device in chosen]
  if any('bytes_limit' not in one for one in stats):
    return None
  return min(one['bytes_limit'] - one.get('bytes_in_use', 0) for one in stats)


def return_freed_memory() -> None:
  """Returns memory to the system that the process has freed but keeps, after compiling a network some 250 MiB.

  Where the C library is not glibc this does nothing.
  """
  if sys.platform == 'linux' and (trim := getattr(ctypes.CDLL(None), 'malloc_trim', None)):
    trim(0)


def use_compilation_cache(directory: str | os.PathLike | None = None) -> Path | None:
  """Makes JAX keep compiled programs on disk for later runs, unless it already keeps them somewhere.

  Programs compiled for one processor may crash another, so machines that share a home get folders of their own.

  Args:
    directory: in which; by default `alphafold_jax/xla` in the user's cache.

  Returns:
    the folder in use, or None if it cannot be written.
  """
  if directory is None and (before := setting('jax_compilation_cache_dir')):
    return Path(before)
  if (folder := cache_folder(directory)) is None:
    return None
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _COMPILE_SECONDS_WORTH_KEEPING)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
  return folder


def compilation_cache() -> Path | None:
  """The folder in which JAX keeps compiled programs, or None where it keeps none."""
  folder = setting('jax_compilation_cache_dir') if setting('jax_enable_compilation_cache') else None
  return Path(folder) if folder else None


def setting(name: str) -> Any:
  """One of JAX's settings, which are attributes that only exist at run time."""
  return getattr(jax.config, name)


def cache_folder(directory: str | os.PathLike | None = None) -> Path | None:
  """The folder for files that hold for this kind of machine only, made if missing; None if it cannot be written.

  Args:
    directory: in which; by default `alphafold_jax/xla` in the user's cache.
  """
  folder = _cache_place(directory)
  return None if _why_unwritable(folder) else folder


def cannot_keep(directory: str | os.PathLike | None = None) -> str:
  """What to tell where `use_compilation_cache` gives None: the folder, why nothing can be kept there, the remedy."""
  folder = _cache_place(directory)
  return programs_not_kept(folder, _why_unwritable(folder) or 'it could not be written')


def programs_not_kept(folder: Path, why: str, remedy: str = ANOTHER_CACHE) -> str:
  """That later runs compile again, for the log."""
  return f'{folder}: compiled programs cannot be kept there for later runs ({why}); {remedy}'


def _cache_place(directory: str | os.PathLike | None) -> Path:
  return Path(directory or folders.user_cache('xla')) / machine_key()


def _why_unwritable(folder: Path) -> str | None:
  """Makes a folder if it is missing; returns why it cannot be written."""
  try:
    atomic.check_name(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
      tempfile.TemporaryFile(dir=folder).close()  # says why
  except InputError:
    return 'its name is not UTF-8'
  except OSError as error:
    return (error.strerror or str(error)).lower()
  return None


def machine_key() -> str:
  """A short name for all that kernels and compiled programs depend on, see `machine_facts`."""
  facts = machine_facts()
  return f'{facts["platform"]}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}'


def machine_facts() -> dict[str, str]:
  """What kernels and compiled programs depend on: packages, driver, device, the processors and their abilities.

  XLA divides the work of a program among the processors that there are when it compiles it.
  """
  device = start()[0]
  packages = {'alphafold_jax': __version__, 'jax': jax.__version__, 'jaxlib': jaxlib.__version__}
  facts = packages | {name: installed.version(name) for name in seam.distributions()}
  facts |= {'platform': device.platform, 'device': device.device_kind, 'driver': backend.get_backend().platform_version}
  abilities = hashlib.sha256(machine.processor_abilities().encode()).hexdigest()[:12]
  facts |= {'machine': platform.machine(), 'processor': abilities}
  if device.platform == 'cpu':
    facts['processors'] = str(len(machine.processors()) or machine.num_processors())
  return {name: ' '.join(str(fact).split()) for name, fact in facts.items() if fact is not None}
