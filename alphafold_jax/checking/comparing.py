# SPDX-License-Identifier: Apache-2.0
"""Two sets of outputs, array by array: the largest difference of each, where it is, and what is tolerated."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import confidence, schema
from alphafold_jax.checking.recording import Recording
from alphafold_jax.errors import InputError

Arrays = Mapping[str, np.ndarray]


class Output(NamedTuple):
  """An array that is compared: where it lies on both sides, and how its places are named."""

  ours: Callable[[schema.Outputs], jax.Array]
  recorded: str
  axes: tuple[str, ...]
  unit: str = ''


_PAIR = ('residue', 'residue')
OUTPUTS = {
  'positions': Output(
    lambda o: o.structure.atom_positions, 'structure_module/final_atom_positions', ('residue', 'atom', 'axis'), 'Å'
  ),
  'pLDDT': Output(lambda o: confidence.plddt(o.logits.plddt), 'plddt', ('residue',)),
  'pLDDT logits': Output(lambda o: o.logits.plddt, 'predicted_lddt/logits', ('residue', 'bin')),
  'PAE': Output(lambda o: confidence.pae(o.logits.pae), 'predicted_aligned_error', _PAIR, 'Å'),
  'PAE probabilities': Output(
    lambda o: jax.nn.softmax(jnp.asarray(o.logits.pae), axis=-1), 'aligned_confidence_probs', (*_PAIR, 'bin')
  ),
  'distogram logits': Output(lambda o: o.logits.distogram, 'distogram/logits', (*_PAIR, 'bin')),
  'masked MSA logits': Output(lambda o: o.logits.masked_msa, 'masked_msa/logits', ('row', 'residue', 'token')),
  'experimentally resolved logits': Output(
    lambda o: o.logits.experimentally_resolved, 'experimentally_resolved/logits', ('residue', 'atom')
  ),
  'first MSA row': Output(lambda o: o.recycled.msa_first_row, 'prev/prev_msa_first_row', ('residue', 'channel')),
  'pair representation': Output(lambda o: o.recycled.pair, 'prev/prev_pair', (*_PAIR, 'channel')),
}


def of_outputs(outputs: schema.Outputs) -> dict[str, np.ndarray]:
  """The arrays of a pass that are compared, in float32, on the host; of a model that predicts errors of pairs."""
  arrays = {name: jnp.asarray(output.ours(outputs), jnp.float32) for name, output in OUTPUTS.items()}
  return jax.device_get(arrays)


def of_recording(recording: Recording) -> dict[str, np.ndarray]:
  """The same of a recording; InputError if it lacks one of them."""
  lacking = [output.recorded for output in OUTPUTS.values() if output.recorded not in recording.outputs]
  if lacking:
    raise InputError(f'{recording.name}: the recording lacks {", ".join(lacking)}; install the program anew')
  arrays = {name: np.asarray(recording.outputs[output.recorded], np.float32) for name, output in OUTPUTS.items()}
  return arrays | {'masked MSA logits': arrays['masked MSA logits'][: recording.num_rows]}


@dataclasses.dataclass(frozen=True)
class Difference:
  """Where one array differs most."""

  array: str
  size: float  # infinite: NaN or infinity on one side, or another shape
  tolerance: float
  line: str  # for a person
  scale: float  # the largest recorded value

  @property
  def holds(self) -> bool:
    return self.size <= self.tolerance

  @property
  def share(self) -> float:
    """Of the tolerance."""
    return self.size / self.tolerance if self.tolerance else np.inf if self.size else 0.0


def compare(ours: Arrays, recorded: Arrays, tolerances: Mapping[str, float]) -> list[Difference]:
  """Compares the arrays that have a tolerance."""
  return [_difference(name, ours[name], recorded[name], tolerance) for name, tolerance in tolerances.items()]


def largest(one: Arrays, other: Arrays) -> dict[str, float]:
  """The largest absolute difference of each array."""
  return {name: float(np.max(_distance(one[name], other[name]), initial=0)) for name in one}


def largest_value(array: np.ndarray) -> float:
  """The largest finite absolute value."""
  return float(np.max(np.abs(array), where=np.isfinite(array), initial=0))


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Infinite where a number is not finite."""
  with np.errstate(invalid='ignore'):
    distance = np.abs(one.astype(np.float64) - other)
  return np.where(np.isfinite(distance), distance, np.inf)


def _difference(name: str, ours: np.ndarray, recorded: np.ndarray, tolerance: float) -> Difference:
  scale = largest_value(recorded)
  if ours.shape != recorded.shape:
    return Difference(name, np.inf, tolerance, f'{name}: shape {ours.shape} here, {recorded.shape} recorded', scale)
  distance = _distance(ours, recorded)
  place = np.unravel_index(np.argmax(distance), distance.shape)
  output, size = OUTPUTS[name], float(distance[place])
  where = ', '.join(f'{axis} {index}' for axis, index in zip(output.axes, place, strict=True))
  unit = f' {output.unit}' if output.unit else ''
  wrong = np.count_nonzero(distance > tolerance)
  line = (
    f'{name}: {ours[place]:.6g} here, {recorded[place]:.6g} recorded at {where} (from 0): difference {size:.3g}{unit}, '
    f'tolerance {tolerance:.3g}{unit}; {wrong} of {distance.size} values differ by more'
  )
  return Difference(name, size, tolerance, line, scale)
