# SPDX-License-Identifier: Apache-2.0
"""The network on what was recorded: all passes from the features after sampling, or one pass from what the trunk gave.

From the recorded representations the heads and the structure module compute in float32 what the recording program
computed in float32: this is exact, so that it shows which model made a recording, and takes a second. All of the passes
go through the trunk in bfloat16, as in the recording.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import config as configs
from alphafold_jax import ops, schema
from alphafold_jax.checking import comparing
from alphafold_jax.checking.recording import Recording
from alphafold_jax.constants import residues
from alphafold_jax.data import features
from alphafold_jax.errors import InputError
from alphafold_jax.model import alphafold, embedders
from alphafold_jax.model.alphafold import AlphaFold, AlphaFoldSpec
from alphafold_jax.model.sampling import MsaSample
from alphafold_jax.prediction import Model, configured
from alphafold_jax.settings import Settings

_AS_RECORDED = 1e-5  # how exactly our features of a sample must give the recorded ones


class AfterSampling(AlphaFold):
  """The network with the rows that it would draw given."""

  def __init__(self, spec: AlphaFoldSpec, sample: MsaSample):
    super().__init__(spec)
    self.sample = sample

  def draw(self, key: jax.Array, batch: schema.Batch) -> MsaSample:
    return self.sample


class AfterTrunk(AlphaFold):
  """The network with the trunk's result given; the single representation is made in the trunk's dtype."""

  def __init__(self, spec: AlphaFoldSpec, given: alphafold.Trunk):
    super().__init__(spec)
    self.given = given

  def trunk(
    self, batch: schema.Batch, context: alphafold.Context, previous: schema.Recycled, rows: MsaSample | None = None
  ) -> alphafold.Trunk:
    return self.given

  def single(self, first_row: jax.Array) -> jax.Array:
    with alphafold.in_dtype(self.dtype):
      return super().single(first_row.astype(self.dtype)).astype(jnp.float32)


# ------------------------------------------------------------------------------------------ the two replays


def passes(model: Model, recording: Recording, dtype: str) -> dict[str, np.ndarray]:
  """What the last pass gives when all are run on the recorded features.

  Args:
    model: one that predicts errors of pairs.
    recording: its features are fed in after sampling.
    dtype: of the trunk.

  Returns:
    the arrays of `comparing.OUTPUTS`.

  Raises:
    InputError: the features are not such as our network makes.
  """
  batch, samples = as_batch(recording), [as_sample(recording, index) for index in range(recording.num_pass)]
  run, params = _program(AfterSampling, _spec(model, dtype)), _params(model)
  previous = model.initial(len(batch.aatype))
  with _precision(dtype):
    for sample in samples:
      outputs = run(params, batch, sample, previous)
      previous = outputs.recycled
  return comparing.of_outputs(outputs)


def after_trunk(model: Model, recording: Recording, dtype: str) -> dict[str, np.ndarray]:
  """What the structure module and the heads, in float32, make of the recorded representations.

  Args:
    model: one that predicts errors of pairs.
    recording: its representations are fed in after the trunk.
    dtype: of the trunk, in which the single representation is made.

  Returns:
    the arrays of `comparing.OUTPUTS`; of the masked-MSA logits the first row.
  """
  first_row, pair = (jnp.asarray(recording.outputs[f'prev/prev_{name}']) for name in ('msa_first_row', 'pair'))
  nothing = jnp.zeros((1, len(first_row)), jnp.int32)
  target = schema.MaskedMsa(tokens=nothing, mask=nothing.astype(jnp.float32))
  given = alphafold.Trunk(msa=first_row[None], first_row=first_row, pair=pair, target=target)
  run = _program(AfterTrunk, _spec(model, dtype))
  with _precision('float32'):
    outputs = run(_params(model), as_batch(recording), given, model.initial(len(first_row)))
  return comparing.of_outputs(outputs)


def _spec(model: Model, dtype: str) -> AlphaFoldSpec:
  """The network of a model without templates, one for all models of a family, with the kernels of predictions."""
  config = configured(model, Settings(dtype=dtype))
  sampling = {f'sampling.{key}': value for key, value in configs.base_config().sampling.items()}
  return alphafold.make_spec(configs.changed(config, {'templates': None, **sampling}))


def _params(model: Model) -> alphafold.Params:
  return {name: values for name, values in model.params.items() if not name.startswith('template')}


def _precision(dtype: str) -> contextlib.AbstractContextManager:
  """Exact products where float32 is to be float32."""
  return jax.default_matmul_precision('float32' if dtype == 'float32' else None)


@functools.cache
def _program(kind: type[AfterSampling] | type[AfterTrunk], spec: AlphaFoldSpec) -> Callable[..., schema.Outputs]:
  """`(params, batch, given, previous) -> outputs` of one pass, compiled once per shapes."""

  def one_pass(batch, given, previous):
    return kind(spec, given)(batch, alphafold.Context(templates=None), previous)

  apply = hk.transform(one_pass).apply

  def run(params, *arguments):
    with ops.use_kernels(spec.kernels):
      return apply(params, jax.random.key(0), *arguments)

  return jax.jit(run)


# ------------------------------------------------------------------------------------------ recorded features as ours


def as_batch(recording: Recording) -> schema.Batch:
  """The protein of a recording; what is recorded of the alignment goes in as a sample."""
  aatype, residue_index, mask = (recording.features[name][0] for name in ('aatype', 'residue_index', 'seq_mask'))
  letters = (*residues.RESTYPES, 'X')
  batch = features.make_batch(''.join(letters[index] for index in aatype), num_templates=0)
  return dataclasses.replace(
    batch, residue_index=np.asarray(residue_index, np.int32), seq_mask=np.asarray(mask, np.float32)
  )


def as_sample(recording: Recording, index: int) -> MsaSample:
  """The rows of one pass as our network draws them, so that the features it makes of them are the recorded ones.

  Raises:
    InputError: no sample gives these features.
  """
  f = {name: array[index] for name, array in recording.features.items()}
  msa = f['msa_feat']  # token 23, has_deletion, deletion_value, profile 23, deletion mean value
  mask, extra_mask = np.asarray(f['msa_mask'], np.float32), np.asarray(f['extra_msa_mask'], np.float32)
  sample = MsaSample(
    tokens=np.argmax(msa[..., :23], axis=-1).astype(np.int32),
    deletions=np.rint(_deletions(msa[..., 24])),
    mask=mask,
    profile=msa[..., 25:48],
    deletion_mean=_deletions(msa[..., 48]),
    target=schema.MaskedMsa(
      tokens=np.asarray(f['true_msa'], np.int32), mask=np.asarray(f['bert_mask'], np.float32) * mask
    ),
    extra_tokens=np.asarray(f['extra_msa'], np.int32),
    extra_deletions=np.rint(_deletions(f['extra_deletion_value'])),
    extra_mask=extra_mask,
  )
  extra = np.concatenate(
    [np.eye(23)[f['extra_msa']], f['extra_has_deletion'][..., None], f['extra_deletion_value'][..., None]], axis=-1
  )
  ours = embedders.features(as_batch(recording), jax.tree.map(jnp.asarray, sample))
  recorded = (f['target_feat'], msa * mask[..., None], extra * extra_mask[..., None])
  shown = (1, mask[..., None], extra_mask[..., None])
  for name, our, their, where in zip(('target_feat', 'msa_feat', 'extra MSA'), ours, recorded, shown, strict=True):
    error = np.max(np.abs(np.asarray(our) * where - their), initial=0)
    if not error <= _AS_RECORDED:
      raise InputError(
        f'{recording.name}: the recorded {name} of pass {index} differs by {error:.2g} from any that the network makes'
      )
  return sample


def _deletions(value: np.ndarray) -> np.ndarray:
  """The number of deletions of which this is the squashed value (Suppl. Table 1)."""
  return (3 * np.tan(np.asarray(value, np.float64) * (math.pi / 2))).astype(np.float32)
