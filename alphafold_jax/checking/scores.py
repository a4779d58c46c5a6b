# SPDX-License-Identifier: Apache-2.0
"""Mean scores that another program published for a sequence, beside those of this program from end to end."""

from collections.abc import Mapping
from typing import NamedTuple

from alphafold_jax.checking.findings import Finding, Verdict
from alphafold_jax.data.alignment import single_sequence
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.prediction import Model, predict


class MeanScores(NamedTuple):
  """Mean pLDDT (0 to 100) and pTM (0 to 1)."""

  plddt: float
  ptm: float


class Published(NamedTuple):
  """What a program stated for a lone sequence, by the number of recycles."""

  model: str
  sequence: str
  scores: Mapping[int, MeanScores]
  source: str


# Whether 15% of the lone row were masked, as AlphaFold does by default, and which, is not stated; hence the tolerance.
# From the first to the last pass pTM moves by 0.0078 for one of pLDDT, so that 1.5 there are 0.012 here: rounded up.
TOLERANCE = MeanScores(plddt=1.5, ptm=0.02)
PUBLISHED = Published(
  model='model_1_ptm',
  sequence='PIAQIHILEGRSDEQKETLIREVSEAISRSLDAPLTSVRVIITEMAKGHFGIGGELASK',
  scores={0: MeanScores(56.994, 0.37594), 3: MeanScores(64.511, 0.43464)},
  source='alphafold2-webgpu',
)
_CHECK = 'known scores'


def check_scores(model: Model, published: Published = PUBLISHED) -> Finding:
  """Predicts the sequence without an alignment, templates or masking, in float32, and compares the scores.

  Args:
    model: the one that the scores are of.
    published: the scores.
  """
  try:
    prediction = predict(
      model,
      single_sequence(published.sequence),  # which is meant: nothing warns of it
      num_recycle=max(published.scores),
      recycle_early_stop_tolerance=-1.0,
      masked_msa_fraction=0.0,
      dtype='float32',
    )
  except AlphaFoldError as error:
    return Finding(model.name, _CHECK, Verdict.WRONG, 'no prediction', (str(error),))
  found = {index: MeanScores(p.mean_plddt, p.ptm) for index, p in enumerate(prediction.passes) if p.ptm is not None}
  lines = [
    f'recycle {index}: mean pLDDT {found[index].plddt:.2f}, published {theirs.plddt:.2f}; '
    f'pTM {found[index].ptm:.3f}, published {theirs.ptm:.3f}'
    for index, theirs in published.scores.items()
  ]
  within = f'within {TOLERANCE.plddt} of mean pLDDT and {TOLERANCE.ptm} of pTM'
  if all(_near(found[index], theirs) for index, theirs in published.scores.items()):
    return Finding(model.name, _CHECK, Verdict.HOLDS, f'{within} of {published.source}', tuple(lines))
  lines.append('Whether the published run masked the sequence is not known; that may explain a few points.')
  return Finding(model.name, _CHECK, Verdict.WRONG, f'not {within} of {published.source}', tuple(lines))


def _near(ours: MeanScores, theirs: MeanScores) -> bool:
  return all(abs(a - b) <= tolerance for a, b, tolerance in zip(ours, theirs, TOLERANCE, strict=True))
