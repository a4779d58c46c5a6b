# SPDX-License-Identifier: Apache-2.0
"""The page of predictions at hand, without a run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.arguments import check_kind, wrong
from alphafold_jax.errors import InputError
from alphafold_jax.output import record
from alphafold_jax.output.page import page
from alphafold_jax.output.record import PredictionRecord, Report


def report(
  predictions: PredictionRecord | Sequence[PredictionRecord], path: str | os.PathLike, alignment: Any = None
) -> Path:
  """Writes predictions of one protein as a page to look at in a browser: one HTML file that needs no network.

    afj.report([afj.predict(model, query, seed=seed) for seed in range(3)], 'protein.html')

  Args:
    predictions: from `predict`, of one protein, in any order.
    path: of the file; its folder is made if missing.
    alignment: what they were made from, to show its depth: an Alignment, such as from `query.load_alignment()`.

  Returns:
    the path.

  Raises:
    InputError: there is no prediction, they are of several sequences, the alignment is not theirs, or the file cannot
      be written.
    NumericalError: a prediction holds NaN or infinity.
    ResourceError: the disk is full.
  """
  found = [predictions] if isinstance(predictions, PredictionRecord) else list(predictions)
  if not found or not all(isinstance(one, PredictionRecord) for one in found):
    raise wrong('predictions', predictions, 'must be from afj.predict, or a list of these')
  check_kind('path', path, (str, os.PathLike), 'must be the name of a file')
  if len(sequences := {one.sequence for one in found}) > 1:
    raise InputError(f'predictions: are of {len(sequences)} sequences; a page shows one protein')
  tokens = None if alignment is None else np.asarray(alignment.tokens)
  if tokens is not None and tokens.shape[1] != len(found[0].aatype):
    raise InputError(f'alignment: has {tokens.shape[1]} columns, the protein {len(found[0].aatype)} residues')
  found.sort(key=lambda one: -one.ranking_confidence)
  tags = [record.tag(one.model_name, one.seed, rank) for rank, one in enumerate(found, 1)]
  path = Path(path)
  atomic.make_folder(path.parent)
  atomic.write_text(path, page.render(Report(found[0].job, found, tags, tokens)))
  return path
