# SPDX-License-Identifier: Apache-2.0
"""One prediction to be computed: what it is padded to, which program runs it, and how it fits the memory."""

import dataclasses
import functools
from collections.abc import Hashable

import numpy as np
from ml_collections import config_dict

from alphafold_jax import coevolution, devices, ops, planning, schema
from alphafold_jax.data import features, padding
from alphafold_jax.model import alphafold
from alphafold_jax.models import Model
from alphafold_jax.one_line import one_line
from alphafold_jax.settings import Settings

RAN_OUT: set[Hashable] = set()  # the programs that took more memory than there was


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """What is to be computed."""

  model: Model
  config: config_dict.ConfigDict  # the model's, with the settings
  settings: Settings
  batch: schema.Batch  # unpadded
  num_res: int | None  # padded; None: by its own length
  name: str = ''  # of the protein
  seed: int = 0
  chain_names: tuple[str, ...] = ()  # of the protein; none: A, B, ...
  initial_guess: np.ndarray | None = None  # [num_res, 37, 3] Å: what the first pass is given; None: zeros

  __repr__ = one_line

  @functools.cached_property
  def sizes(self) -> dict[str, int]:
    return planning.padded_sizes(self.config, self.batch, self.settings.num_devices, self.num_res)

  @functools.cached_property
  def has_chains(self) -> bool:
    """Whether there are several chains, which have scores and a program of their own."""
    return len(np.unique(self.batch.asym_id)) > 1

  @property
  def alone(self) -> 'Task':
    """The same, padded by its own length."""
    return dataclasses.replace(self, num_res=None)

  def padded_to(self, num_res: int) -> 'Task':
    """The same, padded to so many residues."""
    return self if self.sizes['num_res'] == num_res else dataclasses.replace(self, num_res=num_res)

  @functools.cached_property
  def spec(self) -> alphafold.AlphaFoldSpec:
    return planning.reduced_spec(alphafold.make_spec(self.config), self.sizes)

  @property
  def params(self) -> alphafold.Params:
    """The model's parameters that are used."""
    params = self.model.params
    if self.sizes['num_templ']:
      return params
    return {name: values for name, values in params.items() if not name.startswith('template')}

  def padded(self) -> schema.Batch:
    """The batch at its padded sizes."""
    batch, num_templ = self.batch, self.sizes['num_templ']
    if num_templ < len(batch.templates.mask):  # none of them is shown
      batch = dataclasses.replace(batch, templates=features.empty_templates(num_templ, len(batch.aatype)))
    if not self.spec.embedder.couplings:
      batch = dataclasses.replace(batch, couplings=None)
    elif batch.couplings is None:
      batch = dataclasses.replace(batch, couplings=coevolution.no_features(len(batch.aatype)))
    return padding.pad_batch(batch, self.sizes)

  def padded_guess(self) -> np.ndarray:
    """The structure that the first pass is given, at its padded length."""
    num_res = len(self.batch.aatype)
    guess = np.zeros((num_res, 37, 3), np.float32) if self.initial_guess is None else self.initial_guess
    return np.pad(guess, ((0, self.sizes['num_res'] - num_res), (0, 0), (0, 0)))

  def program(self, kernels: ops.Kernels | None = None, num_proteins: int = 1) -> tuple[tuple, Hashable]:
    """The arguments of `programs.compiled`, and the sizes: equal for what is compiled once."""
    spec, kept = dataclasses.replace(self.spec, kernels=kernels or self.spec.kernels), self.settings
    sizes: tuple[Hashable, ...] = self.sizes['num_res'], self.sizes['num_templ']  # a pass's rows are part of the spec
    if self.sizes['num_templ'] and self.batch.templates.structure_id is not None:
      sizes = (*sizes, 'structure_id')
    chains = (True,) if self.has_chains else ()
    return (spec, kept.keep_representations, kept.num_devices, kept.keep_distogram, num_proteins, *chains), sizes

  def plan(self, num_proteins: int = 1) -> planning.Plan:
    """What fits the memory that is free now, and did not turn out not to, with so many proteins at a time.

    Raises:
      InputError, ResourceError: as `prediction.make_plan`.
    """
    sizes, num_devices = self.sizes, self.settings.num_devices
    num_params = self.model.num_params
    available = devices.available_bytes(num_devices)
    if available is not None and num_devices == 1:
      available += 4 * num_params  # the estimate contains them, but they are there already
    interfaces = self.has_chains and not self.spec.embedder.max_relative_chain
    work = planning.Work(
      self.spec,
      sizes['num_seq'],
      sizes['num_templ'],
      num_params,
      num_devices,
      self.settings.keep_distogram,
      num_proteins,
      interfaces,
    )
    plan = planning.plan(work, sizes['num_res'], available, devices.num_separate())
    while RAN_OUT and plan.below and self.program(plan.kernels, num_proteins) in RAN_OUT:
      plan = plan.below
    return plan

  def together(self, most: int) -> int:
    """How many proteins like this one the device computes together, of so many that there are."""
    if self.settings.num_devices > 1:
      return 1
    config, available = planning.reduced(self.config, self.sizes), devices.available_bytes()
    return planning.together(config, self.sizes['num_res'], available, most, self.settings.keep_distogram)
