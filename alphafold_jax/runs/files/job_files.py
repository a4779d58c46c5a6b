# SPDX-License-Identifier: Apache-2.0
"""The output folder, and the files of one protein in it: each prediction's as it is made, then all under their ranks.

Which files there are is the table of `output.files`; here no format is known by name.
"""

import contextlib
import dataclasses
import datetime
import functools
import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic, untrusted
from alphafold_jax.choices import RANKINGS
from alphafold_jax.output import files, record
from alphafold_jax.output.files import ARCHIVE, FORMATS, PASS, PREDICTION, PROTEIN, Prediction
from alphafold_jax.output.record import PASS_ARRAYS, Report
from alphafold_jax.runs.files import stored
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job, LoadedJob
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
HIDDEN = '.results'
_STALE = 3600  # seconds after which a temporary file belongs to no running process


def tidied_names(out: Path) -> set[str]:
  """The names in the output folder, after removing what killed runs left half-written."""
  names = set(os.listdir(out))
  for name in [name for name in names if name.startswith('.') and name.endswith('.part')]:
    with contextlib.suppress(OSError):
      if time.time() - (out / name).stat().st_mtime > _STALE:
        (out / name).unlink()
  return names


class JobFiles:
  """Writes and renames the files of one job in the output folder."""

  def __init__(self, out: Path, job: Job, options: Options):
    self.out, self.job, self.options = out, job, options
    self.folder = out / HIDDEN / job.name
    self._journal = Journal(self.folder / 'files.json')
    self._wanted = files.wanted(options)
    self._extras = [need for need in files.needed(options) if need not in stored.ALWAYS]

  def _of_scope(self, *scopes: str) -> list[str]:
    return [name for name in self._wanted if FORMATS[name].scope in scopes]

  # ---------------------------------------------------------------------------------------- one prediction

  def keep(self, prediction: Prediction, key: str) -> Prediction:
    """Keeps a prediction on disk for resuming; returns it with its arrays there."""
    return stored.save(self.folder, key, prediction, self._extras)

  def kept(self, tag: str, key: str) -> Prediction | None:
    """The prediction of a model and seed that an earlier run kept; None if there is none of this content."""
    return stored.find(self.folder, self.job.query.name, self.job.name, tag, key, self._extras)

  @property
  def wants_passes(self) -> bool:
    """Whether some file is made of the structure after each pass."""
    return bool(self._of_scope(PASS)) or not set(PASS_ARRAYS).isdisjoint(self._extras)

  def write_prediction(self, prediction: Prediction) -> None:
    """Writes one prediction's files, not yet ranked."""
    self._journal.add(self._names(prediction.tag, len(prediction.passes)))
    had = set(prediction.arrays)
    formats = [name for name in self._of_scope(PASS, PREDICTION) if set(FORMATS[name].needs) <= had]
    self._write(Report(self.job.name, [prediction], [prediction.tag]), formats)

  def write_pass(self, prediction: Prediction) -> None:
    """Writes the files of a prediction as it is after its last pass so far."""
    self._journal.add(self._names(prediction.tag, len(prediction.passes), PASS))
    self._write(Report(self.job.name, [prediction], [prediction.tag]), self._of_scope(PASS))

  def _write(self, report: Report, formats: Iterable[str]) -> list[str]:
    """Writes files; returns their names, and logs which could not be had."""
    written = files.write(report, self.out, formats)
    for name, reason in written.skipped.items():
      _log.warning('%s: not written: %s', name, reason)
    return [path.name for path in written.paths]

  def _names(self, tag: str, num_passes: int, *scopes: str) -> list[str]:
    """The names of all files of one prediction, in the order of the table."""
    return [
      files.file_name(name, self.job.name, tag, index)
      for name in self._of_scope(*(scopes or (PASS, PREDICTION)))
      for index in range(num_passes if FORMATS[name].scope == PASS else 1)
    ]

  # ---------------------------------------------------------------------------------------- the whole job

  def finish(
    self, found: Sequence[Prediction], loaded: LoadedJob, key: str | None, facts: Mapping[str, Any]
  ) -> dict[str, Any]:
    """Ranks the predictions, writes the job's own files and the record of it, which it returns.

    Args:
      found: the job's predictions, kept on disk and their files written.
      loaded: the job's input.
      key: of the job's content; None if predictions are missing, so that a later run tries again.
      facts: for the record.
    """
    order = sorted(found, key=lambda one: -RANKINGS[self.options.ranking](one))
    tags = [record.tag(one.model_name, one.seed, rank) for rank, one in enumerate(order, 1)]
    names = [name for one, tag in zip(order, tags, strict=True) for name in self._renamed(one, tag)]
    report = Report(self.job.name, order, tags, np.asarray(loaded.batch.msa.tokens), loaded.alignment_text)
    names += self._write_whole(report, PROTEIN)
    report = dataclasses.replace(report, files=[self.out / name for name in names])
    names = self._write_whole(report, ARCHIVE) or names
    self._remove_all_but(names)
    content = {
      'job': self.job.name,
      'name': self.job.query.name,
      'source': self.job.query.source,
      'num_res': self.job.num_res,
      'num_rows': loaded.num_rows,
      'version': __version__,
      'finished': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
      **facts,
      'key': key,
      'predictions': [_row(rank, one) for rank, one in enumerate(order, 1)],
      'files': sorted(names),
    }
    if key is not None:
      atomic.write_text(self.done_path, json.dumps(content, indent=1) + '\n')
      for one in order:
        stored.drop_extras(self.folder, one.tag)
    return content

  def _renamed(self, prediction: Prediction, tag: str) -> list[str]:
    """Gives a prediction's files their rank; returns their names."""
    before, after = (self._names(name, len(prediction.passes)) for name in (prediction.tag, tag))
    self._journal.add(after)
    names = []
    for old, new in zip(before, after, strict=True):
      with contextlib.suppress(FileNotFoundError):  # a format that cannot hold this prediction
        os.replace(self.out / old, self.out / new)
        names.append(new)
    return names

  def _write_whole(self, report: Report, scope: str) -> list[str]:
    """Writes the files that there is one of for the whole job; returns their names."""
    had = set(report.best.arrays)
    formats = {files.file_name(name, self.job.name): name for name in self._of_scope(scope)
               if set(FORMATS[name].needs) <= had}  # fmt: skip
    formats = {name: one for name, one in formats.items() if not self._is_the_input(self.out / name)}
    self._journal.add(formats)
    return self._write(report, formats.values())

  def _is_the_input(self, path: Path) -> bool:
    """Whether a file is the job's own alignment, which must not be overwritten, let alone removed."""
    given = self.job.alignment_path
    return given is not None and path.exists() and path.samefile(given)

  def write_features(self, loaded: LoadedJob) -> str:
    """Writes the features, for `--msa-only`; returns the file's name."""
    from alphafold_jax.data import features

    name = f'{self.job.name}.features.npz'
    query = self.job.query
    metadata = {'name': query.name, 'sequence': query.sequence, 'source': query.source, 'version': __version__}
    features.save_features(self.out / name, loaded.batch, metadata)
    return name

  # ---------------------------------------------------------------------------------------- what was done before

  @property
  def done_path(self) -> Path:
    return self.out / f'{self.job.name}.done.txt'

  def done(self, key: str, there: Collection[str] | None = None) -> dict[str, Any] | None:
    """The record of the finished job, if it is of this content and all its files are there.

    Args:
      key: of the job's content.
      there: names of the files in the output folder, if they are known.
    """
    try:
      content = untrusted.from_json(self.done_path.read_text(encoding='utf-8'))
      names = content['files']
      complete = all((self.out / name).exists() for name in names) if there is None else set(names) <= set(there)
      return content if content['key'] == key and complete else None
    except (OSError, ValueError, KeyError, TypeError):  # of another program, or damaged
      return None

  def start_anew(self, input_key: str) -> None:
    """Says that the job is no longer done, before anything of it changes; files of another protein go at once."""
    self.done_path.unlink(missing_ok=True)
    if self._journal.content[0] != input_key:
      self._remove_all_but([])
      self._journal.keep([], input_key)

  def discard(self, tag: str, num_passes: int) -> None:
    """Removes what was written of a prediction that then failed."""
    for name in self._names(tag, num_passes):
      (self.out / name).unlink(missing_ok=True)

  def _remove_all_but(self, names: Iterable[str]) -> None:
    """Removes the files that earlier runs, or this one before ranking, wrote for the job."""
    input_key, known = self._journal.content
    for name in known - set(names):
      (self.out / name).unlink(missing_ok=True)
    self._journal.keep(names, input_key)


class Journal:
  """The names of all files written for a job, and the key of the input they were made from."""

  def __init__(self, path: Path):
    self._path = path

  @functools.cached_property
  def content(self) -> tuple[str | None, frozenset[str]]:
    """The key and the names."""
    try:
      content = untrusted.from_json(self._path.read_text(encoding='utf-8'))
      return content['input'], frozenset(name for name in content['files'] if os.path.basename(name) == name)
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: then nothing is ours to remove
      return None, frozenset()

  def add(self, names: Iterable[str]) -> None:
    """Puts names on record, before the files are written."""
    key, known = self.content
    if not known.issuperset(names := list(names)):
      self.keep(known.union(names), key)

  def keep(self, names: Iterable[str], input_key: str | None) -> None:
    """Replaces what is on record."""
    self.content = input_key, frozenset(names)
    atomic.make_folder(self._path.parent)
    atomic.write_text(self._path, json.dumps({'input': input_key, 'files': sorted(self.content[1])}, indent=1) + '\n')


def _row(rank: int, prediction: Prediction) -> dict[str, Any]:
  return {
    'rank': rank,
    'tag': prediction.tag,
    'model': prediction.model_name,
    'seed': prediction.seed,
    'mean_plddt': round(prediction.mean_plddt, 2),
    'ptm': prediction.ptm and round(prediction.ptm, 4),
    'passes': len(prediction.passes),
    'seconds': round(prediction.seconds, 2),
  }
