# SPDX-License-Identifier: Apache-2.0
"""Which dtype predictions are computed in where nobody chose one, by what was measured on this machine. Needs no JAX.

GPUs and TPUs compute the trunk in bfloat16. Most CPUs are faster in float32; some have a unit for products of bfloat16,
and no flag of a processor says whether the network gains by it. So it is measured (`tuning.measure_dtype`), once for
each kind of machine, and kept in the user's cache:

    alphafold_jax/tuning/dtype-{digest}.json    ratios, for one processor, its number, versions and flags of XLA
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders, installed, locks, machine, untrusted
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
ENOUGH = 1.3  # times as fast as float32 is what bfloat16 must be; below that it is not worth another rounding
WORTH = 6e12  # floating-point operations ahead, a minute of two cores, for which some seconds of measuring pay
TURNS, FEWEST = 7, 5
_LONGEST = 4.0  # s in turns, after which the fewest do
_SPREAD = 0.25  # of the median, that the middle half of undisturbed ratios lies within
_PATIENCE, _POLL = 60.0, 0.05  # s that another process may measure, which may be suspended
_AGAIN = 'the next long run measures again'
Seconds = Callable[[str], float]  # runs something in a dtype; how long it took


@dataclasses.dataclass(frozen=True)
class DtypeChoice:
  """The dtype of the trunk, and why it is this one."""

  dtype: str
  why: str

  def __str__(self) -> str:
    return f'{self.dtype}; {self.why}'


def default(backend: str, work: float = 0.0, measure: Callable[[], 'Measurement'] | None = None) -> DtypeChoice:
  """The dtype of predictions, and why.

  What was measured on this kind of machine holds. Measuring takes some seconds, so it is done only for work that is
  WORTH it, of which bfloat16 would save more; less than that is computed in float32. Where nothing can be kept, every
  run of that much work measures, and says so. A disturbed measurement is not kept, and bfloat16 not used by it.

  Args:
    backend: of JAX, such as 'cpu'.
    work: floating-point operations that lie ahead.
    measure: `tuning.measure_dtype`, or what stands for it; None: nothing is measured.
  """
  if backend != 'cpu':
    return DtypeChoice('bfloat16', 'as on every GPU and TPU')
  path = folders.user_cache('tuning') / file_name()
  if kept := read(path):
    return kept.choice
  if measure is None or work < WORTH:
    return DtypeChoice('float32', 'whether bfloat16 is faster on this CPU is measured by runs of a minute or more')
  with _alone(path):
    if kept := read(path):  # another process has measured meanwhile
      return kept.choice
    _log.info('measuring once whether bfloat16 is faster than float32 on this CPU')
    try:
      found = measure()
    except Exception as error:  # whatever compiling leads to; float32 may do nevertheless
      why = f'whether bfloat16 is faster on this CPU could not be measured ({type(error).__name__}: {error})'
      return DtypeChoice('float32', f'{why}; {_AGAIN}')
    return _kept(path, found) if found.decisive.is_steady else found.choice


# ------------------------------------------------------------------------------------------ what was measured


@dataclasses.dataclass(frozen=True)
class Turns:
  """How many times as fast as float32 bfloat16 was, in each of some turns."""

  ratios: tuple[float, ...]

  @property
  def median(self) -> float:
    return statistics.median(self.ratios)

  @property
  def is_steady(self) -> bool:
    """Whether nothing disturbed them: the middle half lies close together, and both halves say the same."""
    low, _, high = statistics.quantiles(self.ratios, n=4)
    half = len(self.ratios) // 2
    said = [statistics.median(part) >= ENOUGH for part in (self.ratios[:half], self.ratios[half:])]
    return high - low <= _SPREAD * self.median and said[0] == said[1]

  @property
  def pays(self) -> bool:
    return self.is_steady and self.median >= ENOUGH

  def __str__(self) -> str:
    return f'{min(self.ratios):.2f} to {max(self.ratios):.2f} in {len(self.ratios)} turns'


def in_turns(seconds: Seconds) -> Turns:
  """Times float32 and bfloat16 one after the other, several times, so that what slows both down cancels."""
  ratios: list[float] = []
  total = 0.0
  while len(ratios) < (TURNS if total < _LONGEST else FEWEST):
    exact, rounded = seconds('float32'), seconds('bfloat16')
    ratios.append(exact / rounded)
    total += exact + rounded
  return Turns(tuple(ratios))


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What was timed on a CPU."""

  product: Turns  # one large product, without a gain in which the network can have none
  network: Turns | None = None  # operations of the network; None: the product alone decides

  @property
  def decisive(self) -> Turns:
    return self.network or self.product

  @property
  def choice(self) -> DtypeChoice:
    """bfloat16 if it pays, without any doubt; else float32."""
    found = self.decisive
    times, figures = f'{found.median:.2f} times as fast', f'{found} of {"the network" if self.network else "products"}'
    if not found.is_steady:
      why = f'whether bfloat16 is faster on this CPU could not be measured beside other work ({times}, {figures})'
      return DtypeChoice('float32', f'{why}; {_AGAIN}')
    if found.pays:
      return DtypeChoice('bfloat16', f'{times} as float32 on this CPU ({figures})')
    return DtypeChoice('float32', f'bfloat16 is {times} on this CPU ({figures}), and pays from {ENOUGH:g} on')


# ------------------------------------------------------------------------------------------ remembering


def file_name() -> str:
  """Of what is kept for this machine: another for whatever may change the answer, such as flags that XLA is given."""
  conditions = (
    *(__version__, installed.version('jax'), installed.version('jaxlib')),
    *(platform.machine(), machine.processor_abilities(), machine.num_processors()),
    *sorted(os.environ.get('XLA_FLAGS', '').split()),
  )
  return f'dtype-{hashlib.sha256("|".join(map(str, conditions)).encode()).hexdigest()[:12]}.json'


def read(path: Path) -> Measurement | None:
  """The measurement of an earlier run; None if there is none, it is damaged, or it would not be kept today."""
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    found = Measurement(_turns(content['product']), _turns(content['network']) if content['network'] else None)
    return found if found.decisive.is_steady else None
  except (OSError, ValueError, TypeError, KeyError):
    return None


def _turns(ratios: Sequence[Any]) -> Turns:
  if len(ratios) < FEWEST or not all(isinstance(ratio, float) and 1e-3 < ratio < 1e3 for ratio in ratios):
    raise ValueError('not what was measured')
  return Turns(tuple(ratios))


def _kept(path: Path, found: Measurement) -> DtypeChoice:
  """Keeps a measurement for later runs; the choice that follows from it says so where that cannot be."""
  content = {'product': found.product.ratios, 'network': found.network and found.network.ratios}
  try:
    atomic.write_text(path, json.dumps(content) + '\n')
    return found.choice
  except AlphaFoldError as error:
    why = f'{found.choice.why}; this cannot be kept ({error}), so {_AGAIN}'
    return DtypeChoice(found.choice.dtype, why)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
  """Lets one process of a machine measure at a time, where there are locks; the others then find what it kept."""
  until = time.monotonic() + _PATIENCE
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError, AlphaFoldError):  # nothing can be kept there either
      atomic.make_folder(path.parent)
      file = stack.enter_context(open(path.with_suffix('.lock'), 'w'))
      while locks.take(file) is False and time.monotonic() < until:
        time.sleep(_POLL)
    yield
