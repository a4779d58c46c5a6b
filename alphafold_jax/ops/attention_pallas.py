# SPDX-License-Identifier: Apache-2.0
"""Softmax attention with a shared pair bias as one Pallas kernel, forwards and backwards, for GPUs and TPUs.

For every row b and head h

    logits = q kᵀ + bias, replaced where the mask forbids a key;    out = softmax(logits) v

without the [B, H, Q, S] logits in memory: a program holds a block of queries and walks over the blocks of keys with a
running maximum and sum. The gradient computes the weights again from the logarithm of that sum. All that is kept or
passed grows with B * (Q + S) and, for the bias, with Q * S.

  B rows, which share the bias (MSA sequences or columns, rows of the pair representation)
  H heads    D channels of a head    Q queries    S keys
  fill   what a logit is replaced by: inf where it stays; [B or 1, 1, S]
  lse    log2 of the sum over keys of 2^logit, logits in units of ln 2 since powers of two are cheaper; [B, H, Q, 1]
  delta  sum over channels of output * its gradient, what the softmax takes off its gradient; [B, H, Q, 1]

Proven on CPUs by tests: values and gradients against the reference in Pallas' interpret mode, and that each kernel
lowers to Triton (CUDA, ROCm) and to Mosaic (TPU). Compiled for GPUs and TPUs by `benchmarks/elsewhere_kernels.py`, with
registers and fast memory in docs/elsewhere_kernels.md. Not yet run on any device: the blocks are reasoned, not timed.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from alphafold_jax.ops import attention_pallas_kernels as kernels
from alphafold_jax.ops import offsets, pallas_platforms
from alphafold_jax.ops.attention_pallas_kernels import Arrays

_MASKED = -1e9  # as in the reference


@dataclasses.dataclass(frozen=True)
class AttentionBlocks:
  """How a call is cut into programs."""

  queries: int  # of a block; a power of two
  keys: int
  least: int = 16  # fewer queries or keys than a block has make it smaller, but not below: Triton's products take 16
  sequential: bool = False  # programs run in order, the grid's last axis fastest (TPU); else at once, the first fastest
  swapped: bool = False  # arrays with positions and channels come to kernels with positions last (TPU)
  programs: int = 1024  # the bias's gradient takes rows in groups until there are so many: a GPU has some 100 cores
  warps: int = 4


# Backend: (most bytes of a head's channels, blocks forwards, blocks backwards).
# GPU: with 64 x 64 float32 logits and their bias a thread of 128 takes 96 to 160 registers, so three to five programs
# share a core; backwards the gradient of the logits stands beside them, and beyond 64 bytes queries and values weigh
# as much: with 64 x 32 the gradient to the keys spilled registers. TPU: blocks of 128 lanes.
_TPU = AttentionBlocks(128, 128, least=128, sequential=True, swapped=True)
_BLOCKS = {
  'triton': (
    (64, AttentionBlocks(64, 64), AttentionBlocks(64, 32)),
    (512, AttentionBlocks(64, 32), AttentionBlocks(32, 32)),
  ),
  'tpu': ((512, _TPU, _TPU),),
}
_MOST_CHANNELS = 128
# Backend: (largest head dimension, most queries and keys). A TPU's program has all keys (or all queries) of a row and
# head in fast memory: of its 16 MiB the kernels that were compiled take 13.1 at most.
_MOST_POSITIONS = {'triton': ((128, math.inf),), 'tpu': ((32, 8192), (128, 4096))}


def declines(platform: str, dtype: Any, shape: tuple[int, ...], bias: bool) -> str | None:
  """Why `attend` does not take such a q, or None where it does.

  Args:
    platform: that is compiled for, one of pallas_platforms.PLATFORMS
    dtype: of q, k and v
    shape: of q, [B, H, S, D], of as many queries as keys
    bias: whether there is one
  """
  _, num_head, length, dim = shape
  backend = pallas_platforms.backend(platform)
  if jnp.dtype(dtype) not in (jnp.float32, jnp.bfloat16):
    return f'activations in {jnp.dtype(dtype)} (only float32 and bfloat16)'
  if dim > _MOST_CHANNELS:
    return f'heads of {dim} channels (only up to {_MOST_CHANNELS})'
  most = next(most for largest, most in _MOST_POSITIONS[backend] if dim <= largest)
  if length > most:
    return f'{length} queries and keys in heads of {dim} channels (only up to {most} on a {platform})'
  positions = _round_up(length, 128)
  if num_head * positions * max(positions, _power_of_two(dim)) >= offsets.LIMIT:
    return f'a row of {num_head} heads and {length} queries and keys, which has 2^31 elements or more'
  return None


def attend(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: jax.Array,
  bias: jax.Array | None = None,
  *,
  interpret: bool = False,
  blocks: AttentionBlocks | None = None,
) -> jax.Array:
  """Softmax attention; logits, softmax and sums in float32; differentiable in q, k, v and bias.

  Products of float32 follow `jax.default_matmul_precision`, as XLA's do: on GPUs TF32 unless that says otherwise.

  Args:
    q: [B, H, Q, D], already scaled
    k: [B, H, S, D]
    v: [B, H, S, D]
    mask: [B, S], 0 for keys to ignore; [1, S] serves all rows. A row without keys averages uniformly
    bias: [H, Q, S], shared by all rows, or None
    interpret: run the kernels as plain JAX, on any device, slowly
    blocks: instead of those for the platform that the program is compiled for

  Returns:
    [B, H, Q, D]
  """
  return _attend(blocks, interpret, Arrays(q, k, v, _fill(mask), bias))


def _fill(mask):
  """[B, S] to [B, 1, S]; a row without keys gets zeros, whose sum `lse` can hold, unlike that of -1e9."""
  real = mask > 0
  instead = jnp.where(jnp.any(real, axis=-1, keepdims=True), _MASKED, 0.0)
  return jnp.where(real, jnp.inf, instead).astype(jnp.float32)[:, None]


# ------------------------------------------------------------------------------------------ differentiation


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(blocks, interpret, x):
  return _on_platform(0, _forwards, blocks, interpret, x)[0]


def _attend_forwards(blocks, interpret, x):
  out, lse = _on_platform(0, _forwards, blocks, interpret, x)
  return out, (x, out, lse)


def _attend_backwards(blocks, interpret, saved, gradient):
  x, out, lse = saved
  delta = jnp.sum(out.astype(jnp.float32) * gradient.astype(jnp.float32), axis=-1, keepdims=True)
  x = x._replace(gradient=gradient, lse=lse[..., None], delta=delta)
  return (_on_platform(1, _backwards, blocks, interpret, x),)


_attend.defvjp(_attend_forwards, _attend_backwards)


class _Launch(NamedTuple):
  """How kernels run."""

  blocks: AttentionBlocks
  interpret: bool = False


def _on_platform(way, run, blocks, interpret, x):
  """run(launch, x) with these blocks, or with those of the platform that the program is lowered for.

  `way` is 0 for blocks forwards, 1 for blocks backwards.
  """
  size = x.q.shape[-1] * x.q.dtype.itemsize
  if interpret or blocks:
    return run(_Launch(blocks or _blocks('triton', size, way), interpret), x)
  choices = {name: functools.partial(run, _Launch(_blocks(name, size, way))) for name in _BLOCKS}
  return pallas_platforms.run(choices, x)


def _forwards(launch, x):
  """out [B, H, Q, D] and lse [B, H, Q]."""
  parts = [_call_forwards(launch, part) for part in _parts(x)]
  return tuple(_joined(each) for each in zip(*parts))


def _backwards(launch, x):
  """The gradients as `Arrays`; what needs none is None."""
  q, k, v, biases = zip(*(_call_backwards(launch, part) for part in _parts(x)))
  bias = None if x.bias is None else sum(biases[1:], start=biases[0]).astype(x.bias.dtype)
  return Arrays(_joined(q), _joined(k), _joined(v), None, bias)


def _joined(parts):
  return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _parts(x: Arrays) -> list[Arrays]:
  """Cuts the rows where their arrays would have too many elements for a kernel."""
  num_rows, num_head, num_queries, dim = x.q.shape
  positions = _round_up(max(num_queries, x.k.shape[2]), 128)
  slices = offsets.row_slices(num_rows, num_head * positions * _power_of_two(dim))
  if len(slices) == 1:
    return [x]

  def rows(array, start, stop):
    return array if array is None or len(array) == 1 else array[start:stop]

  return [Arrays(*(rows(array, *each) for array in x))._replace(bias=x.bias) for each in slices]


# ------------------------------------------------------------------------------------------ calls


class _Walk(NamedTuple):
  """Which program sees what.

  Each array has a letter per axis, which says how much of the axis a program has: b one row (in a result: or one
  group), B the rows of a group, h one head, i a block of queries, j a block of keys, 0 everything. `parallel` and
  `sequential` order the grid's axes, see `AttentionBlocks`. Programs that follow one another share what they read: on
  GPUs the blocks of one row share its keys, and all rows of a head its bias; on TPUs all rows share one block of the
  bias, which is fetched once.
  """

  arrays: Arrays
  parallel: str
  sequential: str


_BY_QUERIES = _Walk(Arrays('bhi0', 'bh00', 'bh00', 'b00', 'hi0', 'bhi0', 'bhi0', 'bhi0'), 'ibh', 'hib')
_BY_KEYS = _Walk(Arrays('bh00', 'bhj0', 'bhj0', 'b0j', 'h0j', 'bh00', 'bh00', 'bh00'), 'jbh', 'hjb')
_BY_PAIRS = _Walk(Arrays('Bhi0', 'Bhj0', 'Bhj0', 'B0j', 'hij', 'Bhi0', 'Bhi0', 'Bhi0'), 'ijbh', 'hijb')


def _order(walk, launch):
  return walk.sequential if launch.blocks.sequential else walk.parallel


def _call_forwards(launch, x):
  num_queries, dim = x.q.shape[2:]
  launch, x = _padded(launch, x)
  outputs = [('bhi0', x.q.shape, x.q.dtype), ('bhi0', (*x.q.shape[:3], 1), jnp.float32)]
  out, lse = _call(functools.partial(kernels.forward, launch.blocks.keys), _BY_QUERIES, launch, x, outputs)
  return out[:, :, :num_queries, :dim], lse[:, :, :num_queries, 0]


def _call_backwards(launch, x):
  """The gradients of one part: q, k, v in their dtype, bias in float32 or None."""
  num_queries, dim = x.q.shape[2:]
  num_keys = x.k.shape[2]
  launch, x = _padded(launch, x)
  blocks = launch.blocks
  to_queries = functools.partial(kernels.to_queries, blocks.keys)
  to_keys = functools.partial(kernels.to_keys, blocks.queries)
  (q,) = _call(to_queries, _BY_QUERIES, launch, x, [('bhi0', x.q.shape, x.q.dtype)])
  k, v = _call(to_keys, _BY_KEYS, launch, x, [('bhj0', x.k.shape, x.k.dtype), ('bhj0', x.v.shape, x.v.dtype)])
  bias = None if x.bias is None else _bias_gradient(launch, x)[:, :num_queries, :num_keys]
  return q[:, :, :num_queries, :dim], k[:, :, :num_keys, :dim], v[:, :, :num_keys, :dim], bias


def _bias_gradient(launch, x):
  """[H, Q, S]; groups of rows give sums of their own, since heads and blocks alone would not fill a GPU."""
  num_rows = len(x.q)
  num_head, num_queries, num_keys = x.bias.shape
  tiles = num_head * (num_queries // launch.blocks.queries) * (num_keys // launch.blocks.keys)
  groups = num_rows if launch.blocks.sequential else min(num_rows, math.ceil(launch.blocks.programs / tiles))
  group = math.ceil(num_rows / groups)
  num_sums = 1 if launch.blocks.sequential else math.ceil(num_rows / group)
  axis = _order(_BY_PAIRS, launch).index('b')
  kernel = functools.partial(kernels.to_bias, num_rows, group, axis, launch.blocks.sequential)
  (sums,) = _call(kernel, _BY_PAIRS, launch, x, [('bhij', (num_sums, *x.bias.shape), jnp.float32)], group)
  return jnp.sum(sums, axis=0)


def _call(kernel, walk, launch, x, outputs, group=1):
  """Runs a kernel on padded arrays.

  Args:
    kernel: takes `Arrays` of references, then the outputs'
    walk: how programs are numbered and what they see
    launch: blocks that fit the arrays
    x: padded arrays
    outputs: letters as in `_Walk`, shape and dtype of each
    group: rows of a group, which B stands for in `walk`
  """
  blocks = launch.blocks
  order = _order(walk, launch)
  num_rows, num_head, num_queries, _ = x.q.shape
  count = {'b': math.ceil(num_rows / group), 'h': num_head}
  count |= {'i': num_queries // blocks.queries, 'j': x.k.shape[2] // blocks.keys}
  length = {'b': 1, 'B': group, 'h': 1, 'i': blocks.queries, 'j': blocks.keys}

  def spec(letters, shape):
    seen = ['0' if size == 1 else letter for letter, size in zip(letters, shape)]  # one for all
    axes = [order.find(letter.lower()) for letter in seen]
    block = [length.get(letter, size) for letter, size in zip(seen, shape)]
    sides = _sides(blocks, letters)
    return pl.BlockSpec(
      tuple(block[side] for side in sides),
      lambda *ids: tuple(0 if axes[side] < 0 else ids[axes[side]] for side in sides),
    )

  given = [(letters, array) for letters, array in zip(walk.arrays, x)]
  results = pl.pallas_call(
    functools.partial(kernel, swapped=blocks.swapped),
    out_shape=[
      jax.ShapeDtypeStruct(tuple(shape[side] for side in _sides(blocks, letters)), dtype)
      for letters, shape, dtype in outputs
    ],
    grid=tuple(count[axis] for axis in order),
    in_specs=[Arrays(*(None if array is None else spec(letters, array.shape) for letters, array in given))],
    out_specs=[spec(letters, shape) for letters, shape, _ in outputs],
    compiler_params=None if launch.interpret or blocks.sequential else pallas_platforms.triton(blocks.warps),
    interpret=launch.interpret,
  )(Arrays(*(None if array is None else array.transpose(_sides(blocks, letters)) for letters, array in given)))
  return [result.transpose(_sides(blocks, letters)) for (letters, *_), result in zip(outputs, results)]


def _sides(blocks, letters):
  """The order in which kernels see the axes of an array: also the one back."""
  has_channels = len(letters) == 4 and letters[3] == '0'  # rows, heads, positions, channels
  return (0, 1, 3, 2) if blocks.swapped and has_channels else tuple(range(len(letters)))


def _padded(launch: _Launch, x: Arrays) -> tuple[_Launch, Arrays]:
  """Fits blocks to short sequences, and fills queries, keys and channels up to whole blocks with what adds nothing."""
  blocks = launch.blocks
  num_queries, dim = x.q.shape[2:]
  num_keys = x.k.shape[2]
  blocks = dataclasses.replace(
    blocks,
    queries=min(blocks.queries, max(blocks.least, _power_of_two(num_queries))),
    keys=min(blocks.keys, max(blocks.least, _power_of_two(num_keys))),
  )
  channels = _round_up(dim, 8) if blocks.swapped else _power_of_two(dim)  # which Triton's products take
  more = {'q': -num_queries % blocks.queries, 's': -num_keys % blocks.keys, 'd': channels - dim, '.': 0}
  axes = Arrays('..qd', '..sd', '..sd', '..s', '.qs', '..qd', '..q.', '..q.')

  def pad(array, letters, value):
    added = [(0, more[letter]) for letter in letters]
    return (
      array if array is None or not any(after for _, after in added) else jnp.pad(array, added, constant_values=value)
    )

  padding = Arrays(*[0] * len(x))._replace(fill=-jnp.inf)  # no weight, also in rows without keys
  return launch._replace(blocks=blocks), Arrays(*(pad(*each) for each in zip(x, axes, padding)))


def _blocks(backend: str, size: int, way: int) -> AttentionBlocks:
  return next(blocks[way] for most, *blocks in _BLOCKS[backend] if size <= most)


def _power_of_two(size: int) -> int:
  """The next power of two, at least 16: what Triton's products take."""
  return max(16, 1 << (size - 1).bit_length())


def _round_up(size: int, step: int) -> int:
  return -(-size // step) * step
