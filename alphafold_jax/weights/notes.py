# SPDX-License-Identifier: Apache-2.0
"""What every file says of a prediction that is less than AlphaFold 2's own."""

from typing import NamedTuple

from alphafold_jax.weights import shipped


class Note(NamedTuple):
  """Words that go wherever a prediction goes."""

  text: str  # stands in every file; short enough for one line of a PDB remark
  advice: str  # what it means and what to do about it, for the log and the closing table


RANDOM = Note(
  'RANDOM WEIGHTS: NOT A PREDICTION',
  'The structures mean nothing; for real ones run `alphafold-jax params download` and leave out --params random',
)
MINI = Note(
  'MINI MODEL: small, far less accurate than AlphaFold 2',
  "For AlphaFold 2's own accuracy run `alphafold-jax params download` (CC BY 4.0, about 5 GB)",
)


def note_of(model: str, is_random: bool) -> Note | None:
  """The note of a model with trained or random parameters; None for the published ones."""
  return RANDOM if is_random else MINI if model == shipped.MODEL else None
