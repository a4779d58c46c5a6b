# SPDX-License-Identifier: Apache-2.0
"""How good predictions are, beside experimental structures: what `alphafold-jax evaluate` does, for programs too.

    from alphafold_jax import evaluation

    summary = evaluation.evaluate('out/', 'experimental/', 'evaluation/')
    summary.statistics['lddt_ca'].median

finding    which files are predictions and references, and which belong together
aligning   which residue is which
scoring    one prediction against its reference; the scores themselves are in geometry/
summary    statistics over all targets, shares within CASP14's limits, calibration of pLDDT
run        the whole of it

Nothing here loads JAX.
"""

from alphafold_jax.evaluation.run import evaluate
from alphafold_jax.evaluation.scoring import Target
from alphafold_jax.evaluation.summary import Calibration, Failure, Statistics, Summary

__all__ = ['Calibration', 'Failure', 'Statistics', 'Summary', 'Target', 'evaluate']
