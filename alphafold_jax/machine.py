# SPDX-License-Identifier: Apache-2.0
"""What the operating system says of this machine and process, each where it says it: processors, memory, forks.

The only place that reads /proc and /sys for these or calls what not every system has. Nothing here needs JAX.
"""

import os
import platform
import sys
from pathlib import Path

from alphafold_jax.errors import ResourceError

_MEMORY_GROUPS = (  # limit and use of a control group, version 2 and version 1
  ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current'),
  ('/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory/memory.usage_in_bytes'),
)
GPU_SHARE = 0.92  # of a GPU's memory that JAX takes for predictions; its own default is 0.75
_SHARE_OF_PROCESSORS = (  # µs of processor time in a period of so many µs, version 2 and version 1
  ('/sys/fs/cgroup/cpu.max',),
  ('/sys/fs/cgroup/cpu/cpu.cfs_quota_us', '/sys/fs/cgroup/cpu/cpu.cfs_period_us'),
)


def processors() -> list[int]:
  """The numbers of the processors that this process may run on; [] where the system does not say."""
  try:
    return sorted(os.sched_getaffinity(0))
  except (AttributeError, OSError):  # there is no such call on macOS and Windows
    return []


def num_processors() -> int:
  """How many processors this process may use: those it may run on, or fewer where a control group allows less time."""
  counted = getattr(os, 'process_cpu_count', lambda: None)() or len(processors()) or os.cpu_count() or 1
  return max(1, min(counted, _processors_of_group() or counted))


def _processors_of_group() -> int | None:
  for files in _SHARE_OF_PROCESSORS:
    try:
      quota, period = ' '.join(map(_text, files)).split()
      return -(-int(quota) // int(period)) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or 'max'
      continue
  return None


def free_bytes() -> int | None:
  """Memory of the host that this process may still take, or None where the system does not say."""
  try:
    fields = dict(line.split(':', 1) for line in _text('/proc/meminfo').splitlines())
    free = int(fields['MemAvailable'].split()[0]) * 1024
  except (OSError, KeyError, ValueError):
    return None
  for limit, used in _MEMORY_GROUPS:
    try:  # inside a container the control group may allow less
      free = min(free, int(_text(limit)) - int(_text(used)))
    except (OSError, ValueError):
      continue
  return free


def processor_abilities() -> str:
  """What code compiled here may use: model and flags of the processors."""
  try:
    lines = _text('/proc/cpuinfo').splitlines()
  except OSError:
    return platform.processor()
  wanted = ('model name', 'flags', 'Features', 'CPU part')
  return '|'.join(sorted({line for line in lines if line.split(':')[0].strip() in wanted}))


def has_nvidia_driver() -> bool:
  """Whether the system has a driver for NVIDIA GPUs."""
  return os.path.exists('/proc/driver/nvidia/version')


def _text(path: str) -> str:
  return Path(path).read_text(encoding='utf-8', errors='replace')


# ------------------------------------------------------------------------------------------ JAX, before it is loaded

_STEERING = ('JAX_PLATFORMS', 'XLA_FLAGS', 'CUDA_VISIBLE_DEVICES', 'LIBTPU_INIT_ARGS', 'LD_LIBRARY_PATH')


def without_jax(why: str) -> str:
  """What to say where JAX does not start: the reason, the variables that may be to blame, and what to try."""
  found = ', '.join(f'{name}={os.environ[name]}' for name in _STEERING if os.environ.get(name))
  return (
    f'JAX does not start ({why}). {f"Set here: {found}; unset or correct. " if found else ""}Try JAX_PLATFORMS=cpu, or '
    "install jax for this machine's driver: pip install 'jax[cuda12]' or 'jax[cuda13]'"
  )


# ------------------------------------------------------------------------------------------ forks

_forked = False  # from a process in which JAX had begun: its threads, which JAX waits for, are not in this one


def jax_has_begun() -> bool:
  """Whether JAX has started the threads of a device; importing it does not."""
  bridge = sys.modules.get('jax._src.xla_bridge')  # JAX says this nowhere else
  begun = getattr(bridge, 'backends_are_initialized', None)
  return bool(begun and begun())


def _after_fork() -> None:
  global _forked
  _forked = _forked or jax_has_begun()


if hasattr(os, 'register_at_fork'):
  os.register_at_fork(after_in_child=_after_fork)


def refuse_forked() -> None:
  """Called where JAX is about to compute.

  Raises:
    ResourceError: this process was forked after JAX started, so that JAX would wait for ever.
  """
  if _forked:
    raise ResourceError(
      'this process was forked after JAX started, so JAX would hang in it; start it with '
      "multiprocessing.get_context('spawn'), or use jobs.run with Options(workers=N)"
    )
