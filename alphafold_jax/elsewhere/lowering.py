# SPDX-License-Identifier: Apache-2.0
"""A pass of a prediction and a step of training, lowered for devices that are not here, as they run on these."""

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import planning, programs, schema
from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.data import features, padding
from alphafold_jax.data.training.complex_examples import with_one_copy
from alphafold_jax.elsewhere.compilers import devices_of
from alphafold_jax.elsewhere.targets import SHARE_OF_TRAINING, Machine
from alphafold_jax.errors import AlphaFoldError, InputError, ResourceError
from alphafold_jax.model import alphafold
from alphafold_jax.ops import seam
from alphafold_jax.screen import number
from alphafold_jax.train import phases, sharding, specs, step

_SHORT = 'ACDEFGHIKL'  # parameters do not depend on lengths
_OF_SIZES = re.compile('shape|dimension|size|dtype', re.IGNORECASE)  # in a TypeError: it is not of a call that is wrong
_NO_CUDNN = re.compile('cudnn (is )?not (found|detected)', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Lowering:
  """What is compiled, and what is known of it before."""

  kind: Literal['pass', 'step']
  what: str  # for people
  lowered: jax.stages.Lowered = dataclasses.field(repr=False)
  num_devices: int
  chunk_bytes: int  # of a slice in which its kernels compute, at most
  available: int  # bytes of a device that JAX may have
  planned: int | None  # bytes of a device; None: there is no estimate


@contextlib.contextmanager
def _settings_refused() -> Iterator[None]:
  """Around what is traced: sizes and kernels that it refuses come from settings. All else is a fault, and stays one."""
  try:
    yield
  except AlphaFoldError:
    raise
  except (ValueError, ArithmeticError, TypeError, RuntimeError) as error:
    if _NO_CUDNN.search(str(error)):
      raise ResourceError(
        'cuDNN is not installed, whose version is asked for before its attention is compiled; run `pip install '
        'nvidia-cudnn-cu12`, or -cu13 for CUDA 13. It needs no device'
      ) from error
    if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
      raise
    if isinstance(error, TypeError) and not _OF_SIZES.search(str(error)):
      raise
    raise InputError(f'with these settings (--config, --kernels) there is no such program: {error}') from error


@_settings_refused()
def prediction(target: Machine, config: config_dict.ConfigDict, num_res: int, num_devices: int = 1) -> Lowering:
  """A pass of a prediction with all alignment rows that the model samples, and without templates.

  Where the planner refuses, what takes the least memory is lowered.

  Args:
    target: the machine.
    config: of the model.
    num_res: residues; padded as a protein alone is.
    num_devices: that share the protein.

  Raises:
    InputError, ResourceError: the machine has fewer devices, there is no compiler for it, or none takes the settings.
  """
  mesh = programs.mesh_of(devices_of(target, num_devices))
  plan = plan_of(target, config, num_res, num_devices)
  batch, sizes = _padded(config, num_res, num_devices)
  spec = dataclasses.replace(plan.work.spec, kernels=plan.kernels)
  padded = _with_inputs(padding.pad_batch(_with_slots(batch, sizes['num_templ']), sizes), spec)
  params = _params(spec, sizes['num_templ'])
  how = plan.how if plan.needed <= target.available() else 'the kernels that take the least memory'
  what = (
    f'a pass of {config.name}, {sizes["num_res"]:,} residues, {plan.work.num_seq:,} alignment rows, {spec.dtype}, '
    f'{how}, on {number(num_devices, "device")}'
  )
  lowered = _lowered_pass(target, spec, mesh, params, padded)
  return Lowering('pass', what, lowered, num_devices, seam.budget(plan.kernels), target.available(), plan.needed)


def plan_of(target: Machine, config: config_dict.ConfigDict, num_res: int, num_devices: int = 1) -> planning.Plan:
  """The plan of such a pass, for which no compiler is needed; where the planner refuses, the foot of the ladder."""
  _, sizes = _padded(config, num_res, num_devices)
  spec = alphafold.make_spec(planning.reduced(config, sizes))
  spec = dataclasses.replace(spec, kernels=dataclasses.replace(spec.kernels, platform=target.platform))
  num_params = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(_params(spec, sizes['num_templ'])))
  work = planning.Work(spec, sizes['num_seq'], sizes['num_templ'], num_params, num_devices)
  most = target.available()
  try:
    return planning.plan(work, sizes['num_res'], most)
  except ResourceError:
    kernels = planning.ladder(spec.kernels)[-1]
    return planning.Plan(work, sizes['num_res'], kernels, work.needed(sizes['num_res'], kernels), most)


def _padded(config: config_dict.ConfigDict, num_res: int, num_devices: int) -> tuple[schema.Batch, dict[str, int]]:
  """A protein, and the sizes that it is padded to with all alignment rows that the model samples."""
  batch = features.make_batch('A' * num_res, num_templates=0)
  depth = config.sampling.num_msa + config.sampling.num_extra
  return batch, planning.padded_sizes(config, batch, num_devices) | {'num_seq': depth}


def _lowered_pass(target: Machine, spec: alphafold.AlphaFoldSpec, mesh: Any, params: Any, batch: Any) -> Any:
  num_devices = mesh.devices.size
  compiled: Any = programs.compiled(spec, False, num_devices, mesh=mesh)
  pass_key, bare = programs.PassKey.of(0, 0), programs.without_alignment(batch)
  context, previous = compiled.begin.eval_shape(params, pass_key, bare)
  key, rows = compiled.draw.eval_shape(pass_key, batch)
  arguments = params, key, bare, context, previous, rows
  places = compiled.of_pass or (NamedSharding(mesh, P()),) * len(arguments)
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # newer JAX asks it for which GPU kernels are traced
    return compiled.one_pass.lower(*_placed(arguments, places), platform=target.platform)


class StepProgram(NamedTuple):
  """A step of training over devices that may be elsewhere."""

  what: str  # for people
  program: programs.Program
  arguments: tuple  # their shapes, and the devices that they lie on
  chunk_bytes: int


@_settings_refused()
def training(target: Machine, config: config_dict.ConfigDict) -> Lowering:
  """A step of an experiment over all devices of a machine; of several phases the one of the largest crop.

  Args:
    target: the machine.
    config: of the experiment; `run.model_devices` share an example.

  Raises:
    InputError, ResourceError: the settings do not fit the machine, or there is no compiler for it.
  """
  found = step_program(config, devices_of(target, target.num_devices), target.platform)
  lowered = found.program.lower(*found.arguments, platform=target.platform)
  available = target.available(SHARE_OF_TRAINING)
  return Lowering('step', found.what, lowered, target.num_devices, found.chunk_bytes, available, None)


def step_program(config: config_dict.ConfigDict, devices: Sequence[Any], platform: str) -> StepProgram:
  """The step of `training`, neither traced nor lowered.

  Args:
    config: of the experiment.
    devices: that it is spread over.
    platform: theirs, which kernels are chosen by.

  Raises:
    InputError: the settings do not fit so many devices.
  """
  if config.model.dtype == 'auto':
    config = configs.changed(config, {'model.dtype': 'bfloat16'})
  phase = max(phases.make_phases(config), key=lambda one: (one.data.crop_size, one.step.max_passes))
  run, data, spec = specs.make_section(specs.RunSpec, 'run', config), phase.data, phase.step
  kernels = dataclasses.replace(spec.network.kernels, platform=platform)
  spec = dataclasses.replace(spec, network=dataclasses.replace(spec.network, kernels=kernels))
  mesh = sharding.make_mesh(run.model_devices, devices)
  sharding.check(spec, mesh, data.crop_size)

  sizes = {'num_res': data.crop_size, 'num_seq': data.num_rows}
  example = padding.pad_batch(features.make_batch('A' * data.crop_size, num_templates=data.num_templates), sizes)
  example = _with_inputs(example, spec.network)
  if data.complex_fraction:
    example = with_one_copy(example, data.max_chains)
  batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((spec.batch_size, *leaf.shape), leaf.dtype), example)
  places = jax.ShapeDtypeStruct((spec.batch_size,), np.int32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(lambda key: step.initial_state(spec, key), key)
  whole, spread = NamedSharding(mesh, P()), NamedSharding(mesh, P(sharding.DATA))
  arguments = _placed((state, key, batch, places), (whole, whole, spread, spread))
  shape = ' x '.join(map(str, mesh.devices.shape))
  what = (
    f'a step of {config.name}{phase.name and " in phase "}{phase.name}, crops of {data.crop_size} residues, '
    f'{data.num_rows:,} rows, batch of {spec.batch_size}, {spec.network.dtype}, mesh {shape}'
  )
  program: Any = sharding.sharded_step(spec, mesh)
  return StepProgram(what, program, arguments, seam.budget(kernels))


def _with_slots(batch: schema.Batch, num_templ: int) -> schema.Batch:
  empty = features.empty_templates(num_templ, len(batch.aatype))
  return dataclasses.replace(batch, templates=empty)


def _with_inputs(batch: schema.Batch, spec: alphafold.AlphaFoldSpec) -> schema.Batch:
  """A batch with what only some networks take; as a shape, since it may be as large as all pairs."""
  num_res = len(batch.aatype)
  couplings = jax.ShapeDtypeStruct((num_res, num_res, NUM_CHANNELS), np.float32)
  return dataclasses.replace(batch, couplings=couplings if spec.embedder.couplings else None)


@functools.lru_cache
def _params(spec: alphafold.AlphaFoldSpec, num_templ: int) -> Any:
  """The shapes of a network's parameters, which are the same whatever computes it."""
  spec = dataclasses.replace(spec, kernels=seam.Kernels())
  example = _with_inputs(features.make_batch(_SHORT, num_templates=num_templ), spec)
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(alphafold.network(spec).init, key, example)


def _placed(arguments: tuple, places: tuple) -> tuple:
  """The shapes of arguments with the devices that they lie on; a place is for all arrays below it."""

  def there(place: NamedSharding, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)

  return jax.tree.map(there, places, arguments)
