# SPDX-License-Identifier: Apache-2.0
"""Scores that another program published for a sequence, beside those of this program from end to end."""

from collections.abc import Mapping
from typing import NamedTuple

from alphafold_jax.checking.findings import Finding, Verdict
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.prediction import Model, predict


class Scores(NamedTuple):
  """Mean pLDDT (0 to 100) and pTM (0 to 1)."""

  plddt: float
  ptm: float


class Published(NamedTuple):
  """What a program stated for a lone sequence, by the number of recycles."""

  model: str
  sequence: str
  scores: Mapping[int, Scores]
  source: str


# Whether 15% of the lone row were masked, as AlphaFold does by default, and which, is not stated; hence the tolerance.
# From the first to the last pass pTM moves by 0.0078 for one of pLDDT, so that 1.5 there are 0.012 here: rounded up.
TOLERANCE = Scores(plddt=1.5, ptm=0.02)
PUBLISHED = Published(
  model='model_1_ptm',
  sequence='PIAQIHILEGRSDEQKETLIREVSEAISRSLDAPLTSVRVIITEMAKGHFGIGGELASK',
  scores={0: Scores(56.994, 0.37594), 3: Scores(64.511, 0.43464)},
  source='alphafold2-webgpu',
)
_CHECK = 'known scores'


def check_scores(model: Model, published: Published = PUBLISHED, dtype: str | None = None) -> Finding:
  """Predicts the sequence without an alignment, templates or masking, and compares the scores.

  Args:
    model: the one that the scores are of.
    published: the scores.
    dtype: of the trunk; None: that of predictions on this device.
  """
  try:
    prediction = predict(
      model,
      published.sequence,
      num_recycle=max(published.scores),
      recycle_early_stop_tolerance=-1.0,
      masked_msa_fraction=0.0,
      dtype=dtype,
    )
  except AlphaFoldError as error:
    return Finding(model.name, _CHECK, Verdict.WRONG, 'no prediction', (str(error),))
  found = {index: Scores(p.mean_plddt, p.ptm) for index, p in enumerate(prediction.passes) if p.ptm is not None}
  lines = [
    f'recycle {index}, {name}: {ours:.3f} here, {theirs:.3f} published: difference {abs(ours - theirs):.3f}, '
    f'tolerance {tolerance}'
    for index, scores in published.scores.items()
    for name, ours, theirs, tolerance in zip(('mean pLDDT', 'pTM'), found[index], scores, TOLERANCE, strict=True)
    if not abs(ours - theirs) <= tolerance
  ]
  if lines:
    lines.append(
      'whether the published run masked the sequence is not known; that can explain a difference of a few points'
    )
  shown = '; '.join(
    f'recycle {index}: {found[index].plddt:.2f} and {found[index].ptm:.3f}, {published.source} has {theirs.plddt:.2f} '
    f'and {theirs.ptm:.3f}'
    for index, theirs in published.scores.items()
  )
  said = f'mean pLDDT and pTM at {shown} (within {TOLERANCE.plddt} and {TOLERANCE.ptm}; its masking is not known)'
  return Finding(model.name, _CHECK, Verdict.WRONG if lines else Verdict.HOLDS, said, tuple(lines))
