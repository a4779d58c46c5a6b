# SPDX-License-Identifier: Apache-2.0
"""What is left behind: the files of each protein, what is known of it, and reports on the whole run.

ledger     what is known of each protein: its input, whether it is done, how it ended
job_files  the files of one protein, ranked; changes: how they take the place of an earlier run's
stored     its predictions on disk, for resuming
report     config.json, failures.json, summary.csv and cite.bibtex; ending: the last table on the screen
pages      what the page of a protein says of the run; index.html over all pages
relaxed    relaxed structures of a protein
records    {job}.done.txt: what the files of a protein are of
"""

from alphafold_jax.runs.files.changes import Removals, Unwritten
from alphafold_jax.runs.files.ending import closing
from alphafold_jax.runs.files.job_files import JobFiles
from alphafold_jax.runs.files.ledger import Ledger
from alphafold_jax.runs.files.pages import drop_index, share_viewer
from alphafold_jax.runs.files.records import told
from alphafold_jax.runs.files.relaxed import RelaxedFiles, Unrelaxed, renew_relax_metrics, write_relax_metrics
from alphafold_jax.runs.files.report import (
  DONE,
  ELSEWHERE,
  FAILED,
  KEPT,
  NOT_RUN,
  PARTIAL,
  Failure,
  Outcome,
  RelaxCounts,
  Summary,
  drop_rows,
  has_config,
  settle_config,
  write_citations,
  write_config,
  write_names,
)
from alphafold_jax.sharing import HIDDEN

__all__ = [
  'DONE', 'ELSEWHERE', 'FAILED', 'HIDDEN', 'KEPT', 'NOT_RUN', 'PARTIAL', 'Failure', 'JobFiles', 'Ledger',
  'Outcome', 'RelaxCounts', 'RelaxedFiles', 'Removals', 'Summary', 'closing', 'drop_index', 'drop_rows', 'has_config',
  'renew_relax_metrics', 'settle_config', 'share_viewer', 'Unrelaxed', 'Unwritten', 'told', 'write_citations',
  'write_config', 'write_names', 'write_relax_metrics',
]  # fmt: skip
