# SPDX-License-Identifier: Apache-2.0
"""Rigid motions: frames and their operations (Algorithms 21 and 23, Suppl. 1.1 "Notation").

A frame `T = (R, t)` maps local coordinates to global ones, `T.apply(x) = R x + t`; `T1 @ T2` applies T2 first.

All operations broadcast over the batch axes in front. To apply frames [N] to points [N, heads, points, 3], give the
frames axes of size 1: `frames[:, None, None].apply(points)` (or `frames[..., None, None]`).

All products are written out as sums of three terms, which every device computes in float32: a matrix product would
run in bfloat16 on a TPU and TF32 on a GPU, with errors of up to tenths of an Å.
"""

from typing import Any

import jax
import jax.numpy as jnp

from alphafold_jax import schema

EPSILON = 1e-8  # Å^2, added to squared lengths: the direction of a zero vector is zero, with a finite gradient


def _sum(products: schema.Array) -> jax.Array:
  """The sum over a last axis of three."""
  x, y, z = (jax.lax.index_in_dim(products, axis, axis=-1, keepdims=False) for axis in range(3))
  return x + y + z


def _dot(a: schema.Array, b: schema.Array) -> jax.Array:
  """Inner product of vectors [..., 3]."""
  return _sum(a * b)


def _cross(a: schema.Array, b: schema.Array) -> jax.Array:
  """Vector product of vectors [..., 3]."""
  pairs = ((1, 2), (2, 0), (0, 1))
  return jnp.stack([a[..., i] * b[..., j] - a[..., j] * b[..., i] for i, j in pairs], axis=-1)


def _rotate(rotation: schema.Array, vectors: schema.Array) -> jax.Array:
  """Rotations [..., 3, 3] times vectors [..., 3]."""
  return _sum(rotation * vectors[..., None, :])


def _transpose(rotation: schema.Array) -> jax.Array:
  return jnp.swapaxes(rotation, -1, -2)


@schema.pytree
class Rigid:
  """Frames over any batch axes `...`."""

  rotation: schema.Array  # [..., 3, 3], its columns are the local axes in global coordinates
  translation: schema.Array  # [..., 3], the local origin

  def __getitem__(self, index: Any) -> 'Rigid':
    """Indexes the batch axes as an array would: `frames[0]`, `frames[..., None]`."""
    batch = index if isinstance(index, tuple) else (index,)
    return Rigid(
      rotation=self.rotation[(*batch, slice(None), slice(None))], translation=self.translation[(*batch, slice(None))]
    )

  def __matmul__(self, other: 'Rigid') -> 'Rigid':
    """Composition: first `other`, then `self`."""
    columns = _transpose(other.rotation)
    rotation = _sum(self.rotation[..., :, None, :] * columns[..., None, :, :])
    return Rigid(rotation=rotation, translation=self.apply(other.translation))

  def apply(self, points: schema.Array) -> jax.Array:
    """Maps local points [..., 3] to global ones."""
    return _rotate(self.rotation, points) + self.translation

  def invert_apply(self, points: schema.Array) -> jax.Array:
    """Maps global points [..., 3] to local ones."""
    return _rotate(_transpose(self.rotation), points - self.translation)

  def inverse(self) -> 'Rigid':
    """The inverse motion."""
    rotation = _transpose(self.rotation)
    return Rigid(rotation=rotation, translation=-_rotate(rotation, self.translation))

  def scaled(self, factor: float) -> 'Rigid':
    """The same frames in another unit of length."""
    return Rigid(rotation=self.rotation, translation=self.translation * factor)


def identity(batch_shape: tuple[int, ...] = ()) -> Rigid:
  """Frames that leave points where they are."""
  return Rigid(
    rotation=jnp.broadcast_to(jnp.eye(3, dtype=jnp.float32), (*batch_shape, 3, 3)),
    translation=jnp.zeros((*batch_shape, 3), jnp.float32),
  )


def from_matrix(matrix: schema.Array) -> Rigid:
  """Frames from homogeneous matrices [..., 4, 4]."""
  return Rigid(rotation=matrix[..., :3, :3], translation=matrix[..., :3, 3])


def _direction(vector: schema.Array) -> jax.Array:
  length = jnp.sqrt(_dot(vector, vector) + EPSILON)
  return jnp.stack([vector[..., axis] / length for axis in range(3)], axis=-1)


def rotation_from_axes(x_axis: schema.Array, xy_plane: schema.Array) -> jax.Array:
  """Rotations [..., 3, 3] whose x-axis is along one vector and whose xy-plane holds another, at positive y.

  Gram-Schmidt, lines 3-7 of Algorithm 21 "rigidFrom3Points". Vectors that do not span a plane give zero columns.

  Departs from the paper: lengths have an epsilon in the root.

  Args:
    x_axis, xy_plane: [..., 3] of any length
  """
  e1 = _direction(x_axis)
  e2 = _direction(xy_plane - _dot(xy_plane, e1)[..., None] * e1)
  e3 = _cross(e1, e2)
  return jnp.stack([e1, e2, e3], axis=-1)


def from_three_points(x1: schema.Array, x2: schema.Array, x3: schema.Array) -> Rigid:
  """Frames from three points [..., 3] each: Algorithm 21 "rigidFrom3Points".

  The origin is at x2, x3 lies on the positive x-axis, and x1 in the xy-plane at positive y. Backbone frames are
  `from_three_points(N, CA, C)`.
  """
  return Rigid(rotation=rotation_from_axes(x3 - x2, x1 - x2), translation=x2)


def from_quaternion_vector(bcd: schema.Array, translation: schema.Array) -> Rigid:
  """Frames rotated by the normalised quaternion (1, b, c, d): lines 2-3 of Algorithm 23 "BackboneUpdate".

  Args:
    bcd: [..., 3]; 0 is no rotation, a very long vector half a turn about its direction.
    translation: [..., 3]
  """
  length = jnp.sqrt(1 + _dot(bcd, bcd))
  a = 1 / length
  b, c, d = (bcd[..., axis] / length for axis in range(3))
  rows = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d],
  ]
  return Rigid(rotation=jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2), translation=translation)
