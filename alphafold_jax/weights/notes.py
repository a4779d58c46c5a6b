# SPDX-License-Identifier: Apache-2.0
"""What stands in every file of a prediction that is not made with the published parameters."""

from typing import NamedTuple

from alphafold_jax.weights import shipped


class Note(NamedTuple):
  """A warning that goes wherever a prediction goes."""

  text: str  # in every file; short enough for one line of a PDB remark
  advice: str  # its meaning and the remedy, for the log and the closing table


RANDOM = Note(
  'RANDOM WEIGHTS: NOT A PREDICTION',
  'The structures mean nothing; for real ones run `alphafold-jax params download` and leave out --params random',
)
MINI = Note(
  'MINI MODEL: small, far less accurate than AlphaFold 2',
  "For AlphaFold 2's own accuracy run `alphafold-jax params download` (CC BY 4.0, about 5 GB)",
)


def note_of(model: str, is_random: bool) -> Note | None:
  """The note of a model with random or trained parameters; None for the published ones."""
  return RANDOM if is_random else MINI if model == shipped.MODEL else None
