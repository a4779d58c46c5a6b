# SPDX-License-Identifier: Apache-2.0
"""Which files a job leaves, under `colabfold_batch`'s names; each is written whole or not at all.

To add a format: render it in `output/<format>.py` and add a row to FORMATS at the foot.
"""

import dataclasses
import datetime
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax import atomic, config, errors
from alphafold_jax.output import mmcif, pdb, plots, scores
from alphafold_jax.output.predicted import Predicted
from alphafold_jax.version import __version__


@dataclasses.dataclass(frozen=True)
class Origin:
  """What the files say of where a prediction came from."""

  model_name: str = ''  # such as 'model_1_ptm'
  version: str = __version__  # of this program
  notes: tuple[str, ...] = ()  # such as 'RANDOM WEIGHTS: NOT A PREDICTION'; told by every format
  date: datetime.date | None = None


@dataclasses.dataclass(frozen=True)
class Report:
  """One or more predictions for one job, best first, and what belongs to them."""

  job: str
  predictions: Sequence[Predicted]
  tags: Sequence[str]  # one for each prediction
  origin: Origin = Origin()
  msa_tokens: np.ndarray | None = None  # [N_seq, N_res] row 0 the query
  chain_lengths: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Written:
  paths: list[Path]
  skipped: dict[str, str]  # file name -> why this prediction has no such file


@dataclasses.dataclass(frozen=True)
class Format:
  pattern: str  # of the file name; with {tag} there is one file for each prediction, else one for the job
  render: Callable[[Report], str | bytes | memoryview]  # InputError: this prediction cannot be had in this format


def tag(model_name: str, seed: int, rank: int | None = None) -> str:
  """The part of a name that tells predictions apart: rank_001_alphafold2_ptm_model_3_seed_000; no rank before ranking.

  The structure after recycle k has `.r{k}` appended.
  """
  ranked = '' if rank is None else f'rank_{rank:03d}_'
  return f'{ranked}{config.model_type(model_name)}_model_{config.model_number(model_name)}_seed_{seed:03d}'


def file_name(format_name: str, job: str, tag: str = '') -> str:
  """The name of one file; raises InputError where a job's name is not one of a file."""
  name = FORMATS[format_name].pattern.format(job=job, tag=tag)
  if os.path.basename(name) != name or '\0' in name or not job:
    raise errors.InputError(f'job name {job!r} cannot be part of a file name; leave out "/" and NUL')
  return name


def write(report: Report, folder: str | os.PathLike, formats: Iterable[str]) -> Written:
  """Renders and writes the report in each format; a format that cannot hold it is skipped, with the reason.

  Raises:
    InputError: unknown format, a job name that is none of a file, or a folder that cannot be written.
    NumericalError: the prediction holds NaN or infinity; nothing of that format is written.
    ResourceError: the disk is full.
  """
  folder, written = Path(folder), Written([], {})
  _make_folder(folder)
  for format_name in formats:
    if format_name not in FORMATS:
      raise errors.InputError(f'output format {format_name!r}: unknown; choose from {", ".join(FORMATS)}')
    row = FORMATS[format_name]
    for part in _parts(report, per_prediction='{tag}' in row.pattern):
      name = file_name(format_name, report.job, *part.tags[:1])
      try:
        content = row.render(part)
      except errors.InputError as error:
        written.skipped[name] = str(error)
        continue
      with atomic.replacing(folder / name) as file:
        file.write(content.encode() if isinstance(content, str) else content)
      written.paths.append(folder / name)
  return written


def _make_folder(folder: Path) -> None:
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise errors.InputError(
      f'{folder}: cannot be made ({error.strerror}); choose a folder that you may write to'
    ) from error


def _parts(report: Report, per_prediction: bool) -> list[Report]:
  """The report split into its predictions, or whole."""
  if not per_prediction:
    return [report]
  return [
    dataclasses.replace(report, predictions=[prediction], tags=[tag])
    for prediction, tag in zip(report.predictions, report.tags, strict=True)
  ]


# ------------------------------------------------------------------------------------------ the formats


def _pdb(report):
  return pdb.to_pdb(report.predictions[0], report.origin.notes)


def _mmcif(report):
  origin = report.origin
  return mmcif.to_mmcif(
    report.predictions[0],
    report.job,
    model_name=origin.model_name,
    version=origin.version,
    notes=origin.notes,
    date=origin.date,
  )


def _scores(report):
  return scores.scores_json(report.predictions[0], report.origin.notes)


def _pae(report):
  return scores.pae_json(report.predictions[0], report.origin.notes)


def _pae_afdb(report):
  return scores.pae_json_afdb(report.predictions[0], report.origin.notes)


def _coverage_plot(report):
  if report.msa_tokens is None:
    raise errors.InputError('no alignment was kept to draw')
  return plots.png(plots.coverage(report.msa_tokens, _titled(report), report.chain_lengths))


def _plddt_plot(report):
  return plots.png(plots.plddt(report.predictions, report.tags, _titled(report)))


def _pae_plot(report):
  return plots.png(plots.pae(report.predictions, report.tags, _titled(report)))


def _titled(report):
  return '\n'.join([*report.origin.notes, report.job])


def _representation(name):
  def render(report):
    values = getattr(getattr(report.predictions[0], 'representations', None), name, None)
    if values is None:
      raise errors.InputError(f'the {name} representation was not kept; ask for representations when predicting')
    if not np.isfinite(values).all():
      raise errors.NumericalError(f'the {name} representation holds NaN or infinity: not written; run in float32')
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=False)
    return buffer.getbuffer()

  return render


FORMATS = {
  'pdb': Format('{job}_unrelaxed_{tag}.pdb', _pdb),
  'mmcif': Format('{job}_unrelaxed_{tag}.cif', _mmcif),
  'scores': Format('{job}_scores_{tag}.json', _scores),
  'single': Format('{job}_single_repr_{tag}.npy', _representation('single')),
  'pair': Format('{job}_pair_repr_{tag}.npy', _representation('pair')),
  'pae': Format('{job}_predicted_aligned_error_v1.json', _pae),  # of the best prediction, as the following
  'pae_afdb': Format('{job}_predicted_aligned_error_afdb.json', _pae_afdb),
  'coverage_plot': Format('{job}_coverage.png', _coverage_plot),
  'plddt_plot': Format('{job}_plddt.png', _plddt_plot),
  'pae_plot': Format('{job}_pae.png', _pae_plot),
}
