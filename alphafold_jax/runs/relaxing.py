# SPDX-License-Identifier: Apache-2.0
"""Relaxation of a run's predictions: after all of them are in their places, ranked, and whatever comes of it."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.output import record
from alphafold_jax.relaxation import Relaxed, RelaxPlan, check_installed, folder, relax_all
from alphafold_jax.runs import files
from alphafold_jax.runs.files import Ledger, RelaxCounts
from alphafold_jax.runs.options import Options
from alphafold_jax.screen import number

_log = logging.getLogger(__name__)


class _ToRelax(NamedTuple):
  job: str
  row: Mapping[str, Any]  # of the record: model, seed, rank
  key: str
  source: files.Unrelaxed
  place: files.RelaxedFiles


def check(options: Options) -> None:
  """Refuses a run that is to relax where OpenMM is missing or broken, before hours are spent: InputError."""
  if options.num_relax != 0:
    check_installed(tried=True)


def relax_predictions(out: Path, ledger: Ledger, plan: RelaxPlan, count: int | None) -> RelaxCounts:
  """Relaxes the best predictions of each protein that this process answers for; what fails is put on record.

  Args:
    out: the output folder.
    ledger: how the proteins ended.
    plan: how to relax.
    count: predictions of each protein; None: all.

  Returns:
    how many of them were relaxed, and how many not.
  """
  ours = [len(outcome.predictions) for outcome in ledger.outcomes.values() if outcome.ours]
  asked = sum(ours) if count is None else sum(min(one, count) for one in ours)
  counts, left = RelaxCounts(left=sum(ours) - asked), list[_ToRelax]()
  for one in _wanted(out, ledger, plan, count):
    if (found := one.place.kept(one.key)) is not None:
      one.place.put(one.source, one.key, found)
      counts.before += 1
    else:
      left.append(one)
  if counts.before:
    _log.info('relaxed already: %s', number(counts.before, 'prediction'))
  if left:
    _log.info('relaxing %s, %s protocol', number(len(left), 'prediction'), plan.protocol.name)
    counts.now = _relax(left, ledger, plan)
  counts.failed = asked - counts.before - counts.now
  files.write_relax_metrics(out)
  return counts


def _wanted(out: Path, ledger: Ledger, plan: RelaxPlan, count: int | None) -> Iterator[_ToRelax]:
  """The predictions to relax, best first, protein by protein."""
  for outcome in list(ledger.outcomes.values()):
    place = files.RelaxedFiles(out, outcome.job)
    for row in outcome.predictions[:count] if outcome.ours else ():
      try:
        tag = record.tag(row['model'], row['seed'], row['rank'])
        source = place.unrelaxed(tag, is_best=row['rank'] == 1)
      except AlphaFoldError as error:
        _fail(ledger, outcome.job, row, error)
        continue
      yield _ToRelax(outcome.job, row, folder.key_of(source.content, plan.protocol), source, place)


def _relax(left: list[_ToRelax], ledger: Ledger, plan: RelaxPlan) -> int:
  """Relaxes predictions, and writes each as it is done; returns how many were relaxed."""
  done = 0

  def ended(index: int, found: Relaxed | AlphaFoldError) -> None:
    nonlocal done
    one = left[index]
    if isinstance(found, AlphaFoldError):  # told by the file's name: its folder is gone when somebody reads it
      _fail(ledger, one.job, one.row, type(found)(str(found).replace(f'{scratch}/', '')))
      return
    try:
      one.place.keep(one.key, found)
      one.place.put(one.source, one.key, found)
    except AlphaFoldError as error:
      _fail(ledger, one.job, one.row, error)
      return
    done += 1
    for note in found.record['notes']:
      _log.warning('%s: %s', one.source.name, note)
    _log.info('%s: %s', one.source.relaxed.structure, found.told)

  with tempfile.TemporaryDirectory(prefix='unrelaxed-', ignore_cleanup_errors=True) as scratch:
    paths = [_file(Path(scratch), one) for one in left]
    relax_all(paths, plan, ended)
  return done


def _file(scratch: Path, one: _ToRelax) -> Path:
  """A prediction as a file, under its name."""
  path = scratch / one.source.name
  path.write_bytes(one.source.content)
  return path


def _fail(ledger: Ledger, job: str, row: Mapping[str, Any], error: AlphaFoldError) -> None:
  """Puts on record that a prediction could not be relaxed; its own files stay."""
  _log.error('%s %s, seed %d: not relaxed: %s', job, row['model'], row['seed'], error)
  ledger.not_relaxed(job, row['model'], row['seed'], error)
