# SPDX-License-Identifier: Apache-2.0
"""How a protein is computed in the memory there is: from sizes, precision and devices to a plan, or to a refusal.

Kernels and slices form a ladder. No step takes more memory than the one above, most less; it is slower, and computes
the same up to rounding. The plan is the first step that fits by the estimate of footprint.py; where memory runs out
nevertheless, the steps below are left to try.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import schema
from alphafold_jax.choices import MAX_TOGETHER
from alphafold_jax.costs import operations
from alphafold_jax.data import features, padding
from alphafold_jax.errors import InputError, ResourceError
from alphafold_jax.footprint import param_bytes, pass_bytes
from alphafold_jax.model import alphafold, templates
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.model.sampling import SamplingSpec
from alphafold_jax.ops import seam
from alphafold_jax.screen import number
from alphafold_jax.weights import official

_FILLING = 2e13  # operations of a pass that an accelerator takes some 0.3 s for, reckoned
_SHARES = (4, 16, 64)  # of the bytes of a slice at the top of the ladder
_DISTOGRAM_BYTES = 2 * 64  # of a pair, in half precision; that of the pass before is dropped first
_INTERFACE_BYTES = 2 * 4  # of a pair: TM terms and contacts


def padded_sizes(
  config: Mapping[str, Any], batch: schema.Batch, num_devices: int = 1, num_res: int | None = None
) -> dict[str, int]:
  """The sizes that a batch is padded to: proteins of like size share one compilation, and devices split residues.

  Args:
    config: of the model.
    batch: unpadded.
    num_devices: that share the protein.
    num_res: padded residues, where a run of many proteins has chosen them; None: those of a protein alone.
  """
  sizes = padding.axis_sizes(batch)
  num_taken = config['sampling']['num_msa'] + config['sampling']['num_extra']
  return {
    'num_res': num_res or padding.residue_bucket(sizes['num_res'], num_devices),
    'num_seq': padding.padded_depth(sizes['num_seq'], num_taken),
    'num_templ': _num_slots(config, batch),
  }


def takes_templates(config: Mapping[str, Any], batch: schema.Batch) -> bool:
  """Whether a network can be shown templates of a protein.

  One of single chains would take the chains' templates, each in coordinates of its own, for one structure.
  """
  is_of_chains = config['embedder'].get('max_relative_chain', 0) > 0
  return config['templates'] is not None and (is_of_chains or len(np.unique(batch.asym_id)) == 1)


def _num_slots(config: Mapping[str, Any], batch: schema.Batch) -> int:
  """The slots that templates are padded to; without any none, or one where empty slots count, which are all alike."""
  mask = np.asarray(batch.templates.mask)
  if not takes_templates(config, batch):
    return 0
  if np.any(mask > 0):
    return max(config['max_templates'], len(mask))
  return int(config['templates'].get('aggregation') == templates.MEAN)


def reduced_spec(spec: AlphaFoldSpec, sizes: Mapping[str, int]) -> AlphaFoldSpec:
  """The network without what these sizes leave unused.

  Without templates and with few alignment rows the five models are one network with other parameters; reduced to what
  they use, they share one compilation.
  """
  num_msa, num_extra = spec.sampling.rows(sizes['num_seq'])
  sampling = dataclasses.replace(spec.sampling, num_msa=num_msa, num_extra=num_extra)
  return dataclasses.replace(spec, sampling=sampling, templates=spec.templates if sizes['num_templ'] else None)


def reduced(config: config_dict.ConfigDict, sizes: Mapping[str, int]) -> config_dict.ConfigDict:
  """The same of a configuration."""
  num_msa, num_extra = SamplingSpec(**config.sampling).rows(sizes['num_seq'])
  changes = {'sampling.num_msa': num_msa, 'sampling.num_extra': num_extra}
  return configs.changed(config, changes if sizes['num_templ'] else changes | {'templates': None})


def check_network(config: config_dict.ConfigDict) -> None:
  """Traces the network without computing anything; raises InputError if these settings make none."""
  batch = features.make_batch('ACDEFGHIKL', num_templates=0)
  try:
    spec = alphafold.make_spec(configs.changed(config, {'dtype': 'float32', 'templates': None}))
    jax.eval_shape(alphafold.network(spec).init, jax.random.key(0), batch)
  except Exception as error:  # whatever sizes that do not fit together lead to
    raise InputError(f'with these settings (--config, --kernels) there is no network: {error}') from error


@dataclasses.dataclass(frozen=True)
class Work:
  """What is to be computed, for a protein of any length."""

  spec: alphafold.AlphaFoldSpec
  num_seq: int  # alignment rows, padded
  num_templ: int
  num_params: int
  num_devices: int = 1  # that share the protein
  keep_distogram: bool = False
  num_proteins: int = 1  # that a device computes together
  interfaces: bool = False  # whether results of these come on top: of complexes, where the network is of single chains

  def needed(self, num_res: int, kernels: seam.Kernels) -> int:
    """Bytes on each device at a padded length."""
    spec = dataclasses.replace(self.spec, kernels=seam.divided(kernels, self.num_proteins))
    kept = _DISTOGRAM_BYTES * self.keep_distogram + _INTERFACE_BYTES * self.interfaces
    one = kept * num_res**2 // self.num_devices
    one += pass_bytes(spec, num_res, self.num_seq, self.num_templ, self.num_params, self.num_devices)
    params = param_bytes(spec, self.num_params)
    return params + self.num_proteins * (one - params)

  def fits(self, num_res: int, available: int) -> bool:
    """Whether a protein of so many residues fits at the foot of the ladder."""
    return self.needed(padding.residue_bucket(num_res, self.num_devices), self._foot) <= available

  @functools.cached_property
  def _foot(self) -> seam.Kernels:
    return ladder(self.spec.kernels)[-1]

  def longest(self, available: int) -> int:
    """The most residues that fit so many bytes on each device; 0: not even the shortest protein does."""
    found, following = 0, padding.residue_bucket(1)
    while self.fits(following, available):
      found, following = following, padding.residue_bucket(following + 1)
    return found


@dataclasses.dataclass(frozen=True)
class Plan:
  """How a protein is computed; bytes are those of each device."""

  work: Work
  num_res: int  # padded
  kernels: seam.Kernels  # implementation, and the bytes of a slice
  needed: int
  available: int | None  # None: it is not known
  step: int = 0  # of the ladder; 0: what was asked for
  below: 'Plan | None' = None  # the next step, for when memory runs out nevertheless

  @property
  def num_devices(self) -> int:
    """Devices that share the protein."""
    return self.work.num_devices

  @property
  def num_proteins(self) -> int:
    """Of one program, that are computed together."""
    return self.work.num_proteins

  @property
  def longest(self) -> int | None:
    """Residues that fit, with as many alignment rows, at the foot of the ladder; a search, so only where asked for."""
    return None if self.available is None else self.work.longest(self.available)

  @property
  def how(self) -> str:
    """'kernels auto in slices of 64 MiB'."""
    return f'kernels {self.kernels.implementation} in slices of {seam.budget(self.kernels) / 2**20:g} MiB'

  def __str__(self) -> str:
    devices = f' on each of {self.num_devices} devices' if self.num_devices > 1 else ''
    free = '' if self.available is None else f' of {self.available / 2**30:.1f}'
    return f'{self.how}, which takes about {self.needed / 2**30:.1f}{free} GiB{devices}'


def ladder(kernels: seam.Kernels) -> tuple[seam.Kernels, ...]:
  """From the kernels that were asked for to those that take the least memory.

  Other kernels than `xla_chunked` do not all keep to the bytes of a slice, so they go first.
  """
  bounded = kernels.strict or kernels.implementation in (seam.AUTO, seam.EVERYWHERE)
  top = kernels if bounded else dataclasses.replace(kernels, implementation=seam.AUTO)
  slices = (max(1, seam.budget(kernels) // share) for share in _SHARES)
  return tuple(dict.fromkeys((kernels, top, *(dataclasses.replace(top, chunk_bytes=size) for size in slices))))


def plan(work: Work, num_res: int, available: int | None, num_local: int = 1) -> Plan:
  """Chooses the first step of the ladder that fits.

  Args:
    work: what is to be computed.
    num_res: padded residues.
    available: free bytes of each device; None: they are not known, so anything is taken to fit.
    num_local: devices of this machine; more than were asked for are only ever suggested.

  Raises:
    ResourceError: nothing fits; says what is needed, what there is, the length that would fit, and what to do.
  """
  steps, found = _steps(work, num_res), None
  for step, (kernels, needed) in reversed(list(enumerate(steps))):
    if available is not None and needed > available:
      break
    found = Plan(work, num_res, kernels, needed, available, step, found)
  if found is None:
    assert available is not None  # else anything is taken to fit
    raise ResourceError(_refusal(work, num_res, steps[-1][1], available, num_local))
  return found


@functools.lru_cache(maxsize=256)  # a run asks the same for each protein of a padded length
def _steps(work: Work, num_res: int) -> tuple[tuple[seam.Kernels, int], ...]:
  """The ladder with the bytes of each step."""
  return tuple((kernels, work.needed(num_res, kernels)) for kernels in ladder(work.spec.kernels))


def _refusal(work: Work, num_res: int, needed: int, available: int, num_local: int) -> str:
  more = range(work.num_devices + 1, num_local + 1)
  enough = next((n for n in more if dataclasses.replace(work, num_devices=n).fits(num_res, available)), None)
  remedy = 'use a device with more memory, or ' + (
    f'{enough} of the {num_local} devices here (--devices {enough})' if enough else 'more devices (--devices)'
  )
  if longest := work.longest(available):
    remedy = f'about {longest} residues would fit; {remedy}, or predict the protein in parts'
  if work.spec.dtype == 'float32':
    remedy += ', or --dtype bfloat16'
  if work.num_seq > 512:
    remedy += ', or a shallower alignment (--max-msa 128:256)'
  return (
    f'{num_res} residues (padded) and {number(work.num_seq, "alignment row")} need about {needed / 2**30:.1f} GiB'
    f'{" on each device" if work.num_devices > 1 else ""}, and {available / 2**30:.1f} GiB are free: {remedy}'
  )


def longest(
  config: Mapping[str, Any],
  available: int,
  num_devices: int = 1,
  num_templ: int = 0,
  keep_distogram: bool = False,
) -> int:
  """The most residues of a protein that a model takes, with all alignment rows that it samples.

  Args:
    config: of the model; its parameters need not be there.
    available: free bytes of each device.
    num_devices: that share the protein.
    num_templ: templates, if the model takes any.
    keep_distogram: whether it is kept.
  """
  return _work(config, num_devices, num_templ, keep_distogram).longest(available)


def together(
  config: Mapping[str, Any], num_res: int, available: int | None, most: int, keep_distogram: bool = False
) -> int:
  """How many proteins of a padded length the device computes together: a power of two, on CPUs one.

  As many as do not fill an accelerator, which then computes them in little more time than one of them, and as leave
  half of the free memory free.

  Args:
    config: of the model; its parameters need not be there.
    num_res: padded residues.
    available: free bytes of the device, None: not known.
    most: proteins that there are; up to a power of two are computed in their stead.
    keep_distogram: whether it is kept.
  """
  if jax.default_backend() == 'cpu':
    return 1
  work, found = _work(config, 1, 0, keep_distogram), 1
  while found < min(most, MAX_TOGETHER):
    doubled = dataclasses.replace(work, num_proteins=2 * found)
    if doubled.num_proteins * operations(config, num_res) > _FILLING:
      break
    if available is not None and doubled.needed(num_res, work.spec.kernels) > available // 2:
      break
    found = doubled.num_proteins
  return found


def _work(config: Mapping[str, Any], num_devices: int, num_templ: int, keep_distogram: bool) -> Work:
  """What a model computes with all alignment rows that it samples."""
  spec = alphafold.make_spec(config)
  depth = padding.msa_depth_bucket(spec.sampling.num_msa + spec.sampling.num_extra)
  num_params = sum(map(math.prod, official.official_shapes(config).values()))
  return Work(spec, depth, num_templ if spec.templates else 0, num_params, num_devices, keep_distogram)
