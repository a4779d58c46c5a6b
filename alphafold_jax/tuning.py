# SPDX-License-Identifier: Apache-2.0
"""What is fastest on this machine, tried once and kept on disk: kernels on accelerators, the dtype on CPUs.

Every row of every operation is run on one problem of the network's own sizes, compared with the reference in float32,
and timed. A kernel that cannot run, raises or computes something else is left out, with its reason. Of dtypes.py's
decision this file has the measurement.
"""

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import atomic, devices, dtypes, ops, untrusted
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.ops import seam

_log = logging.getLogger(__name__)
_TOLERANCE = 0.03  # of the largest value: bfloat16 rounds at 0.004, a few times in a row
_RUNS = 5
_FILE = 'kernels.json'


@dataclasses.dataclass(frozen=True)
class Trial:
  """How one row of an operation did on this device."""

  operation: str
  row: str
  seconds: float | None = None  # of the fastest run; None: the row is not used
  error: float | None = None  # largest difference from the reference, as a share of the largest value
  reason: str = ''  # why the row is not used


def preferred(folder: Path | None = None) -> str:
  """The kernels to use on the default device, in the form of `Kernels.implementation`.

  On CPUs there is no choice. On an accelerator all kernels are tried once, which takes a minute or so, and the result
  is kept for later runs.

  Args:
    folder: in which the result is kept; by default the user's cache for this kind of machine and version.
  """
  if jax.default_backend() == 'cpu':
    return seam.AUTO
  return _remembered(folder or devices.cache_folder())


@functools.cache
def _remembered(folder: Path | None) -> str:
  path = folder and folder / _FILE
  trials = path and _read(path)
  if not trials:
    _log.info('trying all kernels on this device, once')
    trials = try_all()
    if path:
      _write(path, trials)
  for trial in trials:
    if trial.error is not None and trial.reason:
      _log.warning('kernel %s is not used for %s: %s', trial.row, trial.operation, trial.reason)
  return fastest(trials)


def fastest(trials: Sequence[Trial]) -> str:
  """The fastest row of each operation, in the form of `Kernels.implementation`."""
  best: dict[str, tuple[float, str]] = {}
  for trial in trials:
    if trial.seconds is not None and trial.seconds < best.get(trial.operation, (float('inf'), ''))[0]:
      best[trial.operation] = trial.seconds, trial.row
  chosen = [f'{name}={row}' for name, (_, row) in sorted(best.items()) if row != seam.EVERYWHERE]
  return ','.join(chosen) or seam.AUTO


def keep(trials: Sequence[Trial], folder: Path | None = None) -> str:
  """Keeps trials that were made elsewhere, so that `preferred` makes none; returns what it will choose."""
  if folder := folder or devices.cache_folder():
    _write(folder / _FILE, trials)
  return fastest(trials)


def try_all(sizes: Mapping[str, int] | None = None, dtype: str = 'bfloat16', references: bool = False) -> list[Trial]:
  """Runs every row of every operation; `try_each` has the arguments."""
  return list(try_each(sizes, dtype, references))


def try_each(
  sizes: Mapping[str, int] | None = None, dtype: str = 'bfloat16', references: bool = False
) -> Iterator[Trial]:
  """Runs every row of every operation, one after another.

  Args:
    sizes: of the problems; by default 256 residues and 128 alignment rows of the published network.
    dtype: of the activations.
    references: also try the references, which keep to no budget of memory.
  """
  for name, make in _problems({**_SIZES, **(sizes or {})}).items():
    yield from _try_operation(name, make, dtype, references)


def problem(name: str, sizes: Mapping[str, int], dtype: str) -> tuple[Callable, tuple]:
  """An operation and random arguments for it; `sizes` and `dtype` as in `try_each`."""
  return _problems({**_SIZES, **sizes})[name](_Draw(dtype))


_SIZES = {'rows': 128, 'residues': 256, 'channels': 128, 'heads': 4, 'outer': 32}


def _try_operation(name: str, make: Callable[['_Draw'], tuple], dtype: str, references: bool) -> Iterator[Trial]:
  run, arguments = make(_Draw(dtype))
  exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), arguments)
  with jax.default_matmul_precision('highest'):
    expected = _compiled(run, name, seam.REFERENCE)(*exact)
  for row in [row for row in seam.OPERATIONS[name] if references or row != seam.REFERENCE]:
    yield _try_row(name, row, run, arguments, expected)


def _compiled(run: Callable, name: str, row: str) -> Callable:
  def under(*arguments):
    with ops.use_kernels(ops.Kernels(f'{name}={row}', strict=True)):
      return run(*arguments)

  return jax.jit(under)


def _try_row(name: str, row: str, run: Callable, arguments: tuple, expected: jax.Array) -> Trial:
  """Runs one row; if anything goes wrong, that is the reason not to use it."""
  compiled = _compiled(run, name, row)
  try:
    result = jax.block_until_ready(compiled(*arguments))
    seconds = min(_timed(compiled, arguments) for _ in range(_RUNS))
  except seam.Declined as error:
    return Trial(name, row, reason=str(error))
  except Exception as error:  # a kernel may raise any exception, at any stage
    return Trial(name, row, error=float('inf'), reason=f'{type(error).__name__}: {str(error).splitlines()[0][:200]}')
  difference = jnp.max(jnp.abs(result.astype(jnp.float32) - expected)) / jnp.max(jnp.abs(expected))
  if not difference <= _TOLERANCE:  # nor NaN
    return Trial(name, row, error=float(difference), reason=f'it computes something else (off by {difference:.2g})')
  return Trial(name, row, seconds=seconds, error=float(difference))


def _timed(compiled: Callable, arguments: tuple) -> float:
  start = time.perf_counter()
  jax.block_until_ready(compiled(*arguments))
  return time.perf_counter() - start


# ------------------------------------------------------------------------------------------ the dtype

_PRODUCT = 1024, 2048, 1024
_BLOCK_SIZES = {'rows': 64, 'residues': 96, 'outer': 32}
_BLOCK = (  # operation, channels, how often a block of the Evoformer computes the like of it
  ('self_attention', 256, 3),
  ('transition', 256, 1),
  ('outer_product_mean', 128, 1),
  ('triangle_multiplication', 128, 2),
)


@functools.cache
def dtype() -> str:
  """The dtype of a prediction where nobody chose one: on CPUs bfloat16 if an earlier run measured that it pays.

  It is looked up once, so that nothing changes within a process, and nothing is measured for it.
  """
  return dtypes.default(jax.default_backend()).dtype


def measure_dtype(product: dtypes.Seconds | None = None, block: dtypes.Seconds | None = None) -> dtypes.Measurement:
  """Measures whether bfloat16 pays on this CPU; takes a third of a second where it cannot, else some seconds.

  Args:
    product: runs one large product.
    block: runs operations of the network, weighted as in a block; asked only where the product pays.
  """
  first = dtypes.in_turns(product or _product_seconds())
  return dtypes.Measurement(first, dtypes.in_turns(block or _block_seconds()) if first.pays else None)


def _product_seconds() -> dtypes.Seconds:
  """Times a product that goes through the door to such a unit: bfloat16 in, float32 out."""
  m, k, n = _PRODUCT

  def programs(dtype: str) -> Iterator[tuple[int, Callable, tuple]]:
    draw = _Draw(dtype)
    yield 1, ops.dot, (draw(m, k), draw(k, n))

  return _seconds(programs)


def _block_seconds() -> dtypes.Seconds:
  """Times the operations of a block of the Evoformer, called as predictions call them."""

  def programs(dtype: str) -> Iterator[tuple[int, Callable, tuple]]:
    for name, channels, count in _BLOCK:
      yield count, *_problems({**_BLOCK_SIZES, 'channels': channels, 'heads': channels // 32})[name](_Draw(dtype))

  return _seconds(programs)


def _seconds(programs: Callable[[str], Iterator[tuple[int, Callable, tuple]]]) -> dtypes.Seconds:
  """Times functions, each given with how often it counts and its arguments, compiled and warmed up in both dtypes."""
  made = {
    name: [(count, jax.jit(run), arguments) for count, run, arguments in programs(name)]
    for name in ('float32', 'bfloat16')
  }
  with ThreadPoolExecutor() as pool:  # compiling is most of it
    list(pool.map(lambda one: _timed(*one[1:]), (*made['float32'], *made['bfloat16'])))
  return lambda name: sum(count * _timed(run, arguments) for count, run, arguments in made[name])


# ------------------------------------------------------------------------------------------ the problems


class _Draw:
  """Draws random arrays in one dtype, as large in value as activations and weights are."""

  def __init__(self, dtype: str):
    self._rng, self._dtype = np.random.default_rng(0), dtype

  def __call__(self, *shape: int, fan_in: int = 1) -> jax.Array:
    return jnp.asarray(self._rng.normal(0, fan_in**-0.5, shape), self._dtype)

  def norm(self, c: int) -> ops.NormWeights:
    return ops.NormWeights(scale=1 + self(c, fan_in=100), offset=self(c, fan_in=100))

  def mask(self, *shape: int) -> jax.Array:
    """A mask with another length in every row, and one row all masked."""
    mask = np.arange(shape[1]) < self._rng.integers(1, shape[1] + 1, (shape[0], 1))
    mask[1] = False
    return jnp.asarray(mask, jnp.float32)

  def attention(self, c: int, heads: int, dim: int, shared: bool = False) -> ops.AttentionWeights:
    """`shared`: one key and one value for all heads."""
    kv = (dim,) if shared else (heads, dim)
    return ops.AttentionWeights(
      q=self(c, heads, dim, fan_in=c),
      k=self(c, *kv, fan_in=c),
      v=self(c, *kv, fan_in=c),
      gate_w=self(c, heads, dim, fan_in=c),
      gate_b=self(heads, dim),
      out_w=self(heads, dim, c, fan_in=c),
      out_b=self(c),
    )

  def outer_product(self, c: int, h: int) -> ops.OuterProductWeights:
    return ops.OuterProductWeights(
      left_w=self(c, h, fan_in=c),
      left_b=self(h),
      right_w=self(c, h, fan_in=c),
      right_b=self(h),
      out_w=self(h, h, c, fan_in=h * h),
      out_b=self(c),
    )

  def transition(self, c: int, wide: int) -> ops.TransitionWeights:
    return ops.TransitionWeights(
      w_in=self(c, wide, fan_in=c), b_in=self(wide), w_out=self(wide, c, fan_in=wide), b_out=self(c)
    )

  def triangle(self, c: int) -> ops.TriangleWeights:
    return ops.TriangleWeights(
      proj_w=self(c, 2 * c, fan_in=c),
      proj_b=self(2 * c),
      gate_w=self(c, 2 * c, fan_in=c),
      gate_b=self(2 * c),
      norm_scale=1 + self(c, fan_in=100),
      norm_offset=self(c),
      out_w=self(c, c, fan_in=c),
      out_b=self(c),
      out_gate_w=self(c, c, fan_in=c),
      out_gate_b=self(c),
    )


def _problems(sizes: Mapping[str, int]) -> dict[str, Callable[[_Draw], tuple[Callable, tuple]]]:
  """Of each operation: a function that draws what to call and its arguments."""
  rows, n, c, heads, h = (sizes[key] for key in ('rows', 'residues', 'channels', 'heads', 'outer'))
  dim = c // heads
  return {
    'self_attention': lambda draw: (
      ops.self_attention,
      (draw(rows, n, c), draw.norm(c), draw.attention(c, heads, dim), draw.mask(rows, n), draw(heads, n, n)),
    ),
    'global_attention': lambda draw: (
      ops.global_attention,
      (draw(n, rows, c), draw.norm(c), draw.attention(c, heads, dim, shared=True), draw.mask(n, rows)),
    ),
    'outer_product_mean': lambda draw: (
      ops.outer_product_mean,
      (draw(n, n, c), draw(rows, n, c), draw.norm(c), draw.outer_product(c, h), jnp.ones((rows, n))),
    ),
    'transition': lambda draw: (ops.transition, (draw(n, n, c), draw.norm(c), draw.transition(c, 4 * c))),
    'triangle_multiplication': lambda draw: (
      functools.partial(ops.triangle_multiplication, outgoing=True),
      (draw(n, n, c), draw.norm(c), draw.triangle(c), draw.mask(n, n)),
    ),
  }


# ------------------------------------------------------------------------------------------ remembering


def _read(path: Path) -> list[Trial] | None:
  """The trials of an earlier run, or None where they cannot be read or name rows that are gone."""
  try:
    trials = [Trial(**row) for row in untrusted.from_json(path.read_text(encoding='utf-8'))]
    seam.choices(fastest(trials))
    return trials
  except (OSError, ValueError, TypeError):
    return None


def _write(path: Path, trials: Sequence[Trial]) -> None:
  try:
    atomic.write_text(path, json.dumps([dataclasses.asdict(trial) for trial in trials], indent=1) + '\n')
  except (AlphaFoldError, OSError) as error:
    _log.warning('the trials of the kernels cannot be kept for later runs: %s', error)
