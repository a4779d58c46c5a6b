# SPDX-License-Identifier: Apache-2.0
"""Templates: Algorithm 16 (pair stack), Algorithm 17 (pointwise attention), and torsion rows (Alg. 2 lines 7, 8).

Networks of complexes (Evans et al. 2021) have the mean over slots in place of Algorithm 17, see TemplateMean.

T templates; t [N_res, N_res, c_t] one template's pair representation, z [N_res, N_res, c_z].
"""

import dataclasses
from collections.abc import Callable, Mapping

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.model import template_features
from alphafold_jax.model.layers import LayerNorm, Linear, attention_weights, filled, weight
from alphafold_jax.model.pair import PairSpec, PairStackBlock


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
  aggregation: str = 'attention'  # a row of AGGREGATION
  rows: str = 'torsions'  # a row of template_features.ROWS: what is put after the alignment's rows

  @property
  def bins(self) -> template_features.Bins:
    return self.min_distance, self.max_distance, self.num_bins

  @property
  def in_every_pass(self) -> bool:
    """Whether pairs are embedded in every pass anew, empty slots too; else once, and none if there are no templates."""
    return self.aggregation == MEAN


@schema.pytree
class TemplateContext:
  """What templates contribute, the same in every pass; `pair` is None where pairs are embedded in every pass."""

  pair: schema.Array | None = schema.array('num_templ', 'num_res', 'num_res', 'c_t')
  rows: schema.Array = schema.array('num_templ', 'num_res', 'c_m')
  rows_mask: schema.Array = schema.array('num_templ', 'num_res')
  mask: schema.Array = schema.array('num_templ')


class TemplatePairStack(hk.Module):
  """Algorithm 16, after the embedding of one template's features."""

  def __init__(self, spec: TemplateSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, features: jax.Array, mask: jax.Array) -> jax.Array:  # [N_res, N_res, 88], [N_res, N_res]
    t = Linear(self.spec.c_t, init='relu', name='embed')(features)  # Alg. 2 line 9
    return _blocks(self.spec, t, mask)


def _blocks(spec: TemplateSpec, t: jax.Array, mask: jax.Array) -> jax.Array:
  """Lines 1 to 7 of Algorithm 16, in the module that calls it."""

  def block(t):
    return PairStackBlock(spec.pair, name='block')(t, mask)

  block = hk.remat(block) if spec.remat else block
  t = hk.experimental.layer_stack(spec.num_block, name='stack')(block)(t)  # lines 1-6
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


class TemplateWithQuery(hk.Module):
  """One template's pair representation, of its geometry and of what z says of the pairs."""

  def __init__(self, spec: TemplateSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, query: jax.Array, template: schema.Templates, mask: jax.Array) -> jax.Array:
    """From the query [N_res, N_res, c_t], one slot (without the axis of templates) and the pairs' mask to t."""
    spec, c, dtype = self.spec, self.spec.c_t, query.dtype
    geometry = template_features.pair_geometry(template, spec.bins)
    types = jax.nn.one_hot(template.aatype, template_features.NUM_TYPES, dtype=dtype)
    of_i, of_j = (ops.dot(types, weight(f'type_{side}', (types.shape[-1], c), 'relu')) for side in 'ij')
    t = query + ops.dot(geometry.astype(dtype), weight('geometry', (geometry.shape[-1], c), 'relu'))
    t += ops.pairwise(jnp.add, of_i, of_j) + jnp.sum(filled('bias', (8, c)), axis=0)  # each input had its own
    return _blocks(spec, t.astype(dtype), mask)


class TemplateMean(hk.Module):
  """The mean over slots of what the pair stack makes of each template together with z (Evans et al. 2021).

  Each slot counts, whether or not it holds a template.
  """

  def __init__(self, spec: TemplateSpec, name: str | None = None):
    super().__init__(name=name)
    self.spec = spec

  def __call__(self, z: jax.Array, templates: schema.Templates, seq_mask: jax.Array) -> jax.Array:
    c_t, num_slots = self.spec.c_t, templates.mask.shape[0]
    query = Linear(c_t, init='relu', name='query')(LayerNorm(name='query_norm')(z))
    embed, pair_mask = TemplateWithQuery(self.spec, name='template'), ops.pairwise(jnp.multiply, seq_mask)

    def add(total, slot):  # one after another, to bound memory
      key, template = slot
      with hk.with_rng(key):
        return total + embed(query, template, pair_mask), None

    key = hk.next_rng_key() if self.spec.pair.dropout else jax.random.key(0)
    total, _ = hk.scan(add, jnp.zeros_like(query), (jax.random.split(key, num_slots), templates))
    return Linear(z.shape[-1], init='relu', name='out')(jax.nn.relu(total / num_slots))


class TemplateEmbedder(hk.Module):
  """Algorithm 2 lines 7 and 9-12: each template by itself, and its torsions as rows for the MSA."""

  def __init__(self, spec: TemplateSpec, c_m: int, name: str | None = None):
    super().__init__(name=name)
    self.spec, self.c_m = spec, c_m

  def __call__(self, templates: schema.Templates, seq_mask: jax.Array, dtype: jnp.dtype) -> TemplateContext:
    pair = None if self.spec.in_every_pass else self._pairs(templates, seq_mask, dtype)
    row_features = template_features.ROWS[self.spec.rows]
    features, rows_mask = row_features(templates.aatype, templates.atom_positions, templates.atom_mask)
    rows = Linear(self.c_m, init='relu', name='torsions_in')(features.astype(dtype))  # line 7
    rows = Linear(self.c_m, name='torsions_out')(jax.nn.relu(rows))
    return TemplateContext(pair=pair, rows=rows, rows_mask=rows_mask, mask=templates.mask)

  @hk.transparent
  def _pairs(self, templates: schema.Templates, seq_mask: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """[T, N_res, N_res, c_t], lines 9 to 12."""
    pair_mask = ops.pairwise(jnp.multiply, seq_mask)
    stack, bins = TemplatePairStack(self.spec, name='pair_stack'), self.spec.bins

    def embed(key, aatype, positions, atom_mask):
      with hk.with_rng(key):
        return stack(template_features.pair_features(aatype, positions, atom_mask, bins).astype(dtype), pair_mask)

    def embed_unless_empty(template):  # lines 10-12; one template after another, to bound memory
      mask, *given = template
      if not self.spec.skip_empty or hk.running_init():
        return embed(*given)
      return hk.cond(mask > 0, embed, lambda *_: jnp.zeros((*pair_mask.shape, self.spec.c_t), dtype), *given)

    key = hk.next_rng_key() if self.spec.pair.dropout else jax.random.key(0)
    keys = jax.random.split(key, templates.aatype.shape[0])
    given = templates.aatype, templates.atom_positions, templates.atom_mask
    return hk.map(embed_unless_empty, (templates.mask, keys, *given))


def append_rows(m: jax.Array, msa_mask: jax.Array, context: TemplateContext) -> tuple[jax.Array, jax.Array]:
  """Puts the templates' torsion rows after the MSA's (Alg. 2 line 8)."""
  rows, rows_mask = ops.own_residues((context.rows, context.rows_mask), axis=1)
  return jnp.concatenate([m, rows]), jnp.concatenate([msa_mask, rows_mask])


def shown(spec: TemplateSpec | None, batch: schema.Batch) -> schema.Templates | None:
  """The slots that a network sees; None where it takes no templates, or is given none and can do without."""
  if spec is None:
    return None
  if spec.in_every_pass:
    return template_features.filled_slots(batch.templates, batch.asym_id)
  return batch.templates if batch.templates.mask.shape[0] else None


def _attended(spec: TemplateSpec, z: jax.Array, context: TemplateContext, batch: schema.Batch) -> jax.Array:
  assert context.pair is not None  # embedded once
  return TemplatePointwiseAttention(spec, name='template_attention')(z, context.pair, context.mask)


def _averaged(spec: TemplateSpec, z: jax.Array, context: TemplateContext, batch: schema.Batch) -> jax.Array:
  templates = shown(spec, batch)
  assert templates is not None  # there is at least an empty slot
  return TemplateMean(spec, name='template_mean')(z, templates, batch.seq_mask)


MEAN = 'mean'
# What all templates say of pairs (Alg. 2 line 13): a function of the spec, z, what all passes share, and the batch.
AGGREGATION: Mapping[str, Callable[..., jax.Array]] = {'attention': _attended, MEAN: _averaged}
