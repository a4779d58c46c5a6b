# SPDX-License-Identifier: Apache-2.0
"""What a prediction says of its own accuracy: its scores JSON, and B-factors that are pLDDT."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alphafold_jax import untrusted
from alphafold_jax.constants import residues
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain
from alphafold_jax.errors import InputError
from alphafold_jax.evaluation.finding import PredictionFile

_OF_ALL = ('ptm', 'iptm')  # numbers of the whole prediction


def plddt(chains: Sequence[Chain], predicted: PredictionFile) -> list[np.ndarray] | None:
  """pLDDT of each residue of each chain of a file, 0 to 100; from the scores JSON or else from B-factors.

  None if neither has it.
  """
  lengths = [len(chain.sequence) for chain in chains]
  values = np.asarray(predicted_scores(predicted).get('plddt', ()), np.float64)
  if len(values) == sum(lengths):
    return _split(values, lengths)
  if len(values) and len(chains) == 1:  # unknown residues have no atoms, so a PDB file lacks them; numbers begin at 1
    place = np.array([(untrusted.whole_number(number) or 0) - 1 for number in chains[0].numbering])
    if ((place >= 0) & (place < len(values))).all():
      return [values[place]]
  values = np.concatenate([chain.b_factors for chain in chains]).astype(np.float64)
  has_ca = np.concatenate([chain.atom_mask[:, residues.ATOM_INDEX['CA']] for chain in chains]) > 0
  known = values[has_ca]
  if known.min() < 0 or known.max() > 100 or (len(known) > 1 and known.min() == known.max()):
    return None
  return _split(100 * values if known.max() <= 1 else values, lengths)  # some programs write 0 to 1


def predicted_scores(predicted: PredictionFile) -> dict[str, Any]:
  """`plddt`, `ptm` and `iptm` of the scores JSON, as far as it has them; nothing where there is no file.

  Raises:
    InputError: the file has another content.
  """
  if predicted.scores is None:
    return {}
  try:
    content = untrusted.from_json(read_text(predicted.scores))
    plddt = [float(value) for value in content.get('plddt', ())]
    of_all = {name: float(content[name]) for name in _OF_ALL if content.get(name) is not None}
  except (ValueError, TypeError, AttributeError) as error:
    remedy = 'remove it to read pLDDT from B-factors'
    raise InputError(f'{predicted.scores}: not a scores file ({error}); {remedy}') from None
  if not all(map(math.isfinite, [*plddt, *of_all.values()])):
    raise InputError(f'{predicted.scores}: holds NaN or infinity; remove it to read pLDDT from B-factors')
  return {'plddt': plddt, **of_all}


def _split(values: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
  return np.split(values, np.cumsum(lengths)[:-1])
