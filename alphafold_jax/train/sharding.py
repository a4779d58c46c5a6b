# SPDX-License-Identifier: Apache-2.0
"""The training step over many devices: one mesh with two axes, `data` and `model`.

`data` spreads the examples of a batch, `model` the residues of each example (ops/axial.py). Parameters and optimiser
state are whole on every device. Several hosts make one mesh after `join_hosts`.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from alphafold_jax import machine, programs
from alphafold_jax.devices import setting, start
from alphafold_jax.errors import InputError
from alphafold_jax.train.step import LossFunction, Metrics, StepSpec, TrainState, recycled_loss, train_step

DATA, MODEL = 'data', 'model'
_NUM_CPU_DEVICES = 'jax_num_cpu_devices'
_METRICS = {'finite': P(DATA), 'losses': P(DATA)}  # one value per example; the others are equal on all devices

Step = Callable[..., tuple[TrainState, Metrics]]  # (state, key, batch, places) -> (state, metrics)


def make_mesh(model_devices: int = 1, devices: Any = None) -> Mesh:
  """A mesh [data, model] in which neighbouring devices share an example.

  Args:
    model_devices: devices that share an example.
    devices: an array of them; None: all of all hosts.

  Raises:
    InputError: their number is no multiple of `model_devices`.
    ResourceError: this process was forked after JAX started.
  """
  found = start()
  devices = np.asarray(found if devices is None else devices)
  if devices.size % model_devices:
    raise InputError(f'run.model_devices={model_devices}: {devices.size} devices are no multiple of it')
  return Mesh(devices.reshape(-1, model_devices), (DATA, MODEL))


def divide_processors(wanted: int, batch_size: int, examples_at_once: int = 1, model_devices: int = 1) -> None:
  """Makes one CPU several devices, each of which computes examples of its own; must be called before JAX starts.

  XLA divides large arrays among the processors by itself; with small ones most of them would wait. Where JAX has
  started, several hosts train together, or the number is set by JAX_NUM_CPU_DEVICES or XLA_FLAGS, nothing changes.

  Args:
    wanted: devices; 0: one per processor, as far as they divide the batch.
    batch_size: examples of a step.
    examples_at_once: computed side by side on one device.
    model_devices: devices that share an example.
  """
  by_user = '--xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
  if by_user or setting(_NUM_CPU_DEVICES) > 0 or machine.jax_has_begun() or jax.distributed.is_initialized():
    return

  def fits(number: int) -> bool:
    data = number // model_devices  # devices with examples of their own
    return number == data * model_devices and not batch_size % data and not (batch_size // data) % examples_at_once

  number = wanted or max(filter(fits, range(model_devices, machine.num_processors() + 1)), default=1)
  jax.config.update(_NUM_CPU_DEVICES, number)


def join_hosts(where: str | None = None) -> None:
  """Connects this process to the others that train with it; must be called before anything else of JAX.

  Args:
    where: 'ADDRESS,N,I': this is process I of N, and the first listens at ADDRESS (host:port). None on clusters that
      JAX recognises: TPU pods, SLURM, Open MPI.

  Raises:
    InputError: the text has another form, or the others cannot be reached.
  """
  try:
    if where is None:
      jax.distributed.initialize()
      return
    address, num, index = where.split(',')
    jax.distributed.initialize(address, int(num), int(index))
  except (ValueError, RuntimeError) as error:
    raise InputError(f'hosts {where or "auto"}: {error}; give ADDRESS,N,I such as node1:12345,4,0') from error


def check(spec: StepSpec, mesh: Mesh, crop_size: int) -> None:
  """Checks that the mesh divides the batch, and its model axis the crop.

  Raises:
    InputError: it does not; the message names the setting.
  """
  data, model = mesh.shape[DATA], mesh.shape[MODEL]
  local = spec.batch_size // data
  if spec.batch_size % data:
    enough = fewest_model_devices(spec.batch_size, crop_size, data * model)
    share = f'run.model_devices={enough}, so that as many share an example, or ' if enough else ''
    raise InputError(
      f'step.batch_size={spec.batch_size}: no multiple of the {data} devices that share the batch; give {share}'
      f'a batch of {-(-spec.batch_size // data) * data}'
    )
  if local % min(local, spec.examples_at_once):
    raise InputError(
      f'step.examples_at_once={spec.examples_at_once}: the {local} examples of a device are no multiple of it'
    )
  if crop_size % model:
    raise InputError(f'data.crop_size={crop_size}: no multiple of run.model_devices={model}')


def fewest_model_devices(batch_size: int, crop_size: int, num_devices: int) -> int | None:
  """The fewest devices that must share an example for the batch to be divided among the others; None: none do.

  Args:
    batch_size: examples of a step.
    crop_size: residues of one.
    num_devices: of all hosts.
  """
  whole = (n for n in range(1, num_devices + 1) if num_devices % n == 0 and crop_size % n == 0)
  return next((n for n in whole if batch_size % (num_devices // n) == 0), None)


@functools.cache
def sharded_step(spec: StepSpec, mesh: Mesh, loss_of: LossFunction = recycled_loss) -> Step:
  """The step over a mesh, compiled on first use; it takes over the memory of the state that it is given."""
  model_axis = MODEL if mesh.shape[MODEL] > 1 else None
  step = functools.partial(train_step, spec, data_axis=DATA, model_axis=model_axis, loss_of=loss_of)
  specs: dict[str, Any] = {name: _METRICS.get(name, P()) for name in Metrics.__dataclass_fields__}
  metrics = Metrics(**specs)
  # JAX need not track which values are equal on all devices (check_vma): the step sums gradients itself.
  mapped = jax.shard_map(
    step, mesh=mesh, in_specs=(P(), P(), P(DATA), P(DATA)), out_specs=(P(), metrics), check_vma=False
  )
  return programs.Program(mapped, donate_argnums=0)  # which gives back what compiling took before the step begins


def on_every_device(tree: Any, mesh: Mesh) -> Any:
  """A copy of each array, whole on every device of the mesh."""
  return jax.device_put(tree, NamedSharding(mesh, P()))


def spread(batch: Any, first: int, mesh: Mesh) -> tuple[Any, jax.Array]:
  """A host's examples as its part of the global batch, and the place of each in that batch [batch_size] int32.

  Args:
    batch: the host's examples, every array with a leading axis
    first: place of its first example in the global batch
    mesh: of all hosts
  """
  num = len(jax.tree.leaves(batch)[0])
  places = np.arange(first, first + num, dtype=np.int32)
  sharding = NamedSharding(mesh, P(DATA))
  return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), (batch, places))
