# SPDX-License-Identifier: Apache-2.0
"""OpenMM and pdbfixer as they are on this machine: missing or broken ones are met before hours are spent.

They are loaded in processes of their own alone, which are given what `environment` says.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import alphafold_jax
from alphafold_jax.errors import InputError, how_to_install

PACKAGES = ('openmm', 'pdbfixer')
WORKER = 'alphafold_jax.relaxation.worker'
_PATIENCE = 60.0  # seconds; on a slow disk loading takes long, and is no fault


def check_installed(*, tried: bool = False) -> None:
  """Refuses to begin where OpenMM or pdbfixer is missing.

  Args:
    tried: also load both, in a process of its own, which takes about a second, and look for OpenMM's platform of CPUs.

  Raises:
    InputError: one is missing or broken; the message says what to install.
  """
  if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
    verb = 'is' if len(missing) == 1 else 'are'
    raise InputError(
      f'relaxation needs {" and ".join(PACKAGES)}, the extra alphafold-jax[relax]; {" and ".join(missing)} {verb} not '
      f'installed; {how_to_install("relax")}'
    )
  if tried and (fault := _fault()):
    raise InputError(f'relaxation needs {" and ".join(PACKAGES)}, the extra alphafold-jax[relax]; {fault}')


def _fault() -> str | None:
  """What a process that loads them says of it; None: all is well."""
  try:
    tried = subprocess.run(
      [sys.executable, '-m', WORKER],
      capture_output=True,
      encoding='utf-8',
      errors='replace',
      stdin=subprocess.DEVNULL,
      env=environment(1),
      timeout=_PATIENCE,
      check=False,
    )
  except subprocess.TimeoutExpired:
    return None
  if tried.returncode == 0:
    return None
  remedy = f'{how_to_install("relax")} anew'
  return tried.stdout.strip() or f'a process that loads them {how_it_ended(tried.returncode, tried.stderr)}; {remedy}'


def environment(threads: int) -> dict[str, str]:
  """The variables of a process that relaxes: it finds the packages that this one does, and uses so many threads."""
  paths: Sequence[str | None] = (os.environ.get('PYTHONPATH'), str(Path(alphafold_jax.__file__).parents[1]))
  return os.environ | {
    'PYTHONPATH': os.pathsep.join(filter(None, paths)),
    'OPENMM_CPU_THREADS': os.environ.get('OPENMM_CPU_THREADS', str(threads)),
  }


def how_it_ended(code: int, said: str) -> str:
  """'was ended by SIGKILL (...)', or 'ended with exit code 1: the last line that it said'."""
  if code < 0:
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'
    return f'was ended by {name} (memory that ran out, somebody, or a driver)'
  lines = [line.strip() for line in said.splitlines() if line.strip()]
  return f'ended with exit code {code}{f": {lines[-1][:300]}" if lines else ""}'
