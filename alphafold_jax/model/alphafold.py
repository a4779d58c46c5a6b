# SPDX-License-Identifier: Apache-2.0
"""The network, Algorithm 2: one pass from a batch to a structure, its confidence, and what the next pass recycles.

m [N_seq, N_res, c_m] MSA representation, z [N_res, N_res, c_z] pair representation, s [N_res, c_s] single.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import ops, schema
from alphafold_jax.confidence import Confidence
from alphafold_jax.model import embedders, recycling, templates
from alphafold_jax.model.embedders import EmbedderSpec, InputEmbedder, RecyclingEmbedder
from alphafold_jax.model.evoformer import EvoformerSpec, evoformer_stack
from alphafold_jax.model.heads import Heads, HeadsSpec
from alphafold_jax.model.layers import Linear
from alphafold_jax.model.pair import PairSpec
from alphafold_jax.model.sampling import SamplingSpec, sample_msa
from alphafold_jax.model.structure import StructureModule, StructureSpec
from alphafold_jax.model.templates import TemplateContext, TemplateEmbedder, TemplatePointwiseAttention, TemplateSpec
from alphafold_jax.ops import axial

Params = Mapping[str, Mapping[str, schema.Array]]


@dataclasses.dataclass(frozen=True)
class AlphaFoldSpec:
  """Everything that shapes the network; hashable, so that equal specs share one compilation.

  `templates` is None for models without templates; `dtype` is that of the trunk's activations.
  """

  sampling: SamplingSpec
  embedder: EmbedderSpec
  templates: TemplateSpec | None
  extra_msa: EvoformerSpec
  evoformer: EvoformerSpec
  structure: StructureSpec
  heads: HeadsSpec
  c_s: int
  num_ensemble: int
  dtype: str
  kernels: ops.Kernels


@schema.pytree
class Context:
  """What does not change between passes."""

  templates: TemplateContext | None


@schema.pytree
class Predicted:
  """What a pass gives for a prediction, on the device; pairs in the trunk's dtype."""

  structure: schema.Structure
  confidence: Confidence
  representations: schema.Representations
  recycled: schema.Recycled


class AlphaFold:
  """Algorithm 2 "Inference", one pass of its recycling loop; not itself a module, so parameter names stay short."""

  def __init__(self, spec: AlphaFoldSpec):
    self.spec = spec
    self.dtype = jnp.dtype(spec.dtype)

  def prepare(self, batch: schema.Batch) -> Context:
    """Computes what every pass shares."""
    if self.spec.templates is None or not batch.templates.mask.shape[0]:
      return Context(templates=None)
    with ops.use_kernels(self.spec.kernels), _in_dtype(self.dtype):
      embedder = TemplateEmbedder(self.spec.templates, self.spec.embedder.c_m, name='template_embedder')
      return Context(templates=embedder(batch.templates, batch.seq_mask, self.dtype))  # lines 7, 9, 10

  def __call__(self, batch: schema.Batch, context: Context, previous: schema.Recycled) -> schema.Outputs:
    """One pass with all there is to learn from: training takes its gradient."""
    with ops.use_kernels(self.spec.kernels):
      first_row, representations, structure, target = self._fold(batch, context, previous)
      pair = representations.pair.astype(jnp.float32)
      representations = dataclasses.replace(representations, pair=pair)
      return schema.Outputs(
        structure=structure,
        logits=Heads(self.spec.heads, name='heads')(representations),
        representations=representations,
        masked_msa=target,
        recycled=schema.Recycled(msa_first_row=first_row, pair=pair, atom_positions=structure.atom_positions),
      )

  def predict(self, batch: schema.Batch, context: Context, previous: schema.Recycled) -> Predicted:
    """One pass with what a prediction takes from it: no logits of pairs, and pairs in the trunk's dtype."""
    with ops.use_kernels(self.spec.kernels):
      first_row, representations, structure, _ = self._fold(batch, context, previous)
      score = Heads(self.spec.heads, name='heads').confidence(
        representations.pair, representations.structure_module, structure.atom_positions, batch.seq_mask
      )
      recycled = schema.Recycled(
        msa_first_row=first_row, pair=representations.pair, atom_positions=structure.atom_positions
      )
      return Predicted(structure=structure, confidence=score, representations=representations, recycled=recycled)

  def _fold(self, batch, context, previous):
    """All but the heads: first row of the MSA, representations (pairs in the trunk's dtype), structure, target."""
    msa, first_row, pair, target = self._ensemble(batch, context, previous)
    single = Linear(self.spec.c_s, name='single')(first_row)  # Alg. 6 line 12
    with jax.default_matmul_precision('float32'):  # coordinates do not survive TF32
      structure_single, structure = StructureModule(self.spec.structure, name='structure_module')(
        single, pair.astype(jnp.float32), batch.aatype, batch.seq_mask
      )  # line 21
    representations = schema.Representations(msa=msa, single=single, pair=pair, structure_module=structure_single)
    return first_row, representations, structure, target

  def _ensemble(self, batch, context, previous):
    """The trunk, averaged over draws of the MSA (line 3); the MSA representation is that of the first draw."""
    num = self.spec.num_ensemble
    if num == 1:
      return self._trunk(hk.next_rng_key(), batch, context, previous)

    def add_draw(carry, key):
      msa, first_row, pair, target, index = carry
      new_msa, new_first_row, new_pair, new_target = self._trunk(key, batch, context, previous)
      msa, target = jax.tree.map(lambda new, old: jnp.where(index == 0, new, old), (new_msa, new_target), (msa, target))
      return (msa, first_row + new_first_row / num, pair + new_pair / num, target, index + 1), None

    keys = jax.random.split(hk.next_rng_key(), num)
    (msa, first_row, pair, target, _), _ = hk.scan(add_draw, (*self._zeros(batch), jnp.int32(0)), keys)
    return msa, first_row, pair.astype(self.dtype), target

  def _zeros(self, batch):
    """What the trunk returns, as zeros."""
    num_msa, num_res = min(self.spec.sampling.num_msa, batch.msa.tokens.shape[0]), batch.aatype.shape[0]
    e, own = self.spec.embedder, num_res // axial.num_shares()
    return (
      jnp.zeros((num_msa, own, e.c_m)),
      jnp.zeros((num_res, e.c_m)),
      jnp.zeros((own, num_res, e.c_z)),
      schema.MaskedMsa(tokens=jnp.zeros((num_msa, own), jnp.int32), mask=jnp.zeros((num_msa, own))),
    )

  def _trunk(self, key, batch, context, previous):
    """Lines 4-18: msa [N_clust, N_res, c_m], its first row, pair, and the masked-MSA target."""
    key_sample, key_dropout = jax.random.split(key)
    sample = axial.share(sample_msa(key_sample, batch.msa, self.spec.sampling), 1)  # from here on, if devices share
    with hk.with_rng(key_dropout), _in_dtype(self.dtype):
      m, z = self._embed(batch, context, previous, sample)
    num_msa = sample.mask.shape[0]
    m = m.astype(jnp.float32)
    return m[:num_msa], axial.gather(m[0], 0), z, sample.target

  def _embed(self, batch, context, previous, sample):
    spec, dtype = self.spec, self.dtype
    pair_mask = axial.share(batch.seq_mask, 0)[:, None] * batch.seq_mask[None]
    m, z = InputEmbedder(spec.embedder, name='input_embedder')(  # line 5
      embedders.target_features(batch).astype(dtype),
      embedders.msa_features(batch, sample).astype(dtype),
      batch.residue_index,
    )
    first_row, pair = RecyclingEmbedder(spec.embedder, name='recycling_embedder')(batch.aatype, previous)  # line 6
    m = m.at[0].add(first_row.astype(dtype))
    z += pair.astype(dtype)
    if context.templates is not None:
      attention = TemplatePointwiseAttention(spec.templates, name='template_attention')
      z += attention(z, context.templates.pair, context.templates.mask)  # lines 12, 13
    a = Linear(spec.embedder.c_extra, name='extra_msa_embedder')(
      embedders.extra_msa_features(sample).astype(dtype)
    )  # lines 14, 15
    _, z = evoformer_stack(spec.extra_msa, 'extra_msa_stack', a, z, sample.extra_mask, pair_mask)  # line 16
    msa_mask = sample.mask
    if context.templates is not None:
      m, msa_mask = templates.append_rows(m, msa_mask, context.templates)  # lines 7, 8
    return evoformer_stack(spec.evoformer, 'evoformer', m, z, msa_mask, pair_mask)  # line 17


_IN_FLOAT32 = ('scale', 'offset', 'norm_scale', 'norm_offset')  # of normalisations, whose arithmetic is float32


def _in_dtype(dtype: jnp.dtype):
  """Lets modules inside see their float32 parameters in the trunk's dtype; gradients stay float32."""

  def getter(next_getter, value, context):
    value = next_getter(value)
    return value if context.full_name.rsplit('/', 1)[-1] in _IN_FLOAT32 else value.astype(dtype)

  return hk.custom_getter(getter, params=True, state=False)


class Network(NamedTuple):
  """The network as pure functions.

  `init(key, batch) -> params`; `prepare(params, key, batch) -> Context`;
  `iterate(params, key, batch, context, previous) -> Outputs`; `predict`, alike, `-> Predicted`. Keys are consumed.
  """

  init: Callable[..., Params]
  prepare: Callable[..., Context]
  iterate: Callable[..., schema.Outputs]
  predict: Callable[..., Predicted]


@functools.cache
def network(spec: AlphaFoldSpec) -> Network:
  """Builds the pure functions of a spec."""

  def build():
    module = AlphaFold(spec)

    def init(batch):
      previous = recycling.initial_recycled(batch.aatype.shape[0], spec.embedder.c_m, spec.embedder.c_z)
      return module(batch, module.prepare(batch), previous)

    return init, (module.prepare, module.__call__, module.predict)

  transformed = hk.multi_transform(build)
  prepare, iterate, predict = transformed.apply
  return Network(init=transformed.init, prepare=prepare, iterate=iterate, predict=predict)


def make_spec(config: Mapping[str, Any]) -> AlphaFoldSpec:
  """Turns a configuration into specs, once, at the door.

  Args:
    config: a mapping (ConfigDict) with a section per spec, see config.py.

  Raises:
    ValueError: a key is missing, misspelt or of another kind, before anything is traced.
  """
  try:
    return AlphaFoldSpec(
      sampling=SamplingSpec(**config['sampling']),
      embedder=EmbedderSpec(**config['embedder']),
      templates=_with_pair(TemplateSpec, config['templates']) if config['templates'] is not None else None,
      extra_msa=_with_pair(EvoformerSpec, config['extra_msa']),
      evoformer=_with_pair(EvoformerSpec, config['evoformer']),
      structure=StructureSpec(**config['structure']),
      heads=HeadsSpec(**config['heads']),
      kernels=ops.Kernels(**config['kernels']),
      **{key: config[key] for key in ('c_s', 'num_ensemble', 'dtype')},
    )
  except (TypeError, KeyError) as error:
    raise ValueError(f'the configuration does not fit the network: {error}') from error


def _with_pair(spec: type, section: Mapping[str, Any]) -> Any:
  pair = section['pair']
  return spec(**{**section, 'pair': PairSpec(**{**pair, 'order': tuple(pair['order'])})})
