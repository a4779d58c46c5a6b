# SPDX-License-Identifier: Apache-2.0
"""Gated multi-head attention, the core of Algorithms 7, 8, 13, 14, 17 and 19.

B rows attend independently, each over its S positions, with H heads of D channels; c input channels. The rows of the
tables compute x + update from (x, norm, weights, mask, bias, keep, axis=), for global attention without bias and keep.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from alphafold_jax.ops import (
  attention_colabfold,
  attention_cudnn,
  attention_cuequivariance,
  attention_pallas,
  axial,
  pallas_platforms,
  products,
  residual,
  seam,
  slicing,
)
from alphafold_jax.ops.layer_norm import NormWeights, layer_norm

_WORTH_A_SLICE = 256 * 2**20  # bytes of temporaries; long rows take more each, so no other is computed beside them
_MASKED = -1e9  # replaces a logit, is not added to it: a row whose keys are all masked averages uniformly


class AttentionWeights(NamedTuple):
  """Projections of one attention layer; `gate_w` and `gate_b` are None without gating (Alg. 17)."""

  q: jax.Array  # [c_q, H, D]
  k: jax.Array  # [c_k, H, D]; [c_k, D] for global attention: one key and value head
  v: jax.Array  # like k
  gate_w: jax.Array | None  # [c_q, H, D]
  gate_b: jax.Array | None  # [H, D]
  out_w: jax.Array  # [H, D, c_out]
  out_b: jax.Array  # [c_out]


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, bias: jax.Array | None = None) -> jax.Array:
  """Softmax attention; logits and softmax in float32.

  Args:
    q: [B, Q, H, D], already scaled
    k: [B, S, H, D]
    v: [B, S, H, D]
    mask: [B, S], 0 for keys to ignore; [1, S] serves all rows
    bias: [H, Q, S], shared by all rows, or None

  Returns:
    [B, Q, H, D]
  """
  logits = products.einsum_in_float32('bqhd,bshd->bhqs', q, k)
  if bias is not None:
    logits += bias.astype(jnp.float32)
  logits = jnp.where(mask[:, None, None, :] > 0, logits, _MASKED)
  return jnp.einsum('bhqs,bshd->bqhd', jax.nn.softmax(logits, axis=-1).astype(v.dtype), v)


def _project(x: jax.Array, w: jax.Array) -> jax.Array:
  """Projects [B, S, c] by [c, H, D] to [B, S, H, D]: one plain product, as its gradients are."""
  return products.dot(x, w.reshape(len(w), -1)).reshape(*x.shape[:-1], *w.shape[1:])


def _gate_and_project(x: jax.Array, average: jax.Array, w: AttentionWeights) -> jax.Array:
  """Gates the heads' averages by the query's input and mixes the heads: [B, S, H, D] to [B, S, c_out]."""
  assert w.gate_w is not None and w.gate_b is not None
  gate = jax.nn.sigmoid(_project(x, w.gate_w) + w.gate_b)
  heads = (gate * average).astype(x.dtype).reshape(*x.shape[:2], -1)
  return products.dot(heads, w.out_w.reshape(-1, w.out_w.shape[-1])) + w.out_b


# ------------------------------------------------------------------------------------------ the rows


def _sliced(
  update: Callable[..., jax.Array], bytes_per_row: Callable[..., int] = slicing.all_at_once, at_least: int = 8
) -> Callable[..., jax.Array]:
  """Makes a `compute` from a function that updates normalised slices of x.

  Args:
    update: (x, weights, mask, bias) to what is added to x, [B, S, c]
    bytes_per_row: (S, weights, dtype of x) to what its temporaries take per row
    at_least: the fewest rows worth a slice, where these are short
  """

  def compute(x, norm, w, mask, bias=None, keep=None, *, axis):
    size = bytes_per_row(x.shape[1 - axis], w, x.dtype)

    def of_rows(x, mask):
      return update(x, w, mask, bias)

    return residual.update(of_rows, x, norm, keep, ((mask, 0),), size, axis=axis, at_least=_fewest(size, at_least))

  return compute


def _fewest(bytes_per_row: int, at_least: int = 8) -> int:
  """The fewest rows that are worth a slice: fewer than those of short proteins where each takes much."""
  return max(1, min(at_least, _WORTH_A_SLICE // max(1, bytes_per_row)))


def _self_attention_xla(x, w, mask, bias):
  scale = w.q.shape[-1] ** -0.5
  q = jnp.einsum('bsc,chd->bshd', x, w.q) * scale
  k = jnp.einsum('bsc,chd->bshd', x, w.k)
  v = jnp.einsum('bsc,chd->bshd', x, w.v)
  return _gate_and_project(x, attend(q, k, v, mask, bias), w)


def _by_head(x, w):
  """Queries, scaled, keys and values, heads before positions: [B, S, c] to [B, H, S, D] three times."""
  q_w = w.q * w.q.shape[-1] ** -0.5
  return tuple(_project(x, p).astype(x.dtype).swapaxes(1, 2) for p in (q_w, w.k, w.v))


def _self_attention_fused(x, w, mask, bias):
  """Computes what `_self_attention_xla` does in a form that XLA makes faster, above all on CPUs.

  Heads come before positions, so all products are of plain matrices. Exponentials average the values first and are
  divided by their sum afterwards. The mask is a minimum, not a choice, so XLA:CPU fuses it with its neighbours.
  """
  cap = jnp.where(mask > 0, jnp.inf, _MASKED).astype(jnp.float32)[:, None, None, :]
  q, k, v = _by_head(x, w)
  logits = products.einsum_in_float32('bhqd,bhsd->bhqs', q, k)
  if bias is not None:
    logits += _for_all_rows(bias.astype(jnp.float32), x.shape[0])
  logits = _capped(logits, cap)
  weights = jnp.exp(logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
  total = jnp.sum(weights, axis=-1)[..., None]
  sums = products.einsum_in_float32('bhqs,bhsd->bhqd', weights.astype(x.dtype), v)
  return _gate_and_project(x, (sums / total).swapaxes(1, 2), w)


@jax.custom_vjp
def _capped(logits, cap):
  """The minimum of logits [B, H, Q, S] and cap [B, 1, 1, S]; its gradient is that of a choice by the cap alone.

  JAX's own compares all logits with the cap and with the minimum, divides, and keeps the results.
  """
  return jnp.minimum(logits, cap)


_capped.defvjp(
  lambda logits, cap: (_capped(logits, cap), cap),
  lambda cap, gradient: (jnp.where(cap < 0, 0, gradient), jnp.zeros_like(cap)),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _for_all_rows(bias, num_rows):
  """Repeats [H, Q, S] to [num_rows, H, Q, S]; the gradient's sum is a matrix product, ten times faster on XLA:CPU."""
  return jnp.broadcast_to(bias, (num_rows, *bias.shape))


def _sum_of_rows(num_rows, _, gradient):
  ones = jnp.ones((1, num_rows), gradient.dtype)
  total = jnp.dot(ones, gradient.reshape(num_rows, -1), precision=jax.lax.Precision.HIGHEST)
  return (total.reshape(gradient.shape[1:]),)


_for_all_rows.defvjp(lambda bias, num_rows: (_for_all_rows(bias, num_rows), None), _sum_of_rows)


def _fused_bytes(num_keys, w, _):
  return _row_bytes(num_keys, *w.q.shape[1:])


def _row_bytes(num_keys: int, num_head: int, head_dim: int) -> int:
  return 4 * num_head * num_keys * (2 * num_keys + 5 * head_dim)


def least_bytes(num_keys: int, num_head: int, head_dim: int) -> int:
  """What the smallest slice of self-attention takes."""
  size = _row_bytes(num_keys, num_head, head_dim)
  return _fewest(size) * size


def _around(attend_heads: Callable[..., jax.Array], empty_rows: bool) -> Callable[..., jax.Array]:
  """Makes `compute` of a table's row from a kernel for the core of self-attention.

  Args:
    attend_heads: (q, k, v, mask, bias), of shapes [B, H, S, D] three times, [B, S] and [H, S, S] or None, to the
      averages [B, H, S, D]
    empty_rows: whether it averages rows uniformly whose keys are all masked; if not, that is done here
  """

  def update(x, w, mask, bias):
    mask = jnp.broadcast_to(mask, x.shape[:2])
    q, k, v = _by_head(x, w)
    average = attend_heads(q, k, v, mask, bias)
    if not empty_rows:
      some = jnp.any(mask > 0, axis=1)[:, None, None, None]
      average = jnp.where(some, average, jnp.mean(v, axis=2, keepdims=True, dtype=jnp.float32).astype(v.dtype))
    return _gate_and_project(x, average.swapaxes(1, 2), w)

  return _sliced(update, _projections_bytes)


def _projections_bytes(num_keys, w, dtype):
  _, num_head, head_dim = w.q.shape
  return 6 * dtype.itemsize * num_keys * num_head * head_dim


def _of_heads(reason: Callable[..., str | None]) -> Callable[..., str | None]:
  """Turns what a kernel's file says of q into what a table's row says of the operation's arguments.

  Args:
    reason: (platform, dtype of q, shape [B, H, S, D] of q, whether there is a bias) to a reason or None
  """

  def of_arguments(platform, x, norm, w, mask, bias, keep, *, axis):
    shape = (x.shape[axis], w.q.shape[1], x.shape[1 - axis], w.q.shape[2])
    return reason(platform, x.dtype, shape, bias is not None)

  return of_arguments


def _global_attention_xla(x, w, mask, _):
  mask = mask.astype(x.dtype)[..., None]
  # The query is the masked mean of the column; one key and value head serves all H queries.
  mean = jnp.sum(mask * x, axis=1, dtype=jnp.float32) / (jnp.sum(mask, axis=1, dtype=jnp.float32) + 1e-10)
  q = products.einsum('bc,chd->bhd', mean.astype(x.dtype), w.q).astype(x.dtype) * w.q.shape[-1] ** -0.5
  k = products.einsum('bsc,cd->bsd', x, w.k).astype(x.dtype)
  v = products.einsum('bsc,cd->bsd', x, w.v).astype(x.dtype)
  logits = products.einsum_in_float32('bhd,bsd->bhs', q, k)
  logits = jnp.where(mask[..., 0][:, None, :] > 0, logits, _MASKED)
  average = products.einsum('bhs,bsd->bhd', jax.nn.softmax(logits, axis=-1).astype(x.dtype), v)
  return _gate_and_project(x, average[:, None], w)


def _global_bytes(num_keys, w, _):
  channels, num_head, head_dim = w.q.shape
  return 4 * num_keys * (2 * num_head * head_dim + 2 * num_head + channels)


def self_attention(
  x: jax.Array,
  norm: NormWeights,
  weights: AttentionWeights,
  mask: jax.Array,
  bias: jax.Array | None = None,
  *,
  keep: jax.Array | None = None,
  axis: int = 0,
) -> jax.Array:
  """Adds to every row its gated self-attention, with an optional bias per head shared by all rows.

  Args:
    x: [B, S, c]; with axis 1 its columns attend, [S, B, c]
    norm: of the normalisation before
    weights: the projections; as many channels come out
    mask: [B, S], with axis 1 as well; 0 for keys to ignore
    bias: [H, S, S] or None
    keep: dropout's factors, of the shape of x, 1 along the axis that shares them; None: no dropout
    axis: of x, 0 or 1, along which entries attend apart from each other

  Returns:
    x with the update added
  """
  return seam.compute('self_attention', x, norm, weights, mask, bias, keep, axis=axis)


def pair_bias(z: jax.Array, norm: NormWeights, w: jax.Array) -> jax.Array:
  """What the pair representation adds to the logits of every head.

  Args:
    z: [N, N, c_z]
    norm: of the normalisation before
    w: [c_z, H]

  Returns:
    [H, N, N], of all pairs on every device
  """
  # In slices of rows, so that never all of z is there normalised.
  bias = slicing.map_rows(
    lambda z: products.dot(layer_norm(z, *norm), w).astype(z.dtype),
    (z,),
    z.dtype.itemsize * z.shape[1] * z.shape[2],
    at_least=8,
  )
  return jnp.moveaxis(axial.gather(bias, 0), -1, 0)


def global_attention(
  x: jax.Array, norm: NormWeights, weights: AttentionWeights, mask: jax.Array, *, axis: int = 0
) -> jax.Array:
  """Adds to every row the gated attention of its mean query (Algorithm 19), linear in S.

  Args:
    x: [B, S, c]; with axis 1 its columns attend, [S, B, c]
    norm: of the normalisation before
    weights: the projections; k and v have one head
    mask: [B, S], with axis 1 as well
    axis: of x, 0 or 1, along which entries attend apart from each other

  Returns:
    x with the update added
  """
  return seam.compute('global_attention', x, norm, weights, mask, axis=axis)


SELF_ATTENTION = seam.operation(
  'self_attention',
  {
    'xla': seam.Row(_sliced(_self_attention_xla)),
    'xla_chunked': seam.Row(_sliced(_self_attention_fused, _fused_bytes)),
    'pallas': seam.Row(
      _around(attention_pallas.attend, empty_rows=True),
      platforms=pallas_platforms.PLATFORMS,
      custom_calls=pallas_platforms.CUSTOM_CALLS,
      unavailable=pallas_platforms.unavailable,
      declines=_of_heads(attention_pallas.declines),
    ),
    'cudnn': seam.Row(
      _around(attention_cudnn.attend, empty_rows=False),
      platforms=('cuda',),
      custom_calls=attention_cudnn.CUSTOM_CALLS,
      declines=_of_heads(attention_cudnn.declines),
      declines_gradient=_of_heads(attention_cudnn.declines_gradient),
      is_batched=False,  # JAX's rule does not know a bias that rows share
    ),
    'colabfold': seam.Row(
      _around(attention_colabfold.attend, empty_rows=False),
      platforms=('cuda',),
      packages=(attention_colabfold.PACKAGE,),
      custom_calls=pallas_platforms.CUSTOM_CALLS,
      declines=_of_heads(attention_colabfold.declines),
      is_batched=False,  # not tried
    ),
    'cuequivariance': seam.Row(
      _around(attention_cuequivariance.attend, empty_rows=False),
      platforms=('cuda',),
      packages=attention_cuequivariance.PACKAGES,
      is_batched=False,  # not tried
    ),
  },
)
GLOBAL_ATTENTION = seam.operation(
  'global_attention',
  {
    'xla': seam.Row(_sliced(_global_attention_xla)),
    'xla_chunked': seam.Row(_sliced(_global_attention_xla, _global_bytes, at_least=1)),
  },
)
