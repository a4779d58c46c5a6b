# SPDX-License-Identifier: Apache-2.0
"""The network, Algorithm 2: one pass from a batch to a structure, its confidence, and what the next pass recycles.

m [N_seq, N_res, c_m] MSA representation, z [N_res, N_res, c_z] pair representation, s [N_res, c_s] single.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from alphafold_jax import machine, ops, schema
from alphafold_jax.confidence import Confidence
from alphafold_jax.model import embedders, templates
from alphafold_jax.model.embedders import CouplingsEmbedder, EmbedderSpec, InputEmbedder, RecyclingEmbedder
from alphafold_jax.model.evoformer import EvoformerSpec, evoformer_stack
from alphafold_jax.model.heads import Heads, HeadsSpec
from alphafold_jax.model.layers import Linear
from alphafold_jax.model.pair import PairSpec
from alphafold_jax.model.sampling import MsaSample, SamplingSpec, sample_msa
from alphafold_jax.model.structure import StructureModule, StructureSpec
from alphafold_jax.model.templates import TemplateContext, TemplateEmbedder, TemplateSpec

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
class Trunk:
  """What the trunk makes of the alignment, lines 4 to 20: averaged over its draws, or of the first of them."""

  msa: schema.Array = schema.array('num_msa', 'num_res', 'c_m')  # of the first draw
  first_row: schema.Array = schema.array('num_res', 'c_m')
  pair: schema.Array = schema.array('num_res', 'num_res', 'c_z')  # in the trunk's dtype
  target: schema.MaskedMsa  # of the first draw


@schema.pytree
class Predicted:
  """What a pass gives for a prediction; pairs in the trunk's dtype."""

  structure: schema.Structure
  confidence: Confidence
  representations: schema.Representations
  recycled: schema.Recycled


class AlphaFold:
  """Algorithm 2 "Inference", one pass of its recycling loop; not itself a module, so parameter names stay short."""

  def __init__(self, spec: AlphaFoldSpec):
    self.spec = spec
    self.dtype = jnp.dtype(spec.dtype)

  def initial(self, num_res: int, dtype: str = 'float32') -> schema.Recycled:
    """The zeros that the first pass recycles (line 1), pairs in a dtype: the trunk's own, where room is short."""
    e = self.spec.embedder
    return schema.Recycled(
      msa_first_row=jnp.zeros((num_res, e.c_m)),
      pair=ops.zero_pairs(num_res, e.c_z, dtype),
      atom_positions=jnp.zeros((num_res, 37, 3)),
    )

  def prepare(self, batch: schema.Batch) -> Context:
    """Embeds the templates (lines 7, 9-12), as far as every pass shares it."""
    shown = templates.shown(self.spec.templates, batch)
    if shown is None or self.spec.templates is None:
      return Context(templates=None)
    with in_dtype(self.dtype):
      embedder = TemplateEmbedder(self.spec.templates, self.spec.embedder.c_m, name='template_embedder')
      return Context(templates=embedder(shown, batch.seq_mask, self.dtype))

  def rows(self, batch: schema.Batch) -> MsaSample:
    """The alignment's rows of one pass ahead of it (lines 3, 4): each draw's along a leading axis, `num_ensemble`."""
    return jax.lax.map(lambda key: self.draw(jax.random.split(key)[0], batch), self._keys())

  def trunk(
    self, batch: schema.Batch, context: Context, previous: schema.Recycled, rows: MsaSample | None = None
  ) -> Trunk:
    """The mean over draws of the alignment's rows (lines 3, 4, 18-20), which are drawn here unless they are given."""
    num, keys = self.spec.num_ensemble, self._keys()
    if num == 1:
      return self.trunk_of_draw(keys[0], batch, context, previous, jax.tree.map(lambda x: x[0], rows))

    def add_draw(total, of_draw):
      key, index, rows = of_draw
      new = self.trunk_of_draw(key, batch, context, previous, rows)
      first = jax.tree.map(lambda new, old: jnp.where(index == 0, new, old), new, total)
      first_row, pair = total.first_row + new.first_row / num, total.pair + new.pair / num
      return dataclasses.replace(first, first_row=first_row, pair=pair), None

    shapes = hk.eval_shape(self.trunk_of_draw, keys[0], batch, context, previous, jax.tree.map(lambda x: x[0], rows))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    zeros = dataclasses.replace(zeros, pair=zeros.pair.astype(jnp.float32))
    total, _ = hk.scan(add_draw, zeros, (keys, jnp.arange(num), rows))
    return dataclasses.replace(total, pair=total.pair.astype(self.dtype))

  def _keys(self) -> jax.Array:
    """A key for each draw, the same for `rows` as for the pass that they belong to."""
    key, num = hk.next_rng_key(), self.spec.num_ensemble
    return key[None] if num == 1 else jax.random.split(key, num)

  def trunk_of_draw(
    self,
    key: jax.Array,
    batch: schema.Batch,
    context: Context,
    previous: schema.Recycled,
    sample: MsaSample | None = None,
  ) -> Trunk:
    """One draw of the alignment's rows, from its embedding to the last block (lines 5-17); the key is consumed."""
    spec, dtype = self.spec, self.dtype
    key_sample, key_dropout = jax.random.split(key)
    if sample is None:
      sample = ops.own_residues(self.draw(key_sample, batch), axis=1)
    pair_mask, msa_mask = ops.pairwise(jnp.multiply, batch.seq_mask), sample.mask
    given = embedders.features(batch, sample, spec.embedder.break_flag)
    target_feat, msa_feat, extra_feat = (feat.astype(dtype) for feat in given)
    with hk.with_rng(key_dropout), in_dtype(dtype):
      m, z = InputEmbedder(spec.embedder, name='input_embedder')(target_feat, msa_feat, batch)  # line 5
      if spec.embedder.couplings:  # not of the paper
        embedder = CouplingsEmbedder(spec.embedder, name='couplings_embedder')
        z += embedder(batch.couplings, len(batch.aatype), dtype)
      recycling = RecyclingEmbedder(spec.embedder, name='recycling_embedder')
      row, pair = recycling(batch.aatype, previous, dtype)  # line 6
      m, z = m.at[0].add(row.astype(dtype)), z + pair
      if context.templates is not None:
        assert spec.templates is not None  # else there were none to embed
        m, msa_mask = templates.append_rows(m, msa_mask, context.templates)  # line 8
        aggregate, z = templates.AGGREGATION[spec.templates.aggregation], ops.in_order(z)
        z += aggregate(spec.templates, z, context.templates, batch)  # line 13
      e = Linear(spec.embedder.c_extra, name='extra_msa_embedder')(extra_feat)  # lines 14, 15
      _, z = evoformer_stack(spec.extra_msa, 'extra_msa_stack', e, z, sample.extra_mask, pair_mask)  # line 16
      m, z = evoformer_stack(spec.evoformer, 'evoformer', m, z, msa_mask, pair_mask)  # line 17
    m = m.astype(jnp.float32)
    num_msa = sample.mask.shape[0]  # what follows are the templates' rows
    return Trunk(msa=m[:num_msa], first_row=ops.all_residues(m[0]), pair=z, target=sample.target)

  def draw(self, key: jax.Array, batch: schema.Batch) -> MsaSample:
    """The alignment's rows that one pass sees (line 4); the key is consumed."""
    return sample_msa(key, batch.msa, self.spec.sampling, batch.soft_sequence)

  def single(self, first_row: jax.Array) -> jax.Array:
    """The single representation (Alg. 6 line 12)."""
    return Linear(self.spec.c_s, name='single')(first_row)

  def fold(
    self, batch: schema.Batch, context: Context, previous: schema.Recycled, rows: MsaSample | None = None
  ) -> tuple[Trunk, schema.Representations, schema.Structure]:
    """The trunk and the structure it folds into (lines 3-21), pairs in the trunk's dtype."""
    trunk = self.trunk(batch, context, previous, rows)
    single = self.single(trunk.first_row)
    with jax.default_matmul_precision('float32'):  # coordinates do not survive TF32
      structure_single, structure = StructureModule(self.spec.structure, name='structure_module')(
        single, trunk.pair, batch.aatype, batch.seq_mask
      )  # line 21
    representations = schema.Representations(
      msa=trunk.msa, single=single, pair=trunk.pair, structure_module=structure_single
    )
    return trunk, representations, structure

  def __call__(self, batch: schema.Batch, context: Context, previous: schema.Recycled) -> schema.Outputs:
    """One pass with all there is to learn from: training takes its gradient."""
    trunk, representations, structure = self.fold(batch, context, previous)
    representations = dataclasses.replace(representations, pair=trunk.pair.astype(jnp.float32))
    return schema.Outputs(
      structure=structure,
      logits=Heads(self.spec.heads, name='heads')(representations),
      representations=representations,
      masked_msa=trunk.target,
      recycled=_recycled(trunk.first_row, representations, structure),
    )

  def predict(
    self,
    batch: schema.Batch,
    context: Context,
    previous: schema.Recycled,
    rows: MsaSample | None = None,
    keep_distogram: bool = False,
    has_chains: bool = False,
  ) -> Predicted:
    """One pass with what a prediction takes from it: no logits of pairs unasked, and pairs in the trunk's dtype.

    The rows are those of `rows`, with the same key: then the batch's own alignment is not looked at. Where there are
    several chains the confidence has what scores of interfaces need.
    """
    trunk, representations, structure = self.fold(batch, context, previous, rows)
    asym_id = batch.asym_id if has_chains else None
    heads = Heads(self.spec.heads, name='heads')
    return Predicted(
      structure=structure,
      confidence=heads.confidence(representations, structure, batch.seq_mask, keep_distogram, asym_id),
      representations=representations,
      recycled=_recycled(trunk.first_row, representations, structure),
    )


def _recycled(first_row, representations, structure):
  return schema.Recycled(msa_first_row=first_row, pair=representations.pair, atom_positions=structure.atom_positions)


_IN_FLOAT32 = ('scale', 'offset', 'norm_scale', 'norm_offset')  # of normalisations, whose arithmetic is float32


def in_dtype(dtype: jnp.dtype) -> contextlib.AbstractContextManager:
  """Lets modules inside see their float32 parameters in the trunk's dtype; gradients stay float32."""

  def getter(next_getter, value, context):
    value = next_getter(value)
    return value if context.full_name.rsplit('/', 1)[-1] in _IN_FLOAT32 else value.astype(dtype)

  return hk.custom_getter(getter, params=True, state=False)


class Network(NamedTuple):
  """The network as pure functions; keys are consumed.

  `init(key, batch) -> params`; `initial(num_res, dtype) -> Recycled`, what the first pass is given;
  `prepare(params, key, batch) -> Context`; `iterate(params, key, batch, context, previous) -> Outputs`, one pass;
  `predict`, alike, with the pass's rows drawn before it by `rows({}, key, batch)` if need be, `-> Predicted`.
  """

  init: Callable[..., Params]
  initial: Callable[..., schema.Recycled]
  prepare: Callable[..., Context]
  iterate: Callable[..., schema.Outputs]
  predict: Callable[..., Predicted]
  rows: Callable[..., MsaSample]


@functools.cache
def network(spec: AlphaFoldSpec) -> Network:
  """Builds the pure functions of a spec."""
  module, single = AlphaFold(spec), AlphaFold(dataclasses.replace(spec, num_ensemble=1))

  def build():
    def init(batch):  # an ensemble has the parameters of each of its draws
      return single(batch, single.prepare(batch), single.initial(len(batch.aatype)))

    return init, (module.prepare, module.__call__, module.predict, module.rows)

  transformed = hk.multi_transform(build)
  functions = (transformed.init, module.initial, *transformed.apply)
  return Network(*(_by_kernels(function, spec.kernels) for function in functions))


def _by_kernels(function: Callable, kernels: ops.Kernels) -> Callable:
  """A function whose operations use these kernels when it is traced."""

  @functools.wraps(function)
  def traced(*arguments, **named):
    machine.refuse_forked()
    with ops.use_kernels(kernels):
      return function(*arguments, **named)

  return traced


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
