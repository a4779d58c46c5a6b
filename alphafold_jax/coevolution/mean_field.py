# SPDX-License-Identifier: Apache-2.0
"""Mean-field direct-coupling analysis (Morcos et al., PNAS 2011, doi:10.1073/pnas.1111471108).

A column of an alignment is a vector of q = 21 indicators, 20 residue types and the gap, which sum to one. The couplings
of two columns are the block of the negative inverse of all columns' covariance, of frequencies with a pseudocount:

  f_i(a) = (1 - p) n_i(a) + p / q      f_ij(a, b) = (1 - p) n_ij(a, b) + p / q^2      for i != j

What sums to zero over the 21 states has 20 dimensions. In an orthonormal basis of these the covariance is, exactly,

  C = (1 - p) (S + p u u') + (p / q) 1

with S the covariance of the weighted rows and u the mean of the rows less 1 / q. So C is (p / q) (1 + Z'Z) for a matrix
Z of one row per sequence and one for u: symmetric, positive definite, and never closer to singular than p / q. Blocks
of the inverse in this basis are the couplings in the zero-sum gauge, in which their Frobenius norm is smallest.
Z'Z has as many rows as there are states, ZZ' as there are sequences: the inverse goes through the smaller of both,

  (1 + Z'Z)^-1 = T'T, T = L^-1, LL' = 1 + Z'Z     or     1 - T'T, T = L^-1 Z, LL' = 1 + ZZ'

of which only the norms of blocks off the diagonal, the same of T'T, are ever computed.

N rows of the alignment, L columns. `known` [N, L] is 0 in padding and where a residue is of unknown type: such a cell
counts as the mean of its column.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax.constants import residues

NUM_STATES = 21  # residue types and the gap
NUM_FREE = NUM_STATES - 1  # dimensions of what sums to zero
_ROWS_AT_ONCE = 64  # rows compared with all others at a time
_COLUMNS_AT_ONCE = 16  # columns multiplied with all others at a time
_NOTHING = -1  # in place of a token that is not known
_TIE = 1e-3  # of a cell: identities that are equal to the threshold up to rounding reach it


def _basis() -> np.ndarray:  # [22, 20] float32
  """The basis: a row for each token, zero for unknown; only the last vector tells residues from the gap."""
  vectors = np.zeros((residues.GAP + 1, NUM_FREE))
  states = [*range(residues.UNKNOWN), residues.GAP]
  for k in range(NUM_FREE):  # k + 1 states against the next one
    vectors[states[: k + 1], k] = 1
    vectors[states[k + 1], k] = -(k + 1)
    vectors[:, k] /= math.sqrt((k + 1) * (k + 2))
  return vectors.astype(np.float32)


BASIS = _basis()
# Of the couplings the literature sums those of residues only. The rows of the basis without the gap's are orthogonal
# still, and the last column has this squared length instead of 1.
_WITHOUT_GAP = np.append(np.ones(NUM_FREE - 1), 1 / NUM_STATES).astype(np.float32)


def sequence_weights(tokens: jax.Array, known: jax.Array, identity: float = 0.8) -> jax.Array:
  """One over the number of rows, itself among them, that are alike in at least this share of their common columns.

  Gaps are a state like residues, as in the literature.

  Args:
    tokens: [N, L]
    known: [N, L]
    identity: 0 to 1

  Returns:
    [N], 0 for rows of which nothing is known.
  """
  num_row, num_res = tokens.shape
  cells = jnp.where(known > 0, tokens, _NOTHING).astype(jnp.int8)
  columns = cells.T

  def relatives(row: tuple[jax.Array, jax.Array]) -> jax.Array:
    own, own_known = row

    def add(column: jax.Array, alike: jax.Array) -> jax.Array:  # ten times as fast on CPUs as products of indicators
      return alike + ((columns[column] == own[column]) & (own[column] != _NOTHING)).astype(jnp.int16)

    alike = jax.lax.fori_loop(0, num_res, add, jnp.zeros(num_row, jnp.int16))
    common = known @ own_known
    return jnp.sum((alike >= identity * common - _TIE) & (common > 0))

  counts = jax.lax.map(relatives, (cells, known), batch_size=_ROWS_AT_ONCE)
  return jnp.where(counts > 0, 1 / jnp.maximum(counts, 1), 0.0)


def coupling_norms(
  tokens: jax.Array, known: jax.Array, weights: jax.Array, pseudocount: float = 0.5
) -> jax.Array:  # [L, L]
  """The Frobenius norm of each two columns' couplings in the zero-sum gauge, the gap's left out; the diagonal is 0.

  Args:
    tokens: [N, L]
    known: [N, L]
    weights: [N]
    pseudocount: 0 to 1, neither of both
  """
  num_row, num_res = tokens.shape
  vectors = jnp.asarray(BASIS)[tokens] * known[..., None]
  share = jnp.maximum(weights @ known, 1e-12)
  mean = jnp.einsum('n,nla->la', weights, vectors) / share[:, None]
  scale = jnp.sqrt(weights / jnp.maximum(jnp.sum(weights), 1e-12))
  centred = (vectors - mean) * (scale[:, None] * known)[..., None]
  z = jnp.concatenate([centred, math.sqrt(pseudocount) * mean[None]]).reshape(num_row + 1, num_res * NUM_FREE)
  ridge = pseudocount / NUM_STATES
  t = _factor(math.sqrt((1 - pseudocount) / ridge) * z).reshape(-1, num_res, NUM_FREE)
  t = t * jnp.sqrt(jnp.asarray(_WITHOUT_GAP))

  def norms_of(column: jax.Array) -> jax.Array:  # [k, 20] -> [L]
    return jnp.sqrt(jnp.sum(jnp.square(jnp.einsum('ka,klb->lab', column, t)), axis=(1, 2)))

  norms = jax.lax.map(norms_of, t.swapaxes(0, 1), batch_size=_COLUMNS_AT_ONCE) / ridge
  return norms * (1 - jnp.eye(num_res))


def _factor(z: jax.Array) -> jax.Array:  # [N, n] -> [N or n, n]
  """T of the module's text: T'T is the inverse of 1 + z'z, or 1 less that, so that both agree off the diagonal."""
  num_row, num_column = z.shape
  if num_row < num_column:
    lower, right = jnp.linalg.cholesky(jnp.eye(num_row) + z @ z.T, symmetrize_input=False), z
  else:
    unit = jnp.eye(num_column)
    lower, right = jnp.linalg.cholesky(unit + z.T @ z, symmetrize_input=False), unit
  return jax.scipy.linalg.solve_triangular(lower, right, lower=True)


def average_product_corrected(norms: jax.Array, columns: jax.Array) -> jax.Array:
  """Takes from each pair what its columns have in common with all: Dunn et al. 2008, doi:10.1093/bioinformatics/btm604.

  Args:
    norms: [L, L]
    columns: [L] 0: padding, or nothing is known of it

  Returns:
    [L, L], 0 on the diagonal.
  """
  pairs = columns[:, None] * columns * (1 - jnp.eye(len(columns)))
  norms = norms * pairs
  of_column = jnp.sum(norms, axis=1) / jnp.maximum(jnp.sum(pairs, axis=1), 1)
  overall = jnp.sum(norms) / jnp.maximum(jnp.sum(pairs), 1)
  return (norms - of_column[:, None] * of_column / jnp.maximum(overall, 1e-12)) * pairs


@functools.partial(jax.jit, static_argnames=('identity', 'pseudocount'))
def analysed(
  tokens: jax.Array, known: jax.Array, weights: jax.Array | None, *, identity: float, pseudocount: float
) -> tuple[jax.Array, jax.Array]:
  """All of it: corrected scores [L, L], and the sum of the weights; these are computed unless they are given."""
  with jax.default_matmul_precision('float32'):
    known = known * (tokens != residues.UNKNOWN)
    if weights is None:
      weights = sequence_weights(tokens, known, identity)
    columns = jnp.any((weights[:, None] > 0) & (known > 0), axis=0).astype(jnp.float32)
    norms = coupling_norms(tokens, known, weights, pseudocount)
    return average_product_corrected(norms, columns), jnp.sum(weights)
