# SPDX-License-Identifier: Apache-2.0
"""The whole evaluation: from the paths of predictions and references to tables and a plot."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from alphafold_jax import atomic
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.evaluation import finding, scoring
from alphafold_jax.evaluation.summary import ScoreSummary, Unscored, measures_of, summarise
from alphafold_jax.output import evaluated

_log = logging.getLogger(__name__)


def evaluate(
  predictions: str | Path,
  references: str | Path,
  output: str | Path,
  *,
  pairs: str | Path | None = None,
  every_rank: bool = False,
  min_identity: float = 0.9,
  min_coverage: float = 0.5,
  read_plddt: bool = True,
  progress: Callable[[int, int, str], None] | None = None,
) -> ScoreSummary:
  """Scores predictions against experimental structures and writes tables, JSON and a plot.

  Args:
    predictions: a results folder, a folder of structure files, or one file; see `finding`.
    references: a folder of structure files, or one file for all; chains of complexes find their partners themselves.
    output: folder for the results; made if missing.
    pairs: a table with the columns prediction and reference (and perhaps chain), in place of matching by name.
    every_rank: score all ranked models of a protein; the statistics are still those of the best.
    min_identity: share of the aligned residues that must be equal for the two to be the same protein.
    min_coverage: share of the reference's resolved residues that the prediction must have.
    read_plddt: False where B-factors are no pLDDT.
    progress: called before each target with its number from 0, the number of all, and its id.

  Raises:
    InputError: there is nothing to compare, or the output cannot be written. A target that cannot be scored raises
      nothing; the summary lists it.
    ResourceError: the disk is full.
  """
  limits = scoring.Limits(min_identity=min_identity, min_coverage=min_coverage)
  output = atomic.make_folder(output, tried=True)
  found = finding.find(Path(predictions), Path(references), pairs=pairs, every_rank=every_rank)
  failures = [Unscored(name, path, None, 'InputError', reason) for name, path, reason in found.unmatched]
  targets = []
  for i, (predicted, reference) in enumerate(found.pairs):
    if progress is not None:
      progress(i, len(found.pairs), predicted.id)
    try:
      targets.append(scoring.score_target(predicted, reference, limits, read_plddt=read_plddt))
    except AlphaFoldError as error:
      _log.warning('%s: %s', predicted.id, error)
      failures.append(Unscored(predicted.id, predicted.path, reference.path, type(error).__name__, str(error)))
  summary = summarise(output, targets, failures, found.unused, found.left_out, found.notes)
  files = evaluated.write(summary, measures_of(targets))
  return dataclasses.replace(summary, files=files, text=evaluated.closing(summary))


def compare(
  prediction: str | Path,
  reference: str | Path,
  *,
  chain: str = '',
  min_identity: float = 0.9,
  min_coverage: float = 0.5,
  read_plddt: bool = True,
) -> scoring.Target:
  """Scores one structure file against another, of single chains or complexes, and writes nothing.

  Args:
    prediction: file of the prediction; the scores JSON beside it is read as in `evaluate`.
    reference: file of the true structure.
    chain: the chain of the reference, of complexes its chains ('A,B'); '': whichever are most like the prediction.
    min_identity: as in `evaluate`.
    min_coverage: as in `evaluate`.
    read_plddt: as in `evaluate`.

  Raises:
    InputError: a file is missing or no structure, or the sequences are too different.
  """
  for path in (prediction, reference):
    if Path(path).is_dir():
      raise InputError(f'{path}: a folder; give a file, or compare folders by evaluate()')
  return scoring.score_target(
    finding.find_predictions(prediction)[0],
    finding.ReferenceFile(Path(reference), chain=chain, must_have_chain=bool(chain)),
    scoring.Limits(min_identity=min_identity, min_coverage=min_coverage),
    read_plddt=read_plddt,
  )
