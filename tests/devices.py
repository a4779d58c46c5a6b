# SPDX-License-Identifier: Apache-2.0
"""Programs of tests on simulated devices, whose number must be known before JAX is imported."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

_FLAGS = (  # compiled fast, run slowly
  '--xla_force_host_platform_device_count=8',
  '--xla_backend_optimization_level=0',
  '--xla_llvm_disable_expensive_passes=true',
)


def arrays_of(program: ModuleType, folder: Path, *arguments: str) -> dict[str, np.ndarray]:
  """What a program of this folder, `python PROGRAM RESULT.npz ARGUMENTS`, writes where there are eight devices."""
  flags = ' '.join((os.environ.get('XLA_FLAGS', ''), *_FLAGS))
  result, here = folder / 'result.npz', Path(program.__file__)
  subprocess.run(
    [sys.executable, str(here), str(result), *arguments],
    check=True,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    cwd=here.parents[1],
  )
  return dict(np.load(result))
