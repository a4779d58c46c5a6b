# SPDX-License-Identifier: Apache-2.0
"""Scores of predictions against experimental structures: `alphafold-jax evaluate`, also for programs.

    from alphafold_jax import evaluation

    summary = evaluation.evaluate('out/', 'experimental/', 'evaluation/')
    summary.statistics['lddt_ca'].median

    one = evaluation.compare('complex.pdb', 'experiment.cif')
    one.scores.tm_score, one.complex.dockq

finding    pairs of prediction and reference files
aligning   the residues of two chains that correspond
comparing  what the chains of a complex are worth in the place of those of its reference
mapping    which of them stands for which
complexes  the interfaces of a complex
scoring    one prediction against its reference; the scores themselves are in geometry/
own_scores what a prediction says of its own accuracy
summary    statistics over all targets, shares within CASP14's limits, calibration of pLDDT
run        the whole evaluation

Nothing here loads JAX.
"""

from alphafold_jax.evaluation.complexes import PredictedComplex, PredictedInterface
from alphafold_jax.evaluation.run import compare, evaluate
from alphafold_jax.evaluation.scoring import Target
from alphafold_jax.evaluation.summary import Calibration, ScoreSummary, Statistics, Unscored

__all__ = [
  'Calibration', 'PredictedComplex', 'PredictedInterface', 'ScoreSummary', 'Statistics', 'Target', 'Unscored',
  'compare', 'evaluate',
]  # fmt: skip
