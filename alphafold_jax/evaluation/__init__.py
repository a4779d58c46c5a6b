# SPDX-License-Identifier: Apache-2.0
"""Scores of predictions against experimental structures: `alphafold-jax evaluate`, also for programs.

    from alphafold_jax import evaluation

    summary = evaluation.evaluate('out/', 'experimental/', 'evaluation/')
    summary.statistics['lddt_ca'].median

finding    pairs of prediction and reference files
aligning   the residues of two chains that correspond
scoring    one prediction against its reference; the scores themselves are in geometry/
summary    statistics over all targets, shares within CASP14's limits, calibration of pLDDT
run        the whole evaluation

Nothing here loads JAX.
"""

from alphafold_jax.evaluation.run import evaluate
from alphafold_jax.evaluation.scoring import Target
from alphafold_jax.evaluation.summary import Calibration, ScoreSummary, Statistics, Unscored

__all__ = ['Calibration', 'Unscored', 'Statistics', 'ScoreSummary', 'Target', 'evaluate']
