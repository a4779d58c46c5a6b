# SPDX-License-Identifier: Apache-2.0
"""Templates: Algorithm 16 (pair stack), Algorithm 17 (pointwise attention), and torsion rows (Alg. 2 lines 7, 8).

T templates; t [N_res, N_res, c_t] one template's pair representation, z [N_res, N_res, c_z].
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.geometry import atoms
from alphafold_jax.model.embedders import distance_bins
from alphafold_jax.model.layers import LayerNorm, Linear, attention_weights
from alphafold_jax.model.pair import PairSpec, PairStackBlock

_N, _CA, _C = 0, 1, 2  # atom37


@dataclasses.dataclass(frozen=True)
class TemplateSpec:
  """Widths, distance bins (Å) and depth of the template embedding."""

  c_t: int
  num_block: int
  pair: PairSpec
  num_head: int
  num_bins: int
  min_distance: float
  max_distance: float
  remat: bool
  skip_empty: bool = False  # computes nothing for empty slots, which saves time where there are many, as in training


@schema.pytree
class TemplateContext:
  """What templates contribute, the same in every pass."""

  pair: schema.Array = schema.array('num_templ', 'num_res', 'num_res', 'c_t')
  rows: schema.Array = schema.array('num_templ', 'num_res', 'c_m')
  rows_mask: schema.Array = schema.array('num_templ', 'num_res')
  mask: schema.Array = schema.array('num_templ')


def pair_features(aatype: jax.Array, positions: jax.Array, atom_mask: jax.Array, spec: TemplateSpec) -> jax.Array:
  """[N_res, N_res, 88] of one template: distances 39, mask 1, residue types 22 + 22, unit vector 3, mask 1.

  Departs from the paper: the unit vectors of Suppl. Table 1 are left zero, and the mask that is applied to all
  channels is that of the backbone atoms.
  """
  beta, beta_mask = atoms.pseudo_beta(aatype, positions), atoms.pseudo_beta(aatype, atom_mask)
  backbone = atom_mask[:, _N] * atom_mask[:, _CA] * atom_mask[:, _C]
  types = jax.nn.one_hot(aatype, 22)
  mask = ops.pairwise(jnp.multiply, backbone)[..., None]
  features = jnp.concatenate(
    [
      distance_bins(beta, spec.min_distance, spec.max_distance, spec.num_bins),
      ops.pairwise(jnp.multiply, beta_mask)[..., None],
      ops.pairwise(lambda i, j: jnp.concatenate(jnp.broadcast_arrays(j, i), axis=-1), types),
      jnp.zeros((*mask.shape[:2], 3)),
      mask,
    ],
    axis=-1,
  )
  return features * mask


def torsion_features(aatype: jax.Array, positions: jax.Array, atom_mask: jax.Array) -> tuple[jax.Array, jax.Array]:
  """[T, N_res, 57] residue type 22, torsions 14, mirrored torsions 14, mask 7; and the rows' mask [T, N_res]."""
  sin_cos, mirrored, mask = jax.vmap(atoms.torsion_angles)(aatype, positions, atom_mask)
  flat = (*aatype.shape, 14)
  types = jax.nn.one_hot(aatype, 22)
  features = jnp.concatenate([types, sin_cos.reshape(flat), mirrored.reshape(flat), mask], axis=-1)
  return features, mask[..., 2]  # rows count where psi is known


class TemplatePairStack(hk.Module):
  """Algorithm 16, after the embedding of one template's features."""

  def __init__(self, spec: TemplateSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, features: jax.Array, mask: jax.Array) -> jax.Array:  # [N_res, N_res, 88], [N_res, N_res]
    t = Linear(self.spec.c_t, init='relu', name='embed')(features)  # Alg. 2 line 9

    def block(t):
      return PairStackBlock(self.spec.pair, name='block')(t, mask)

    block = hk.remat(block) if self.spec.remat else block
    t = hk.experimental.layer_stack(self.spec.num_block, name='stack')(block)(t)  # lines 1-6
    return LayerNorm(name='norm')(t)  # line 7


class TemplatePointwiseAttention(hk.Module):
  """Algorithm 17: each pair of residues weighs the templates; zero if there are none at all."""

  def __init__(self, spec: TemplateSpec, name: str | None = None):
    super().__init__(name=name)
    self.num_head, self.head_dim = spec.num_head, spec.c_t // spec.num_head

  def __call__(self, z: jax.Array, t: jax.Array, mask: jax.Array) -> jax.Array:  # t [T, N_res, N_res, c_t], mask [T]
    c_z = z.shape[-1]
    w = attention_weights(c_z, c_z, self.num_head, self.head_dim, c_kv=t.shape[-1], gated=False)
    q = ops.einsum('ijc,chd->ijhd', z, w.q).astype(z.dtype) * self.head_dim**-0.5  # line 1
    k, v = (ops.einsum('tijc,chd->tijhd', t, x).astype(t.dtype) for x in (w.k, w.v))  # line 2
    logits = jnp.sum(q * k, axis=-1, dtype=jnp.float32)  # [T, N_res, N_res, H]
    weights = jax.nn.softmax(jnp.where(mask[:, None, None, None] > 0, logits, -1e9), axis=0)  # line 3
    average = jnp.sum(weights[..., None].astype(v.dtype) * v, axis=0)  # line 4
    any_template = jnp.any(mask > 0).astype(z.dtype)
    return any_template * (ops.einsum('ijhd,hdo->ijo', average, w.out_w) + w.out_b).astype(z.dtype)  # line 5


class TemplateEmbedder(hk.Module):
  """Algorithm 2 lines 7 and 9-12: each template by itself, and its torsions as rows for the MSA."""

  def __init__(self, spec: TemplateSpec, c_m: int, name: str | None = None):
    super().__init__(name=name)
    self.spec, self.c_m = spec, c_m

  def __call__(self, templates: schema.Templates, seq_mask: jax.Array, dtype: jnp.dtype) -> TemplateContext:
    aatype, positions, atom_mask = templates.aatype, templates.atom_positions, templates.atom_mask
    pair_mask = ops.pairwise(jnp.multiply, seq_mask)
    stack = TemplatePairStack(self.spec, name='pair_stack')

    def embed(key, aatype, positions, atom_mask):
      with hk.with_rng(key):
        return stack(pair_features(aatype, positions, atom_mask, self.spec).astype(dtype), pair_mask)

    def embed_unless_empty(template):  # lines 10-12; one template after another, to bound memory
      mask, *given = template
      if not self.spec.skip_empty or hk.running_init():
        return embed(*given)
      return hk.cond(mask > 0, embed, lambda *_: jnp.zeros((*pair_mask.shape, self.spec.c_t), dtype), *given)

    key = hk.next_rng_key() if self.spec.pair.dropout else jax.random.key(0)
    keys = jax.random.split(key, aatype.shape[0])
    pair = hk.map(embed_unless_empty, (templates.mask, keys, aatype, positions, atom_mask))
    features, rows_mask = torsion_features(aatype, positions, atom_mask)
    rows = Linear(self.c_m, init='relu', name='torsions_in')(features.astype(dtype))  # line 7
    rows = Linear(self.c_m, name='torsions_out')(jax.nn.relu(rows))
    return TemplateContext(pair=pair, rows=rows, rows_mask=rows_mask, mask=templates.mask)


def append_rows(m: jax.Array, msa_mask: jax.Array, context: TemplateContext) -> tuple[jax.Array, jax.Array]:
  """Puts the templates' torsion rows after the MSA's (Alg. 2 line 8)."""
  rows, rows_mask = ops.own_residues((context.rows, context.rows_mask), axis=1)
  return jnp.concatenate([m, rows]), jnp.concatenate([msa_mask, rows_mask])
