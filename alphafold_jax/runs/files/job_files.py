# SPDX-License-Identifier: Apache-2.0
"""The output folder, and the files of one protein in it: each prediction's as it is made, then all under their ranks.

Which files there are is the table of `output.files`; here no format is known by name.
"""

import contextlib
import dataclasses
import functools
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.output import files, record
from alphafold_jax.output.files import ARCHIVE, FORMATS, PAGE, PASS, PREDICTION, PROTEIN, Prediction
from alphafold_jax.output.painter import Painter, here
from alphafold_jax.output.provenance import Provenance
from alphafold_jax.output.record import PASS_ARRAYS, Report
from alphafold_jax.runs.files import pages, records, stored
from alphafold_jax.runs.files.changes import NEXT, Change, Earlier, Journal, Removals, Unwritten, move, unranked, why
from alphafold_jax.runs.files.relaxed import RelaxedFiles
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job, Keys, LoadedJob, of_job
from alphafold_jax.screen import LOG_ONLY, number
from alphafold_jax.sharing import HIDDEN

_log = logging.getLogger(__name__)


class JobFiles:
  """Writes and renames the files of one job in the output folder."""

  def __init__(
    self,
    out: Path,
    job: Job,
    options: Options,
    keys: Keys | None = None,
    removals: Removals | None = None,
    painter: Painter | None = None,
    unwritten: Unwritten | None = None,
  ):
    """Writes nothing yet.

    Args:
      out: the output folder.
      job: the protein.
      options: of the run.
      keys: None where nothing is predicted.
      removals: tells what is removed.
      painter: draws the pictures; None: this process does when they are written.
      unwritten: tells what cannot be written.
    """
    self._begin = painter.begin if painter else here
    self.out, self.job, self.options = out, job, options
    self.folder = out / HIDDEN / job.name
    self._keys, self._removals = keys, removals or Removals()
    self._unwritten = unwritten or Unwritten()
    self._journal = Journal(self.folder / 'files.json')
    self._change = Change(out, self.folder, self.done_path, self._journal)
    self._place, self._store = out, self.folder  # of files that have no rank yet, and of predictions kept on disk
    self._input_key = ''
    self._known: frozenset[str] = frozenset()  # names of files that are the job's
    self._renamed_best: Collection[str] = ()  # names that its files have not, since they have others
    self._made: Mapping[str, str | None] = {}  # of what predictions the whole files of an earlier run are: key by tag
    self._before: Mapping[str, Any] = {}  # the record of an earlier run, where the journal says nothing of it
    self._wanted = files.wanted(options)
    self._extras = [need for need in files.needed(options) if need not in stored.ALWAYS]

  def _of_scope(self, *scopes: str) -> list[str]:
    return [name for name in self._wanted if FORMATS[name].scope in scopes]

  # ---------------------------------------------------------------------------------------- one prediction

  def keep(self, prediction: Prediction, key: str) -> Prediction:
    """Keeps a prediction on disk for resuming; returns it with its arrays there, unless they are small."""
    return stored.save(self._store, key, prediction, self._extras)

  def kept(self, tag: str, key: str) -> Prediction | None:
    """The prediction of a model and seed that an earlier run kept; None if there is none of this content."""
    return self._found(tag, key, self._extras)

  def _found(self, tag: str, key: str, extras: Collection[str]) -> Prediction | None:
    folders = self.folder / NEXT, self.folder
    names = self.job.query.name, self.job.name
    found = (stored.find(one, *names, tag, key, extras, self.job.chain_names) for one in folders)
    return next((one for one in found if one is not None), None)

  @property
  def wants_passes(self) -> bool:
    """Whether some file is made of the structure after each pass."""
    return bool(self._of_scope(PASS)) or not set(PASS_ARRAYS).isdisjoint(self._extras)

  def write_prediction(self, prediction: Prediction) -> None:
    """Writes one prediction's files, not yet ranked."""
    self._announce(self._names(prediction.tag, len(prediction.passes)))
    had = set(prediction.arrays)
    formats = [name for name in self._of_scope(PASS, PREDICTION) if set(FORMATS[name].needs) <= had]
    self._write(Report(self.job.name, [prediction], [prediction.tag]), formats, self._place)

  def write_pass(self, prediction: Prediction) -> None:
    """Writes the files of a prediction as it is after its last pass so far."""
    self._announce(self._names(prediction.tag, len(prediction.passes), PASS))
    self._write(Report(self.job.name, [prediction], [prediction.tag]), self._of_scope(PASS), self._place)

  def _announce(self, names: Iterable[str]) -> None:
    """Puts on record what is about to be written where people look."""
    if self._place == self.out:
      self._journal.add(names)

  def _write(self, report: Report, formats: Iterable[str], folder: Path) -> list[str]:
    """Writes files; returns their names, and logs which could not be had."""
    known: dict[str, Any] = {
      'pae_cutoff': self.options.pae_cutoff,
      'naming': self.options.naming,
      'provenance': self._provenance,
    }
    report = dataclasses.replace(report, **known)
    written = files.write(report, folder, formats, self._begin)
    for name, reason in written.skipped.items():
      self._unwritten.tell(self.job.name, name, reason)
    return [path.name for path in written.paths]

  @functools.cached_property
  def _provenance(self) -> Provenance:
    return of_job(self.job, self.options)

  def _names(self, tag: str, num_passes: int, *scopes: str) -> list[str]:
    """The names of all files of one prediction, in the order of the table."""
    return [
      files.file_name(name, self.job.name, tag, index)
      for name in self._of_scope(*(scopes or (PASS, PREDICTION)))
      for index in range(num_passes if FORMATS[name].scope == PASS else 1)
    ]

  # ---------------------------------------------------------------------------------------- the whole job

  def finish(self, own: Sequence[Prediction], loaded: LoadedJob, *, complete: bool) -> dict[str, Any]:
    """Ranks the predictions, those of earlier runs with other seeds or models too, and puts all files in their places.

    Args:
      own: the run's predictions, kept on disk and their files written.
      loaded: the job's input.
      complete: whether the run has all that it asked for; otherwise there is no record, and a later run tries again.

    Returns:
      the record.
    """
    assert self._keys is not None
    others = self._others({(one.model_name, one.seed) for one in own})
    order = sorted([*own, *others], key=lambda one: -self.options.score(one))
    tags = [record.tag(one.model_name, one.seed, rank) for rank, one in enumerate(order, 1)]
    made = {one.tag: self._keys.kin(self._input_key, one.model_name, one.seed) for one in order}
    atomic.make_folder(self._change.new)
    names = []
    for one, tag in zip(order, tags, strict=True):
      names += self._taken(one, tag, made[one.tag]) if one in others else self._renamed(one, tag)
    self._tell_lacking(others)
    names = self._without_renamed(names, tags[0])
    origin = pages.origin(self.out, self.options, self.job.is_complex)
    tokens = np.asarray(loaded.batch.msa.tokens)
    names = self._with_whole(Report(self.job.name, order, tags, tokens, loaded.alignment_text, origin=origin), names)
    content = {
      **records.heading(self.job, loaded.num_rows, order[0].notes),
      'key': self._keys.job(self._input_key) if complete else None,
      'formats': self._keys.formats,
      'input': self._input_key,
      'flags': self.options.flags(),
      **records.of_complex(order[0], self.options.rank),
      'predictions': [records.row(rank, one, made[one.tag], self.options) for rank, one in enumerate(order, 1)],
      'files': sorted(names),
    }
    again = RelaxedFiles(self.out, self.job.name, self._change.new).put_again(tags)
    self._replace([*names, *again], made, content)
    if complete:
      for one in order:
        stored.drop_extras(self.folder, one.tag)
    return content

  def _others(self, own: Collection[tuple[str, int]]) -> list[Prediction]:
    """The predictions of the same input and settings that earlier runs made with other seeds or models."""
    assert self._keys is not None
    found = []
    for model, seed in {**stored.keys(self.folder), **stored.keys(self.folder / NEXT)}:
      key, tag = self._keys.kin(self._input_key, model, seed), record.tag(model, seed)
      if (model, seed) not in own and key is not None:
        one = self._found(tag, key, self._extras) or self._found(tag, key, ())
        found += [] if one is None else [one]
    return found

  def _renamed(self, prediction: Prediction, tag: str) -> list[str]:
    """Moves a prediction's files among the new ones, under their rank; returns their names."""
    names = []
    before, after = (self._names(name, len(prediction.passes)) for name in (prediction.tag, tag))
    for old, new in zip(before, after, strict=True):
      with contextlib.suppress(FileNotFoundError):  # a format that cannot hold this prediction
        move(self._place / old, self._change.new / new)
        names.append(new)
    return names

  def _taken(self, prediction: Prediction, tag: str, key: str | None) -> list[str]:
    """Puts the files of an earlier run's prediction among the new ones, under their rank; writes those that lack."""
    had, names = set(prediction.arrays), []
    are_of_it = self._place == self.out or self._made.get(prediction.tag) == key
    for name in self._of_scope(PASS, PREDICTION):
      indices = range(len(prediction.passes) if FORMATS[name].scope == PASS else 1)
      pairs = [[files.file_name(name, self.job.name, one, i) for one in (prediction.tag, tag)] for i in indices]
      there = [new for old, new in pairs if are_of_it and self._earlier.take(old, self._change.new / new)]
      if not there and set(FORMATS[name].needs) <= had:
        there = self._write(Report(self.job.name, [prediction.in_memory()], [tag]), [name], self._change.new)
      names += there
    return names

  def _tell_lacking(self, others: Collection[Prediction]) -> None:
    """Logs which files there cannot be of predictions of earlier runs, since these did not keep what is in them."""
    for name in self._of_scope(PASS, PREDICTION):
      if lacking := [one for one in others if not set(FORMATS[name].needs) <= set(one.arrays)]:
        count = number(len(lacking), 'prediction')
        said = '%s: no files of "%s" of %s of earlier runs, which did not keep their arrays; ask for those seeds too'
        _log.info(said, self.job.name, name, count)

  def _with_whole(self, report: Report, names: Sequence[str]) -> list[str]:
    """Writes the files that there is one of for the whole job; returns the names of all its files."""
    names, packed = [*names], []
    for scope in (PROTEIN, PAGE, ARCHIVE):
      report = dataclasses.replace(report, files=[self._change.new / name for name in names])
      packed = self._write_whole(report, scope)
      names += packed
    if packed:  # the archive takes the place of all others
      what = number(len(names) - len(packed), 'file'), ', '.join(packed)
      _log.info('%s: %s packed into %s', self.job.name, *what, extra=LOG_ONLY)
    return packed or names

  def _write_whole(self, report: Report, scope: str) -> list[str]:
    """Writes the files that there is one of for the whole job; returns their names."""
    had = set(report.best.arrays)
    formats = {files.file_name(name, self.job.name): name for name in self._of_scope(scope)
               if set(FORMATS[name].needs) <= had}  # fmt: skip
    wanted = [one for name, one in formats.items() if not self._is_the_input(self.out / name)]
    return self._write(report, wanted, self._change.new)

  def _without_renamed(self, names: Sequence[str], tag: str) -> list[str]:
    """The new files without those of the best prediction that it has under other names, which are removed."""
    self._renamed_best = {files.file_name(name, self.job.name, tag) for name in files.renamed(self.options)}
    for name in self._renamed_best:
      (self._change.new / name).unlink(missing_ok=True)
    return [name for name in names if name not in self._renamed_best]

  def _replace(self, names: Sequence[str], made: Mapping[str, str | None], content: Mapping[str, Any]) -> None:
    """Puts the new files in the place of all others of the job, and tells what is removed by that."""
    flags = self.options.flags()
    reason = why(self._before or self._journal.content, self._input_key, flags, self.job.chain_names)
    gone = {
      name for name in (self._known | self._journal.files) - set(names) if not self._is_the_input(self.out / name)
    }
    lost = self._lost({unranked(name) for name in (*names, *self._renamed_best)}, made)
    done = json.dumps(content, indent=1) + '\n' if content['key'] is not None else None
    made_of = {'made': made, 'flags': flags} | (
      {'chains': list(names_of)} if (names_of := self.job.chain_names) else {}
    )
    self._change.make(names, gone, self._input_key, made_of, done)
    self._removals.tell(self.job.name, len(lost), reason)

  def _lost(self, new: Collection[str], made: Mapping[str, str | None]) -> list[str]:
    """The whole files of an earlier run of which there are none in their place: not of the same prediction and kind.

    Args:
      new: names of the new files, without ranks.
      made: keys of the predictions that these are of, by tag.
    """
    same = {tag for tag, key in self._made.items() if key is not None and made.get(tag) == key}
    lost = []
    for name in self._earlier.names if self._place != self.out else ():
      tags = [tag for tag in self._made if f'_{tag}.' in name]
      stays = same.issuperset(tags) if tags else bool(same)
      lost += [] if stays and unranked(name) in new else [name]
    return lost

  def _is_the_input(self, path: Path) -> bool:
    """Whether a file is the job's own alignment, which must not be overwritten, let alone removed."""
    given = self.job.alignment_path
    return given is not None and path.exists() and path.samefile(given)

  # ---------------------------------------------------------------------------------------- what was done before

  @property
  def done_path(self) -> Path:
    return records.path(self.out, self.job.name)

  def done(self, input_key: str, keys: Keys, there: Collection[str] | None = None) -> dict[str, Any] | None:
    """The record of the job, if it holds all that a run of these keys would make, and all its files are there.

    Args:
      input_key: of the job's input.
      keys: of the run.
      there: names of the files in the output folder, if they are known.
    """
    content = records.read(self.done_path, there)
    same = content and records.is_of_chains(content, self.job.chain_names)
    return content if content and same and records.holds(content, self.options, input_key, keys) else None

  def start_anew(self, input_key: str) -> None:
    """Makes ready for predictions; files of an earlier run stay until `finish`, unless they are unfinished."""
    assert self._keys is not None
    self._change.complete()
    self._change.clear()
    self._input_key, self._known = input_key, self._journal.files
    kept = {record.tag(*which): (which, key) for which, key in stored.keys(self.folder).items()}
    made = self._journal.content.get('made')
    if made is None and (rows := records.unjournalled(self.done_path)) is not None:
      self._before, self._known = rows.content, self._known | rows.names
      made = {tag: kept[tag][1] if tag in kept else None for tag in rows.tags}
    self._made = made or {}
    if made is not None:
      self._place = atomic.make_folder(self._change.new)
      self._store = self.folder / NEXT
    else:
      same = [tag for tag, (which, key) in kept.items() if key == self._keys.kin(input_key, *which)]
      self._remove_unfinished({name for name in self._known if not any(f'_{tag}.' in name for tag in same)})
    self._earlier = Earlier(self.out, self._known, files.file_name('zip', self.job.name))

  def _remove_unfinished(self, names: Collection[str]) -> None:
    """Removes files of a run that did not come to its end, which are not of these settings."""
    there = [self.out / name for name in names if (self.out / name).exists()]
    there = [path for path in there if not self._is_the_input(path)]
    self._known = self._known - set(names)
    for path in there:
      path.unlink(missing_ok=True)
    self._journal.keep(self._known, self._input_key)
    self._removals.tell(self.job.name, len(there), 'that was stopped, with other settings or another input')

  def discard(self, tag: str, num_passes: int) -> None:
    """Removes what was written of a prediction that then failed."""
    for name in self._names(tag, num_passes):
      (self._place / name).unlink(missing_ok=True)

  def abandon(self) -> None:
    """Leaves everything as it was before."""
    self._change.clear()
