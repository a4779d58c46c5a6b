# SPDX-License-Identifier: Apache-2.0
"""The pages of a run: what each says of it, the viewer that many share, and index.html over all of them."""

import contextlib
import dataclasses
import functools
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from alphafold_jax import atomic, installed
from alphafold_jax.choices import SERVER_MODES
from alphafold_jax.config import OWN_MODELS
from alphafold_jax.data.jobnames import original_names
from alphafold_jax.output import files
from alphafold_jax.output.page import INDEX, OVERVIEW, VIEWER, IndexRow, render_index, shared_file
from alphafold_jax.output.record import Origin
from alphafold_jax.runs.files.report import (
  CITATIONS,
  CONFIG,
  FAILURES,
  PACKAGES,
  SUMMARY,
  Summary,
  citations,
)
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job
from alphafold_jax.screen import LOG, name_of_shard
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
_MANY = 100  # proteins of a run, beyond which they share one viewer


def origin(out: Path, options: Options, is_complex: bool) -> Origin:
  """What a protein's page says of the run.

  Args:
    out: the output folder.
    options: of the run, for proteins of this kind.
    is_complex: whether the protein has several chains.
  """
  is_alone = options.zip  # what is unpacked elsewhere has no neighbours
  settings = {flag: text.removeprefix(flag).strip(' =') or 'yes' for flag, text in options.flags().items()}
  if settings.get('--msa-mode') not in SERVER_MODES:
    settings.pop('--host-url', None)  # nothing was sent there
  if options.family in OWN_MODELS:  # a single model, of which none can be chosen
    settings = {flag: value for flag, value in settings.items() if flag not in ('--num-models', '--model-order')}
  return Origin(
    settings={flag.removeprefix('--'): value for flag, value in settings.items()},
    versions=_versions(),
    citations=citations(options, is_complex),
    beside=() if is_alone else (name_of_shard(CONFIG, options.shard), SUMMARY, CITATIONS),
    overview=None if is_alone else INDEX,
    viewer=None if is_alone or not (out / VIEWER).exists() else VIEWER,
  )


@functools.cache
def _versions() -> dict[str, str]:
  found = {name: installed.version(name) for name in PACKAGES}
  known = {name: version for name, version in found.items() if version is not None}
  return {'alphafold_jax': __version__, 'Python': platform.python_version(), **known}


def share_viewer(out: Path, num_proteins: int, options: Options) -> None:
  """Puts one viewer of structures beside the pages of a run of many proteins, instead of one into each page."""
  if num_proteins > _MANY and _are_wanted(options) and not options.zip and not (out / VIEWER).exists():
    atomic.write_text(out / VIEWER, shared_file())


def write_index(summary: Summary, options: Options, jobs: Sequence[Job]) -> None:
  """Writes index.html, unless the run has no pages.

  Args:
    summary: of the run.
    options: of the run.
    jobs: its proteins, as far as they could be read.
  """
  if not _are_wanted(options):
    return
  there, rows = set(os.listdir(summary.out)), list(_rows(summary, jobs))
  rows = [dataclasses.replace(row, page=row.page if row.page in there else None) for row in rows]
  if taken := [row.job for row in rows if row.page is not None and row.page.casefold() == INDEX]:
    _log.warning('%s is the page of the protein %s, so that there is no overview of the run', INDEX, taken[0])
    return
  beside = [SUMMARY, CITATIONS, *(summary.path(name).name for name in (CONFIG, FAILURES, LOG))]
  text = render_index(
    'Predicted proteins', rows, [note.text for note in summary.notes], [name for name in beside if name in there]
  )
  atomic.write_text(summary.out / INDEX, text)


def drop_index(out: Path) -> None:
  """Removes the overview of an earlier run, before the files of its proteins change; a page of that name stays."""
  with contextlib.suppress(OSError):
    if OVERVIEW in (out / INDEX).read_text(encoding='utf-8', errors='replace'):
      (out / INDEX).unlink()


def _are_wanted(options: Options) -> bool:
  return 'page' in files.wanted(options)


def _rows(summary: Summary, jobs: Sequence[Job]) -> Iterator[IndexRow]:
  """The proteins of the run and, after them, those whose files earlier runs left; of each the page that it may have."""
  names = original_names(summary.out) | {job.name: job.query.name for job in jobs}
  lengths, reasons = {job.name: job.num_res for job in jobs}, dict[str, str]()
  for failure in summary.failures:
    reasons.setdefault(failure.job, f'{failure.error}: {" ".join(failure.message.split())}')
  said = [note.text for note in summary.notes]
  for outcome in (*summary.outcomes, *summary.others):
    shown = outcome.earlier or outcome  # whose files are there
    remarks = [note for note in shown.notes if note not in said] + [reasons.get(outcome.job, '')]
    yield IndexRow(
      job=outcome.job,
      name=names.get(outcome.job, outcome.job),
      status=outcome.status if shown is outcome else f'{outcome.status}; {shown.status}',
      num_res=lengths.get(outcome.job),
      num_models=len(shown.predictions),
      best=shown.predictions[0] if shown.predictions else {},
      page=files.file_name('page', outcome.job) if shown.predictions else None,
      remark='; '.join(filter(None, remarks)),
    )
