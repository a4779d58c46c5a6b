# SPDX-License-Identifier: Apache-2.0
"""The files of one protein: each prediction's as it is made, then all of them under their ranks.

A journal in the job's hidden folder names every file this program wrote for the job, before it is written, so that what
an earlier run left is removed when something else takes its place, and nothing else ever is.
"""

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic
from alphafold_jax.constants import residues
from alphafold_jax.data.queries import read_a3m
from alphafold_jax.output import files
from alphafold_jax.runs.files import results
from alphafold_jax.runs.files.results import Result
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
HIDDEN = '.results'


class JobFiles:
  """Writes and renames the files of one job in the output folder."""

  def __init__(self, out: Path, job: Job, options: Options):
    self.out, self.job, self.options = out, job, options
    self.folder = out / HIDDEN / job.name
    self._journal = Journal(self.folder / 'files.json')

  # ---------------------------------------------------------------------------------------- one prediction

  @property
  def extras(self) -> tuple[str, ...]:
    """Arrays that the wanted files need beside the result itself."""
    options = self.options
    return (
      *(('single', 'pair') if options.keep_representations else ()),
      *(('contact_probability',) if options.save_all else ()),
      *(('pass_positions', 'pass_plddt') if options.save_recycles else ()),
    )

  def write_prediction(self, prediction: Any, tag: str) -> None:
    """Writes one prediction's files, not yet ranked."""
    names = self._prediction_names(tag, len(prediction.passes))
    self._note(names)
    formats = [name for name in names.values() if name in files.FORMATS]
    self._write(prediction, tag, formats)
    if self.options.save_recycles and getattr(prediction, 'pass_positions', None) is not None:
      for index in range(len(prediction.pass_positions)):
        self.write_pass(_at_pass(prediction, index), tag, index)
    if self.options.save_all:
      with atomic.replacing(self.out / f'{self.job.name}_all_{tag}.npz') as file:
        np.savez_compressed(file, **_everything(prediction))

  def write_pass(self, prediction: Any, tag: str, index: int) -> None:
    """Writes the structure after one pass."""
    part = f'{tag}.r{index}'
    self._note([files.file_name('pdb', self.job.name, part)])
    self._write(prediction, part, ['pdb'])

  def _write(self, prediction, tag, formats):
    origin = files.Origin(model_name=prediction.model_name, notes=tuple(prediction.notes))
    report = files.Report(self.job.name, [prediction], [tag], origin)
    self._tell_skipped(files.write(report, self.out, formats))

  def _tell_skipped(self, written: files.Written) -> None:
    for name, reason in written.skipped.items():
      _log.warning('%s: not written: %s', name, reason)

  def _prediction_names(self, tag: str, num_passes: int) -> dict[str, str]:
    """File name -> format of all files of one prediction."""
    options, job = self.options, self.job.name
    formats = ['pdb', 'mmcif', 'scores']
    formats += ['single'] if options.save_single_representations else []
    formats += ['pair'] if options.save_pair_representations else []
    names = {files.file_name(one, job, tag): one for one in formats}
    if options.save_recycles:
      names |= {files.file_name('pdb', job, f'{tag}.r{index}'): 'recycle' for index in range(num_passes)}
    if options.save_all:
      names[f'{job}_all_{tag}.npz'] = 'all'
    return names

  # ---------------------------------------------------------------------------------------- the whole job

  def finish(self, found: Sequence[Result], batch: Any, key: str | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Ranks the predictions, writes the job's own files and the record of it.

    Args:
      found: the job's results, their files written.
      batch: the job's features.
      key: of the job's content; None if predictions are missing, so that a later run tries again.
      facts: for the record.

    Returns:
      the record, as `done` reads it.
    """
    order = results.ranked(found, self.options.ranking)
    names, tags = [], []
    for rank, result in enumerate(order, 1):
      tags.append(f'rank_{rank:03d}_{result.tag}')
      before = self._prediction_names(result.tag, len(result.passes))
      after = self._prediction_names(tags[-1], len(result.passes))
      self._note(after)
      for old, new in zip(before, after, strict=True):
        with contextlib.suppress(FileNotFoundError):  # a format that cannot hold this prediction
          os.replace(self.out / old, self.out / new)
          names.append(new)
    names += self._job_files(order, tags, batch)
    if self.options.zip:
      names = [self._zip(names)]
    self._remove_all_but(names)
    record = {
      'job': self.job.name,
      'name': self.job.query.name,
      'source': self.job.query.source,
      'num_res': self.job.num_res,
      'num_rows': len(batch.msa.tokens),
      'version': __version__,
      'finished': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
      **facts,
      'key': key,
      'predictions': [_row(rank, result) for rank, result in enumerate(order, 1)],
      'files': sorted(names),
    }
    if key is not None:
      atomic.write_text(self.done_path, json.dumps(record, indent=1) + '\n')
    for result in order if key is not None else ():
      result.drop_extras()
    return record

  def _job_files(self, order: Sequence[Result], tags: Sequence[str], batch: Any) -> list[str]:
    """Writes alignment, PAE and plots; returns the files' names."""
    skip, job, names = self.options.skip_output, self.job.name, []
    copy = self.out / f'{job}.a3m'
    if 'msa' not in skip and not self._is_the_input(copy):
      names.append(copy.name)
      self._note(names)
      atomic.write_text(copy, alignment_text(self.job, batch))
    has_pae = order[0].ptm is not None
    formats = ['pae'] if has_pae and 'pae_json' not in skip else []
    if 'plots' not in skip:
      formats += ['coverage_plot', 'plddt_plot', *(['pae_plot'] if has_pae else [])]
    self._note(files.file_name(one, job) for one in formats)
    origin = files.Origin(model_name=order[0].model_name, notes=order[0].notes)
    report = files.Report(job, [order[0].load(extras=False)], tags[:1], origin, msa_tokens=np.asarray(batch.msa.tokens))
    for one in formats:
      whole = one in ('plddt_plot', 'pae_plot')
      part = dataclasses.replace(report, predictions=order, tags=tags) if whole else report
      written = files.write(part, self.out, [one])
      self._tell_skipped(written)
      names += [path.name for path in written.paths]
    return names

  def _is_the_input(self, path: Path) -> bool:
    """Whether a file is the job's own alignment, which must not be overwritten, let alone removed."""
    given = self.job.alignment_path
    return given is not None and path.exists() and path.samefile(given)

  def _zip(self, names: Iterable[str]) -> str:
    """Packs the job's files into one; the files themselves are removed afterwards."""
    archive = f'{self.job.name}.result.zip'
    self._note([archive])
    with atomic.replacing(self.out / archive) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as packed:
      for name in names:
        packed.write(self.out / name, name)
    return archive

  def write_features(self, batch: Any) -> dict[str, Any]:
    """Writes the features, for `--msa-only`; returns a record of it."""
    from alphafold_jax.data import features

    name = f'{self.job.name}.features.npz'
    query = self.job.query
    metadata = {'name': query.name, 'sequence': query.sequence, 'source': query.source, 'version': __version__}
    features.save_features(self.out / name, batch, metadata)
    return {
      'job': self.job.name,
      'num_res': self.job.num_res,
      'num_rows': len(batch.msa.tokens),
      'predictions': [],
      'files': [name],
    }

  # ---------------------------------------------------------------------------------------- what was done before

  @property
  def done_path(self) -> Path:
    return self.out / f'{self.job.name}.done.txt'

  def done(self, key: str, there: set[str] | None = None) -> dict[str, Any] | None:
    """The record of the finished job, if it is of this content and all its files are there.

    Args:
      key: of the job's content.
      there: names of the files in the output folder, if they are known.
    """
    if there is not None and self.done_path.name not in there:
      return None
    try:
      record = json.loads(self.done_path.read_text(encoding='utf-8'))
      there = {name for name in record['files'] if (self.out / name).exists()} if there is None else there
      return record if record['key'] == key and set(record['files']) <= there else None
    except (OSError, ValueError, KeyError, TypeError):  # of another program, or damaged
      return None

  def start_anew(self, input_key: str) -> None:
    """Says that the job is no longer done, before anything of it changes; files of another protein go at once."""
    self.done_path.unlink(missing_ok=True)
    if self._journal.input_key != input_key:
      self._remove_all_but([])
      self._journal.keep([], input_key)

  def discard(self, tag: str, num_passes: int) -> None:
    """Removes what was written of a prediction that then failed."""
    for name in self._prediction_names(tag, num_passes):
      (self.out / name).unlink(missing_ok=True)

  def _note(self, names: Iterable[str]) -> None:
    self._journal.add(names)

  def _remove_all_but(self, names: Iterable[str]) -> None:
    """Removes the files that earlier runs, or this one before ranking, wrote for the job."""
    for name in self._journal.names - set(names):
      (self.out / name).unlink(missing_ok=True)
    self._journal.keep(names, self._journal.input_key)


class Journal:
  """The names of all files written for a job, and the key of the input they were made from."""

  def __init__(self, path: Path):
    self._path = path
    self._content: tuple[str | None, set[str]] | None = None

  @property
  def names(self) -> set[str]:
    return set(self._read()[1])

  @property
  def input_key(self) -> str | None:
    return self._read()[0]

  def add(self, names: Iterable[str]) -> None:
    """Puts names on record, before the files are written."""
    key, known = self._read()
    if not known.issuperset(names := list(names)):
      self.keep(known.union(names), key)

  def keep(self, names: Iterable[str], input_key: str | None) -> None:
    """Replaces what is on record."""
    self._content = input_key, set(names)
    atomic.make_folder(self._path.parent)
    atomic.write_text(self._path, json.dumps({'input': input_key, 'files': sorted(self._content[1])}, indent=1) + '\n')

  def _read(self) -> tuple[str | None, set[str]]:
    if self._content is None:
      try:
        content = json.loads(self._path.read_text(encoding='utf-8'))
        names = {name for name in content['files'] if os.path.basename(name) == name}
        self._content = content['input'], names
      except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: then nothing is ours to remove
        self._content = None, set()
    return self._content


def alignment_text(job: Job, batch: Any) -> str:
  """The job's alignment as A3M: the file itself, or one made from the features, with insertions as 'x'."""
  if job.features is None and job.alignment_path is not None:
    return read_a3m(job.alignment_path)
  if job.features is None and job.query.alignment is None:
    return f'>{_one_line(job.query.name)}\n{job.query.sequence}\n'
  names = getattr(job.query.alignment, 'names', None) or [job.query.name]
  lines = []
  for row, (tokens, deletions) in enumerate(zip(np.asarray(batch.msa.tokens), np.asarray(batch.msa.deletions))):
    pairs = zip(tokens.tolist(), deletions.astype(int).tolist())
    letters = ''.join('x' * count + residues.MSA_ALPHABET[token] for token, count in pairs)
    name = _one_line(names[row]) if row < len(names) else f'row_{row}'
    lines += [f'>{name}', letters if row else job.query.sequence]
  return '\n'.join(lines) + '\n'


def _one_line(name: str) -> str:
  return ' '.join(name.split())


def _row(rank: int, result: Result) -> dict[str, Any]:
  ptm = None if result.ptm is None else round(result.ptm, 4)
  return {
    'rank': rank,
    'tag': result.tag,
    'model': result.model_name,
    'seed': result.seed,
    'mean_plddt': round(result.mean_plddt, 2),
    'ptm': ptm,
    'passes': len(result.passes),
    'seconds': round(result.seconds, 2),
  }


def _at_pass(prediction: Any, index: int) -> Any:
  """The prediction with positions and pLDDT as they were after a pass."""
  changed = type(prediction)(**vars(prediction))
  changed.atom_positions, changed.plddt = prediction.pass_positions[index], prediction.pass_plddt[index]
  return changed


def _everything(prediction: Any) -> dict[str, np.ndarray]:
  """All arrays and numbers of a prediction."""
  names = ('aatype', 'residue_index', 'asym_id', 'atom_positions', 'atom_mask', 'plddt', 'pae', 'contact_probability')
  arrays = {name: getattr(prediction, name) for name in names}
  kept = prediction.representations
  arrays |= {'single': kept.single, 'pair': kept.pair} if kept is not None else {}
  arrays |= {'mean_plddt': np.float32(prediction.mean_plddt), 'notes': np.array(prediction.notes, dtype=str)}
  if prediction.ptm is not None:
    arrays['ptm'] = np.float32(prediction.ptm)
  return {name: value for name, value in arrays.items() if value is not None}
