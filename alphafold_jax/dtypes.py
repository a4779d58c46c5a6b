# SPDX-License-Identifier: Apache-2.0
"""Which dtype predictions are computed in on this machine where nobody chose one: measured once, and kept on disk.

GPUs and TPUs compute the trunk in bfloat16. Most CPUs are faster in float32; some have a unit for products of bfloat16,
and no flag of a processor says whether the network gains by it. So float32 and bfloat16 are timed in turns, first on
one large product, since without a gain there the network can have none, then on the operations of a block.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import atomic, devices, locks, machine, tuning, untrusted
from alphafold_jax.errors import AlphaFoldError

ENOUGH = 1.3  # times as fast as float32 is what bfloat16 must be; below that it is not worth another rounding
WORTH = 6e12  # floating-point operations ahead, a minute of two cores, for which some seconds of measuring pay
_SPREAD = 0.25  # of the median, that the middle half of undisturbed ratios lies within
_TURNS, _FEWEST = 7, 5
_LONGEST = 4.0  # s in turns, after which the fewest do
_PRODUCT = 1024, 2048, 1024
_ROWS, _RESIDUES = 64, 96
_BLOCK = (  # operation, channels, how often a block of the Evoformer computes the like of it
  ('self_attention', 256, 3),
  ('transition', 256, 1),
  ('outer_product_mean', 128, 1),
  ('triangle_multiplication', 128, 2),
)
Seconds = Callable[[str], float]  # runs something in a dtype, compiled before; how long it took


@dataclasses.dataclass(frozen=True)
class DtypeChoice:
  """The dtype of the trunk, and why it is this one."""

  dtype: str
  why: str

  def __str__(self) -> str:
    return f'{self.dtype}; {self.why}'


@functools.cache
def here() -> str:
  """The dtype of predictions on the default device: on CPUs bfloat16 if an earlier run measured that it pays.

  It is looked up once, so that nothing changes within a process, and nothing is measured for it.
  """
  return default().dtype


def default(work: float = 0.0, measured: Callable[[], 'Measurement'] | None = None) -> DtypeChoice:
  """The dtype of predictions on the default device, and why.

  What was measured on this kind of machine holds. Measuring takes some seconds, so it is done only for work that is
  WORTH it, of which bfloat16 would save more; less than that is computed in float32. Where nothing can be kept, every
  run of that much work measures, and says so.

  Args:
    work: floating-point operations that lie ahead; 0: nothing is measured.
    measured: what measures; by default `measure`.
  """
  if jax.default_backend() != 'cpu':
    return DtypeChoice(devices.default_dtype(), 'as on every GPU and TPU')
  folder = devices.cache_folder()
  path = folder and folder / _file_name()
  with _alone(path) if work >= WORTH else contextlib.nullcontext():
    if path and (kept := read(path)):
      return kept.choice
    if work < WORTH:
      return DtypeChoice('float32', 'whether bfloat16 is faster on this CPU is measured when there is more to compute')
    found = (measured or measure)()
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


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What was timed on a CPU."""

  product: Turns
  network: Turns | None = None  # None: the product alone decides

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
      return DtypeChoice('float32', f'{why}; the next run measures again')
    if found.pays:
      return DtypeChoice('bfloat16', f'{times} as float32 on this CPU ({figures})')
    return DtypeChoice('float32', f'bfloat16 is {times} on this CPU ({figures}), and pays from {ENOUGH:g} on')


def measure(product: Seconds | None = None, network: Seconds | None = None) -> Measurement:
  """Measures whether bfloat16 pays on this CPU; takes a third of a second where it cannot, else some seconds.

  Args:
    product: runs one large product.
    network: runs operations of the network, weighted as in a block; asked only where the product pays.
  """
  first = in_turns(product or _product())
  return Measurement(first, in_turns(network or _block()) if first.pays else None)


def in_turns(seconds: Seconds) -> Turns:
  """Times float32 and bfloat16 one after the other, several times, so that what slows both down cancels."""
  ratios: list[float] = []
  total = 0.0
  while len(ratios) < (_TURNS if total < _LONGEST else _FEWEST):
    exact, rounded = seconds('float32'), seconds('bfloat16')
    ratios.append(exact / rounded)
    total += exact + rounded
  return Turns(tuple(ratios))


def _product() -> Seconds:
  """One product by the door that leads to such a unit: bfloat16 in, float32 out."""
  m, k, n = _PRODUCT
  draw = np.random.default_rng(0)
  left, right = draw.normal(size=(m, k)), draw.normal(size=(k, n))

  def program(dtype: str) -> tuple[Callable, tuple]:
    run = jax.jit(functools.partial(jnp.dot, preferred_element_type=jnp.float32))
    return run, (jnp.asarray(left, dtype), jnp.asarray(right, dtype))

  return _seconds(lambda dtype: [(1, *program(dtype))])


def _block() -> Seconds:
  """The operations of a block of the Evoformer, by `ops` as predictions call them."""

  def programs(dtype: str) -> Iterator[tuple[int, Callable, tuple]]:
    for name, channels, count in _BLOCK:
      sizes = {'rows': _ROWS, 'residues': _RESIDUES, 'channels': channels, 'heads': channels // 32, 'outer': 32}
      run, arguments = tuning.problems(sizes)[name](tuning.Draw(dtype))
      yield count, jax.jit(run), arguments

  return _seconds(programs)


def _seconds(make: Callable[[str], Any]) -> Seconds:
  """Times programs, each given with how often it counts, compiled and warmed up in both dtypes."""
  made = {dtype: list(make(dtype)) for dtype in ('float32', 'bfloat16')}
  with ThreadPoolExecutor() as pool:  # compiling is most of it
    list(pool.map(lambda program: tuning.timed(*program[1:]), (*made['float32'], *made['bfloat16'])))
  return lambda dtype: sum(count * tuning.timed(run, arguments) for count, run, arguments in made[dtype])


# ------------------------------------------------------------------------------------------ remembering


def _file_name() -> str:
  """Of what is kept in the folder of this kind of machine: XLA's flags and fewer processors may change the answer."""
  conditions = [*sorted(os.environ.get('XLA_FLAGS', '').split()), str(machine.num_processors())]
  return f'dtype-{hashlib.sha256(" ".join(conditions).encode()).hexdigest()[:12]}.json'


def read(path: Path) -> Measurement | None:
  """The measurement of an earlier run; None if there is none, it is damaged, or it would not be kept today."""
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    found = Measurement(_turns(content['product']), _turns(content['network']) if content['network'] else None)
    return found if found.decisive.is_steady else None
  except (OSError, ValueError, TypeError, KeyError):
    return None


def _turns(ratios: Sequence[Any]) -> Turns:
  if len(ratios) < _FEWEST or not all(isinstance(ratio, float) and 1e-3 < ratio < 1e3 for ratio in ratios):
    raise ValueError('not what was measured')
  return Turns(tuple(ratios))


def _kept(path: Path | None, found: Measurement) -> DtypeChoice:
  """Keeps a measurement for later runs; the choice that follows from it says so where that cannot be."""
  why = 'no cache folder can be written'
  try:
    if path:
      content = {'product': found.product.ratios, 'network': found.network and found.network.ratios}
      atomic.write_text(path, json.dumps(content) + '\n')
      return found.choice
  except (AlphaFoldError, OSError) as error:
    why = str(error)
  remedy = f'this cannot be kept for later runs, which measure again ({why})'
  return dataclasses.replace(found.choice, why=f'{found.choice.why}; {remedy}')


@contextlib.contextmanager
def _alone(path: Path | None) -> Iterator[None]:
  """Lets one process of a machine measure at a time, where there are locks; the others then find what it kept."""
  with contextlib.ExitStack() as stack:
    if path:
      with contextlib.suppress(OSError):
        locks.take(stack.enter_context(open(path.with_suffix('.lock'), 'w')), wait=True)
    yield
