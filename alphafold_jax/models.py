# SPDX-License-Identifier: Apache-2.0
"""Models for the Python API: a network with its parameters, loaded by name."""

import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import devices, schema
from alphafold_jax.arguments import check_kind, wrong
from alphafold_jax.choices import DTYPES
from alphafold_jax.errors import InputError
from alphafold_jax.model import alphafold
from alphafold_jax.one_line import cut
from alphafold_jax.settings import Settings
from alphafold_jax.weights import official, store
from alphafold_jax.weights.random import random_params


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A network with its parameters; `prepare` and `iterate` are pure, so jit, grad, vmap and shard them as you like."""

  name: str
  config: config_dict.ConfigDict
  params: alphafold.Params
  source: str  # the file of the parameters, 'random', or words of your own for parameters of your own

  def __post_init__(self) -> None:
    check_kind('source', self.source, str, "must be text: where the parameters come from, such as 'of my own run'")

  @functools.cached_property
  def spec(self) -> alphafold.AlphaFoldSpec:
    return alphafold.make_spec(self.config)

  @property
  def is_random(self) -> bool:
    return self.source == 'random'

  @functools.cached_property
  def note(self) -> store.Note | None:
    """What must be said of its predictions; None if they are AlphaFold 2's own."""
    return store.note_of(self.name, self.source)

  @functools.cached_property
  def num_params(self) -> int:
    """How many numbers its parameters are."""
    return sum(array.size for array in jax.tree.leaves(self.params))

  @property
  def takes_couplings(self) -> bool:
    """Whether it is given those of the alignment, as no published model is."""
    return self.spec.embedder.couplings

  @property
  def has_pae(self) -> bool:
    """Whether it predicts errors of pairs, and so pTM."""
    return bool(self.config.heads.num_pae_bins)

  def __repr__(self) -> str:
    what = f'{self.num_params:,} parameters from {self.source}, {self.config.dtype}'
    return cut(f'{type(self).__name__}({self.name!r}, {what}') + ')'

  def prepare(self, params: alphafold.Params, key: jax.Array | None, batch: schema.Batch) -> alphafold.Context:
    """What all passes share; the key is consumed, and needed with dropout only."""
    return alphafold.network(self.spec).prepare(params, key, _on_device(batch))

  def iterate(
    self,
    params: alphafold.Params,
    key: jax.Array,
    batch: schema.Batch,
    context: alphafold.Context,
    previous: schema.Recycled,
  ) -> schema.Outputs:
    """One pass; the key is consumed."""
    return alphafold.network(self.spec).iterate(params, key, _on_device(batch), context, previous)

  def initial(self, num_res: int) -> schema.Recycled:
    """What the first pass recycles."""
    return alphafold.network(self.spec).initial(num_res)


def _on_device(batch: schema.Batch) -> schema.Batch:
  """The arrays of `afj.make_batch` are the host's, which a traced index does not take."""
  return jax.tree.map(jnp.asarray, batch)


def load_model(
  name: str, params: str | os.PathLike[str] | None = None, *, strict: bool = False, **changes: Any
) -> Model:
  """Loads a published model, or the one that ships with the package.

  Args:
    name: 'model_1' to 'model_5', or with '_ptm', '_multimer', '_multimer_v2' or '_multimer_v3'; or 'mini'.
    params: an official `.npz`, a folder with them, or 'random'; None: the default folder, for 'mini' the package.
    strict: refuse a file with arrays that the model does not use.
    **changes: settings of config.py with '__' for '.', such as evoformer__num_block=2.

  Raises:
    InputError: no such model or setting, or a value of another kind.
    WeightsError: no such file, or it does not fit.
    ResourceError: this process was forked after JAX started.
  """
  devices.start()
  check_kind('name', name, str, "must be the name of a model, such as 'model_1_ptm' or 'mini'")
  of_arrays = 'for arrays at hand: dataclasses.replace(model, params=..., source=...)'
  rule = f"must be an .npz file, a folder, or 'random'; {of_arrays}"
  check_kind('params', params, (str, os.PathLike, type(None)), rule)
  check_kind('strict', strict, bool, 'must be True or False')
  config = _changed(configs.model_config(name), changes)
  if params == 'random':
    source, values = 'random', random_params(config, seed=configs.model_number(name))
  else:
    source = str(store.find_params(name, params))
    store.verify_file(source)  # what was installed is what is loaded
    values = official.load_official(source, config, strict)
  model = Model(name=name, config=config, params=jax.device_put(values), source=source)
  _ = model.note  # looked up while the file is there
  return model


def _changed(config: config_dict.ConfigDict, changes: dict[str, Any]) -> config_dict.ConfigDict:
  """The configuration with changes by '__' names; InputError unless it still makes a network."""
  ours = {field.name for field in dataclasses.fields(Settings)} - set(config)
  for key in sorted(ours & set(changes)):
    raise InputError(f'{key!r} is not a setting of load_model; give it to afj.predict (alphafold_jax/settings.py)')
  config = configs.changed(config, {key.replace('__', '.'): value for key, value in changes.items()})
  if config.dtype not in DTYPES:
    raise wrong('dtype', config.dtype, f'must be {" or ".join(DTYPES)}')
  try:
    alphafold.make_spec(config)
    if any(size < 1 for shape in official.official_shapes(config).values() for size in shape):
      raise ValueError('a network has no arrays of these sizes, which must be 1 or more')
  except ValueError as error:
    raise InputError(f'{", ".join(changes)}: {error}; see alphafold_jax/config.py for all settings') from error
  return config
