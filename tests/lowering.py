# SPDX-License-Identifier: Apache-2.0
"""Programs for GPUs and TPUs that need not be here, and the kernels in them."""

from collections.abc import Callable
from typing import Any

import jax
from jax import export
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

from alphafold_jax import compiled_once

PLATFORMS = ('cuda', 'tpu')
_CALLS = {  # what a kernel is in a program, by version of jax
  'cuda': ('__gpu$xla.gpu.triton', 'triton_kernel_call_ffi'),
  'tpu': ('tpu_custom_call',),
}
# jax 0.12 lowers Triton kernels only for a GPU that is there or stated, jax 0.10 for compute capability 9.0 by itself.
_H100 = AbstractMesh(
  (1,), ('x',), (AxisType.Explicit,), abstract_device=AbstractDevice('NVIDIA H100', num_cores=132, platform='gpu')
)


def exported(platform: str, function: Callable[..., Any], *shapes: Any) -> export.Exported:
  """A function of arrays with these shapes, lowered for a platform with the kernels that kept programs may hold."""
  with use_abstract_mesh(_H100):
    return exported_for_no_device(platform, function, *shapes)


def exported_for_no_device(platform: str, function: Callable[..., Any], *shapes: Any) -> export.Exported:
  """The same where no device is stated: cuDNN's attention, which is partitioned by XLA, cannot be lowered for one."""
  return export.export(jax.jit(function), platforms=[platform], disabled_checks=compiled_once.allowed_calls())(*shapes)


def count_kernels(platform: str, text: str) -> int:
  """How many of our kernels a lowered program calls."""
  return sum(text.count(f'custom_call @{name}(') for name in _CALLS[platform])
