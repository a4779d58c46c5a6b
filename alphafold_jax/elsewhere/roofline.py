# SPDX-License-Identifier: Apache-2.0
"""How long a run of a compiled program should take on a machine that is not here: a range, expected and not measured.

The low end is the longest of what the program cannot do without: its matrix products at the peak, its traffic at the
memory's bandwidth, its exchanges at the links', each hiding the others. At the high end nothing hides anything, each
reaches a share of what is published, and short instructions take as long as it takes to launch one.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from alphafold_jax.elsewhere.counting import WorkCount
from alphafold_jax.elsewhere.products import EXACT
from alphafold_jax.elsewhere.reading import ProgramContents
from alphafold_jax.elsewhere.targets import CUDA, TPU, Machine
from alphafold_jax.screen import number

NOTE = 'expected, not measured'
SHARE_OF_PEAK = 0.4  # products of 32 to 256 summed channels do not fill matrix units that large ones fill to 0.6 or 0.8
SHARE_OF_BANDWIDTH = 0.6  # plain copies reach 0.9, on an H200; transposes and sums over rows less
SHARE_OF_LINKS = 0.4  # exchanges of a few MiB among GPUs; large sums reach 0.8
_SHARE_OF_ONE_LINK = 0.8  # which is what two neighbouring TPU chips have between them of each one's four or six
SECONDS_OF_A_LAUNCH = {CUDA: 5e-6}  # to launch a kernel, while the one before runs; on TPUs programs run by themselves
_ELSEWHERE = 1e-6
FIELDS = (  # of a report
  'expected_seconds', 'bound', 'parts_of_low_end', 'parts_of_high_end', 'flops', 'traffic_bytes', 'launches',
  'kernels_without_count', 'assumptions',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Expectation:
  """Seconds of a run of a program."""

  published: Mapping[str, float]  # of compute, memory, links at published rates; the low end is the longest
  parts: Mapping[str, float]  # of these and of launches as assumed; the high end is the sum
  work: WorkCount
  share_of_links: float  # that was assumed

  @property
  def low(self) -> float:
    """Seconds if all hides behind the longest part."""
    return max(self.published.values())

  @property
  def high(self) -> float:
    """Seconds if nothing hides anything."""
    return sum(self.parts.values())

  @property
  def bound(self) -> str:
    """The largest part."""
    return max(self.parts, key=lambda name: self.parts[name])

  def said(self, run: str) -> str:
    """Lines for people; `run` is what is run: 'a pass', 'a step'."""
    work, parts = self.work, sorted(self.parts.items(), key=lambda part: -part[1])
    most_first = sorted(work.flops.items(), key=lambda each: -each[1])
    products = ', '.join(f'{_rounded(flops / 1e12, 3):,g} in {dtype}' for dtype, flops in most_first)
    sums = ', '.join(f'{name} {_seconds(seconds)}' for name, seconds in parts if seconds)
    lines = [
      f'expected     {_seconds(self.low)} to {_seconds(self.high)} {run}, not measured: bound by {self.bound}; at most '
      f'{sums}',
      f'             TFLOP: {products or "none"}; {_bytes(work.traffic)} of traffic; {work.launches:,} launches',
    ]
    if work.unknown:
      kernels = ', '.join(f'{name} in {number(places, "place")}' for name, places in work.unknown.items())
      lines.append(f'             products not counted of {kernels}')
    if work.is_least:
      lines.append('             loops of unknown length counted once')
    return '\n'.join(lines)

  def as_json(self) -> dict[str, Any]:
    """The fields of a report."""
    work = self.work
    return {
      'expected_seconds': [_rounded(self.low), _rounded(self.high)],
      'bound': self.bound,
      'parts_of_low_end': {name: _rounded(seconds) for name, seconds in self.published.items()},
      'parts_of_high_end': {name: _rounded(seconds) for name, seconds in self.parts.items()},
      'flops': dict(work.flops),
      'traffic_bytes': work.traffic,
      'launches': work.launches,
      'kernels_without_count': dict(work.unknown),
      'assumptions': {
        'note': NOTE,
        'share_of_peak': SHARE_OF_PEAK,
        'share_of_bandwidth': SHARE_OF_BANDWIDTH,
        'share_of_links': _rounded(self.share_of_links),
        'loops_of_unknown_length_run_once': work.is_least,
      },
    }


def _seconds(seconds: float) -> str:
  """0.00123 -> '1.2 ms', 12.34 -> '12 s'."""
  scale, unit = (1, 's') if seconds >= 1 else (1e3, 'ms')
  return f'{float(f"{seconds * scale:.2g}"):,g} {unit}'


def _bytes(size: int) -> str:
  """17329100000000 -> '17.3 TB'."""
  scale, unit = (1e12, 'TB') if size >= 1e12 else (1e9, 'GB') if size >= 1e9 else (1e6, 'MB')
  return f'{size / scale:.3g} {unit}'


def _rounded(value: float, digits: int = 4) -> float:
  return float(f'{value:.{digits}g}')


def expected(machine: Machine, work: WorkCount, contents: ProgramContents) -> Expectation:
  """The range for one device's work on a machine, exchanges with others included."""
  rates = {'float32': machine.peak_float32, f'{EXACT}float32': machine.exact_float32, 'float64': machine.exact_float32}
  received = sum(one.bytes for one in contents.collectives.values())
  published = {
    'compute': sum(flops / rates.get(dtype, machine.peak) for dtype, flops in work.flops.items()),
    'memory': work.traffic / machine.bandwidth,
    'links': received / machine.link,
  }
  to_launch = SECONDS_OF_A_LAUNCH.get(machine.platform, _ELSEWHERE)
  bandwidth = machine.bandwidth * SHARE_OF_BANDWIDTH
  share_of_links = _SHARE_OF_ONE_LINK / machine.num_links if machine.platform == TPU else SHARE_OF_LINKS
  parts = {
    'compute': published['compute'] / SHARE_OF_PEAK,
    'memory': published['memory'] / SHARE_OF_BANDWIDTH,
    'links': published['links'] / share_of_links,
    'launches': sum(max(0.0, one.times * to_launch - one.traffic / bandwidth) for one in work.launched),
  }
  return Expectation(published, parts, work, share_of_links)
