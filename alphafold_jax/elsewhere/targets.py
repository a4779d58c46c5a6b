# SPDX-License-Identifier: Apache-2.0
"""The machines that programs are compiled for without being there: their published facts, and their names.

Of GPUs the compiler wants the facts itself, as the text of XLA's GpuTargetConfigProto. Loads without JAX.
"""

import dataclasses
import difflib
import math
import re
from typing import Any, NamedTuple

from alphafold_jax import machine
from alphafold_jax.errors import InputError

TPU, CUDA = 'tpu', 'cuda'
SHARE_OF_TRAINING = 0.75  # of a GPU's memory, JAX's own default
_GIB, _MIB = 2**30, 2**20


class Chip(NamedTuple):
  """A TPU chip, which is one device of JAX."""

  num_sides: int  # of its topologies
  memory: int  # bytes
  kept: int  # bytes of it that programs cannot have, by the compiler: what it says when it refuses one
  peak: float  # bfloat16 operations a second
  bandwidth: float  # bytes of memory a second
  link: float  # bytes a second to other chips, each way: half of what is published for both
  source: str
  has_pairs: bool = False  # of cores, which JAX has as one device


class Gpu(NamedTuple):
  """An NVIDIA GPU as its driver describes it."""

  full_name: str
  capability: tuple[int, int]  # compute capability
  memory: int  # bytes, as the driver gives them: a few per cent less than its name says
  peak: float  # operations a second in bfloat16, without sparsity; of one without bfloat16 in float16
  bandwidth: float  # bytes of memory a second
  link: float  # bytes a second to other GPUs, each way: half of what is published for both
  cores: int  # streaming multiprocessors
  clock: float  # GHz
  l2_cache: int  # bytes
  source: str


class Capability(NamedTuple):
  """What all GPUs of a compute capability share; CUDA C++ Programming Guide, technical specifications."""

  shared_memory: int  # bytes of a multiprocessor
  shared_memory_of_block: int  # bytes, the most that a block may ask for
  threads: int  # of a multiprocessor
  float_units: int  # float32, of a multiprocessor


_CLOUD = 'docs.cloud.google.com/tpu/docs/'
_LINKS_OF_V4 = 'Jouppi et al. 2023, arXiv 2304.01433: six links of 50 GB/s'
CHIPS: dict[str, Chip] = {
  'v4': Chip(3, 32 * _GIB, int(1.25 * _GIB), 275e12, 1200e9, 300e9, f'{_CLOUD}v4; {_LINKS_OF_V4}', has_pairs=True),
  'v5e': Chip(2, 16 * _GIB, int(0.25 * _GIB), 197e12, 819e9, 200e9, f'{_CLOUD}v5e'),
  'v5p': Chip(3, 95 * _GIB, 0, 459e12, 2765e9, 600e9, f'{_CLOUD}v5p', has_pairs=True),  # its compiler gives 95.73
  'v6e': Chip(2, 32 * _GIB, int(0.75 * _GIB), 918e12, 1638e9, 400e9, f'{_CLOUD}v6e'),
}
_PRODUCTS_OF_FLOAT32 = 6  # of bfloat16 parts, for a product of float32 on a TPU: XLA's precision "highest"
_XLA = 'xla/backends/gpu/target_config/specs/'  # of github.com/openxla/xla: what drivers say
_ADA = 'Ada Tuning Guide (cache); nvidia-smi (memory)'
# Links by the datasheets, GB/s of both ways together: NVLink has 900 on H100 and H200, 600 on A100, 1,800 on B200;
# PCIe with 16 lanes have 64 (L40S and L4, generation 4) and 32 (T4, generation 3).
GPUS: dict[str, Gpu] = {
  'b200': Gpu(
    'NVIDIA B200', (10, 0), 191_514_411_008, 2.225e15, 7.672e12, 900e9, 148, 1.965, 132_644_864, f'{_XLA}b200.txtpb'
  ),
  'h200': Gpu('NVIDIA H200', (9, 0), 151_397_597_184, 989e12, 4.8e12, 450e9, 132, 1.98, 50 * _MIB, f'{_XLA}h200.txtpb'),
  'h100': Gpu(
    'NVIDIA H100 80GB HBM3',
    (9, 0),
    84_942_979_072,
    989e12,
    3.352e12,
    450e9,
    132,
    1.98,
    50 * _MIB,
    f'{_XLA}h100_sxm.txtpb',
  ),
  'a100-80': Gpu(
    'NVIDIA A100-SXM4-80GB',
    (8, 0),
    85_100_068_864,
    312e12,
    2.039e12,
    300e9,
    108,
    1.41,
    40 * _MIB,
    f'{_XLA}a100_sxm_80.txtpb',
  ),
  'a100-40': Gpu(
    'NVIDIA A100-SXM4-40GB',
    (8, 0),
    42_331_013_120,
    312e12,
    1.555e12,
    300e9,
    108,
    1.41,
    40 * _MIB,
    f'{_XLA}a100_sxm_40.txtpb',
  ),
  'l40s': Gpu(
    'NVIDIA L40S', (8, 9), 46_068 * _MIB, 362e12, 864e9, 32e9, 142, 2.52, 96 * _MIB, f'datasheet of L40S; {_ADA}'
  ),
  'l4': Gpu('NVIDIA L4', (8, 9), 23_034 * _MIB, 121e12, 300e9, 32e9, 58, 2.04, 48 * _MIB, f'datasheet of L4; {_ADA}'),
  't4': Gpu(
    'Tesla T4', (7, 5), 15_360 * _MIB, 65e12, 320e9, 16e9, 40, 1.59, 4 * _MIB, 'datasheet of T4; nvidia-smi (memory)'
  ),
}
CAPABILITIES: dict[tuple[int, int], Capability] = {
  (7, 5): Capability(65_536, 65_536, 1024, 64),
  (8, 0): Capability(167_936, 166_912, 2048, 64),
  (8, 9): Capability(102_400, 101_376, 1536, 128),
  (9, 0): Capability(233_472, 232_448, 2048, 128),
  (10, 0): Capability(233_472, 232_448, 2048, 128),
}
_SLICES = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')  # of two sides; docs.cloud.google.com, as above
_MOST_CHIPS = 6144  # of slices with three sides, the largest of a v5p: 16x16x24
_MOST_GPUS = 16  # of a host
_CUDNN = (9, 8)  # the version that the compiler is told of: fused attention needs 9


@dataclasses.dataclass(frozen=True)
class Machine:
  """A machine to compile for."""

  name: str  # 'v5e:2x2', 'h200', 'h200:8'
  kind: str  # its name in the tables
  platform: str  # TPU or CUDA
  num_devices: int
  memory: int  # bytes of a device
  peak: float  # operations a second of a device, in bfloat16
  bandwidth: float  # bytes of memory a second
  source: str  # of these facts
  options: dict[str, Any] = dataclasses.field(repr=False, hash=False)  # of jax.experimental.topologies
  link: float = math.inf  # bytes a second to the other devices, each way, over all links together
  num_links: int = 1  # of a device
  peak_float32: float = math.inf  # operations a second on matrix units that round float32 factors
  exact_float32: float = math.inf  # operations a second without such rounding
  kept: int = 0  # bytes of a device that programs cannot have

  def available(self, share: float = machine.GPU_SHARE) -> int:
    """Bytes of a device that JAX may have: of a GPU a share of its memory, of a TPU all that is not kept."""
    return int(self.memory * share) if self.platform == CUDA else self.memory - self.kept

  def __str__(self) -> str:
    facts = f'{self.memory / _GIB:.1f} GiB, {self.peak / 1e12:,.0f} TFLOP/s, {self.bandwidth / 1e9:,.0f} GB/s each'
    return f'{self.name}: {self.num_devices} x {self.kind}, {facts} ({self.source})'


def parse(text: str) -> Machine:
  """Reads `v5e:16x16`, the topology of a TPU, or `h200` or `h200:8`, GPUs of one host.

  Raises:
    InputError: there is no such machine, or its size has another form.
  """
  kind, _, size = text.strip().lower().partition(':')
  if kind in CHIPS:
    return _tpu(kind, size)
  if kind in GPUS:
    return _gpus(kind, size)
  names = (*CHIPS, *GPUS)
  near = difflib.get_close_matches(kind, names, 1, 0.5)
  meant = f'did you mean {near[0]}? ' if near else ''
  examples = 'a TPU with its topology such as v5e:2x2, or a GPU such as h200 or h200:8'
  raise InputError(f'{text}: no such machine; {meant}Known are {", ".join(names)}: give {examples}')


def _tpu(kind: str, size: str) -> Machine:
  chip = CHIPS[kind]
  if not re.fullmatch('x'.join([r'[1-9]\d*'] * chip.num_sides), size):
    form, example = 'x'.join('ABC'[: chip.num_sides]), 'x'.join('221'[: chip.num_sides])
    given = f'has the size {size!r}' if size else 'has no size'
    raise InputError(f'{kind}: its topology {given}; give {kind}:{form}, such as {kind}:{example}')
  sides = [int(side) for side in size.split('x')]
  num_devices = math.prod(sides)
  if chip.num_sides == 2 and size not in _SLICES:
    raise InputError(f'{kind}:{size}: there is no such slice; there are {", ".join(_SLICES)}')
  if num_devices > _MOST_CHIPS or any(side % 4 and side > 2 for side in sides):
    raise InputError(
      f'{kind}:{size}: there is no such slice; sides are 1, 2 or multiples of 4, and chips at most {_MOST_CHIPS:,}'
    )
  name = f'{kind}:{size}'
  options: dict[str, Any] = {'topology_name': name}
  if min(sides[:2]) == 1:  # less than the four chips that a host has otherwise
    options['chips_per_host_bounds'] = (min(sides[0], 2), min(sides[1], 2), 1)
  if chip.has_pairs:
    options['chip_config_name'] = 'megacore'
  return Machine(
    name, kind, TPU, num_devices, chip.memory, chip.peak, chip.bandwidth, chip.source, options, chip.link,
    2 * chip.num_sides, peak_float32=chip.peak, exact_float32=chip.peak / _PRODUCTS_OF_FLOAT32, kept=chip.kept,
  )  # fmt: skip


def _gpus(kind: str, size: str) -> Machine:
  gpu = GPUS[kind]
  if not re.fullmatch(r'([1-9]\d{0,2})?', size):
    raise InputError(f'{kind}:{size}: {size!r} is no number of GPUs; give {kind}, or {kind}:8 for eight in one host')
  num_devices = int(size or 1)
  if num_devices > _MOST_GPUS:
    raise InputError(f'{kind}:{size}: no host has so many; give at most {_MOST_GPUS}')
  name = f'{kind}:{num_devices}' if num_devices > 1 else kind
  options = {'topology_name': kind, 'topology': f'1x{num_devices}x1', 'target_config': gpu_config(gpu)}
  exact = 2 * gpu.cores * CAPABILITIES[gpu.capability].float_units * gpu.clock * 1e9
  return Machine(
    name, kind, CUDA, num_devices, gpu.memory, gpu.peak, gpu.bandwidth, gpu.source, options, gpu.link,
    peak_float32=gpu.peak / 2 if gpu.capability >= (8, 0) else exact, exact_float32=exact,
  )  # fmt: skip


def gpu_config(gpu: Gpu) -> str:
  """The text of XLA's GpuTargetConfigProto for a GPU."""
  major, minor = gpu.capability
  each, cudnn = CAPABILITIES[gpu.capability], dict(zip(('major', 'minor'), _CUDNN))
  info: dict[str, Any] = {
    'threads_per_block_limit': 1024,
    'threads_per_warp': 32,
    'shared_memory_per_block': 49_152,
    'shared_memory_per_block_optin': each.shared_memory_of_block,
    'shared_memory_per_core': each.shared_memory,
    'threads_per_core_limit': each.threads,
    'registers_per_core_limit': 65_536,
    'registers_per_block_limit': 65_536,
    'block_dim_limit_x': 2**31 - 1,
    'block_dim_limit_y': 65_535,
    'block_dim_limit_z': 65_535,
    'core_count': gpu.cores,
    'fpus_per_core': each.float_units,
    'clock_rate_ghz': gpu.clock,
    'l2_cache_size': gpu.l2_cache,
    'memory_bandwidth': int(gpu.bandwidth),
    'device_memory_size': gpu.memory,
    'cuda_compute_capability': {'major': major, 'minor': minor},
  }
  config = {
    'gpu_device_info': info,
    'platform_name': 'CUDA',
    'dnn_version_info': cudnn,
    'device_description_str': gpu.full_name,
  }
  return _proto(config)


def _proto(fields: dict[str, Any]) -> str:
  """Fields as the text of a protocol buffer."""
  parts = []
  for name, value in fields.items():
    if isinstance(value, dict):
      parts.append(f'{name} {{ {_proto(value)} }}')
    else:
      parts.append(f'{name}: "{value}"' if isinstance(value, str) else f'{name}: {value}')
  return ' '.join(parts)
