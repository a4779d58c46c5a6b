# SPDX-License-Identifier: Apache-2.0
"""The two-layer transition as one Pallas kernel, for GPUs and TPUs: its wide hidden layer is never in memory.

    y = relu(x w_in + b_in) w_out + b_out

A program holds a block of positions and walks over blocks of the hidden channels. Backwards, XLA computes the layers
again in slices, as many positions at a time as the memory budget of `seam` allows.

  N positions    c channels    f hidden channels

Proven on CPUs by tests: values and gradients against the reference in Pallas' interpret mode, and that the kernel
lowers to Triton (CUDA, ROCm) and to Mosaic (TPU). Compiled for GPUs and TPUs by `benchmarks/elsewhere_kernels.py`, with
registers and fast memory in docs/elsewhere_kernels.md. Not yet run on any device: the blocks are reasoned, not timed.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from alphafold_jax.ops import offsets, pallas_platforms, slicing


@dataclasses.dataclass(frozen=True)
class TransitionBlocks:
  """How a call is cut into programs."""

  positions: int
  hidden: int  # of a step
  warps: int = 4  # on GPUs


# Backend: (largest bytes of a position, blocks). GPU: the sums of a block are float32, 64 registers a thread; what the
# products read stays below the 99 KiB of shared memory of small GPUs. TPU: 128 lanes, all weights in fast memory.
_BLOCKS = {
  'triton': (
    (256, TransitionBlocks(64, 32)),
    (512, TransitionBlocks(64, 16, warps=8)),
    (1024, TransitionBlocks(32, 16)),
  ),
  'tpu': ((1024, TransitionBlocks(256, 128)),),
}
_MOST_CHANNELS = 256


def declines(platform: str, dtype: Any, channels: int, hidden: int) -> str | None:
  """Why `transition` does not take such arguments, or None where it does.

  Args:
    platform: that is compiled for, one of pallas_platforms.PLATFORMS
    dtype: of x and the weights
    channels: c
    hidden: f
  """
  if jnp.dtype(dtype) not in (jnp.float32, jnp.bfloat16):
    return f'activations in {jnp.dtype(dtype)} (only float32 and bfloat16)'
  if channels.bit_count() != 1 or not 16 <= channels <= _MOST_CHANNELS:
    return f'{channels} channels (only powers of two from 16 to {_MOST_CHANNELS})'
  return f'{hidden} hidden channels (only multiples of 128)' if hidden % 128 else None


def transition(
  x: jax.Array, weights: Any, *, interpret: bool = False, blocks: TransitionBlocks | None = None
) -> jax.Array:
  """Applies the two layers to every position; sums in float32; differentiable.

  Args:
    x: [A, B, c]
    weights: TransitionWeights in the dtype of x
    interpret: run the kernel as plain JAX, on any device, slowly
    blocks: instead of those for the platform that the program is compiled for

  Returns:
    [A, B, c]
  """
  return _transition(blocks, interpret, x, weights)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _transition(blocks, interpret, x, w):
  if interpret or blocks:
    return _forwards(interpret, blocks or _blocks('triton', x), False, (x, w))
  choices = {name: functools.partial(_forwards, False, _blocks(name, x), name == 'triton') for name in _BLOCKS}
  return pallas_platforms.run(choices, (x, w))


def _backwards(blocks, interpret, saved, gradient):
  x, w = saved
  bytes_per_row = 4 * x.shape[1] * w.w_in.shape[1]

  def by_xla(x, w):
    def layers(x):
      return jnp.dot(jax.nn.relu(jnp.dot(x, w.w_in) + w.b_in), w.w_out) + w.b_out

    return slicing.map_rows(layers, (x,), bytes_per_row)

  return jax.vjp(by_xla, x, w)[1](gradient)


_transition.defvjp(lambda blocks, interpret, x, w: (_transition(blocks, interpret, x, w), (x, w)), _backwards)


def _blocks(backend: str, x: jax.Array) -> TransitionBlocks:
  return next(blocks for most, blocks in _BLOCKS[backend] if x.shape[-1] * x.dtype.itemsize <= most)


def _forwards(interpret, blocks, triton, arguments):
  """Lays the positions in a row, in slices where these would have too many elements for a kernel."""
  x, w = arguments
  flat = x.reshape(-1, x.shape[-1])
  slices = offsets.row_slices(len(flat), x.shape[-1], offsets.LIMIT - blocks.positions * x.shape[-1])
  parts = [_call(interpret, blocks, triton, flat[start:stop], w) for start, stop in slices]
  return (parts[0] if len(parts) == 1 else jnp.concatenate(parts)).reshape(x.shape)


def _call(interpret, blocks, triton, x, w):
  """x [N, c] to [N, c]."""
  num_positions, channels = x.shape
  missing = -num_positions % blocks.positions
  x = jnp.pad(x, ((0, missing), (0, 0))) if missing else x
  w = w._replace(b_in=w.b_in[None], b_out=w.b_out[None])
  block = pl.BlockSpec((blocks.positions, channels), lambda number: (number, 0))
  everything = jax.tree.map(lambda array: pl.BlockSpec(array.shape, lambda number: (0, 0)), w)
  out = pl.pallas_call(
    functools.partial(_kernel, blocks.hidden),
    out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
    grid=(len(x) // blocks.positions,),
    in_specs=[block, everything],
    out_specs=block,
    compiler_params=pallas_platforms.triton(blocks.warps) if triton else None,
    interpret=interpret,
  )(x, w)
  return out[:num_positions]


def _kernel(block, x, w, out):
  """One block of positions, `block` hidden channels at a time."""
  positions = x[...]

  def step(index, total):
    channels = pl.ds(pl.multiple_of(index * block, block), block)
    hidden = _dot(positions, w.w_in[:, channels]) + w.b_in[:, channels].astype(jnp.float32)
    return total + _dot(jnp.maximum(hidden, 0.0).astype(positions.dtype), w.w_out[channels])

  start = jnp.zeros(positions.shape, jnp.float32)
  total = jax.lax.fori_loop(0, w.w_in.shape[1] // block, step, start)
  out[...] = (total + w.b_out[...].astype(jnp.float32)).astype(out.dtype)


def _dot(a, b):
  return jnp.dot(a, b, preferred_element_type=jnp.float32)
