# SPDX-License-Identifier: Apache-2.0
"""Which files a protein leaves, under `colabfold_batch`'s names; each is written whole or not at all.

To add a format: render it in `output/<format>.py` and add a row to FORMATS at the foot.
"""

import dataclasses
import functools
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from alphafold_jax import atomic, errors
from alphafold_jax.arguments import check_kind, check_names
from alphafold_jax.choices import AFDB_NAMES, COLABFOLD_NAMES, PLOT_FORMATS, PNG, SKIPPABLE
from alphafold_jax.output import compact, mmcif, page, painter, pdb, plots, scores, viewers
from alphafold_jax.output.painter import Picture
from alphafold_jax.output.record import OF_CHAINS, PASS_ARRAYS, REPRESENTATIONS, PredictionRecord, Report

_log = logging.getLogger(__name__)
PASS, PREDICTION, PROTEIN, PAGE, ARCHIVE = 'pass', 'prediction', 'protein', 'page', 'archive'
Content = str | bytes | Callable[[IO[bytes]], Any] | Picture  # third: what writes it to an open file
_SMALL = 8 << 20  # bytes of arrays that may be sent to another process


class Prediction(PredictionRecord):
  """One protein as one model and seed predict it, which can be saved.

  The renderers of formats see the record only; what knows all formats stands here, beside their table.
  """

  def save(
    self, directory: str | Path, job: str | None = None, formats: Sequence[str] = ('pdb', 'mmcif', 'scores')
  ) -> list[Path]:
    """Writes the prediction into a folder, under `colabfold_batch`'s names.

    Args:
      directory: made if missing.
      job: first part of the file names; by default made from the protein's name.
      formats: rows of FORMATS; why one is left out is logged.

    Returns:
      the files written.

    Raises:
      InputError: nothing could be written in these formats; or as `write` does.
      NumericalError, ResourceError: as `write` does.
    """
    check_kind('directory', directory, (str, os.PathLike), 'must be the name of a folder')
    check_kind('job', job, (str, type(None)), 'must be text: the first part of the file names')
    written = write(Report(job or self.job, [self], [self.tag]), directory, formats)
    if written.skipped and not written.paths:
      raise errors.InputError('; '.join(f'{name} is not written: {why}' for name, why in written.skipped.items()))
    for name, why in written.skipped.items():
      _log.warning('%s is not written: %s', name, why)
    return written.paths


def always(options: Any) -> bool:
  """Wanted whatever the options are."""
  return True


def on_request(options: Any) -> bool:
  """Wanted by no run: written only where `Prediction.save` is given its name."""
  return False


def where(option: str) -> Callable[[Any], bool]:
  """Wanted where this option of `runs.Options` is set."""
  return lambda options: getattr(options, option)


def unless_skipped(word: str) -> Callable[[Any], bool]:
  """Wanted unless `--skip-output` holds this word."""
  assert word in SKIPPABLE
  return lambda options: word not in options.skip_output


def named(naming: str) -> Callable[[Any], bool]:
  """Wanted where files are named so, by choices.NAMINGS."""
  return lambda options: options.naming == naming


def both(*rules: Callable[[Any], bool]) -> Callable[[Any], bool]:
  """Wanted where all of these rules want it."""
  return lambda options: all(rule(options) for rule in rules)


@dataclasses.dataclass(frozen=True)
class Format:
  """A kind of file.

  `scope` is what there is one file of: each PASS or PREDICTION, the whole PROTEIN; a PAGE, which names those before it,
  or an ARCHIVE, which takes the place of all others.
  """

  pattern: str  # of the file name, with {job}, of a prediction {tag}, of a pass {index}
  render: Callable[[Report], Content]  # InputError: these predictions cannot be had in this format
  scope: str = PREDICTION
  needs: tuple[str, ...] = ()  # arrays beyond those of every prediction; without them a run leaves the file out
  wanted: Callable[[Any], bool] = always  # by the options of a run
  of_best: str | None = None  # the row of PREDICTION whose file of the best one this is, under another name


@dataclasses.dataclass(frozen=True)
class Written:
  """The files that were written, and those that were not."""

  paths: list[Path]
  skipped: dict[str, str]  # file name -> why this prediction has no such file


def wanted(options: Any) -> list[str]:
  """The names of the formats that the options of a run want."""
  return [name for name, row in FORMATS.items() if row.wanted(options)]


def renamed(options: Any) -> list[str]:
  """The formats whose files of the best prediction have other names, which rows of their own give them."""
  return [row.of_best for name in wanted(options) if (row := FORMATS[name]).of_best is not None]


def needed(options: Any) -> list[str]:
  """The names of the arrays that these formats need beyond those of every prediction."""
  return list(dict.fromkeys(need for name in wanted(options) for need in FORMATS[name].needs))


def file_name(format_name: str, job: str, tag: str = '', index: int = 0) -> str:
  """The name of one file; raises InputError where a job's name is not one of a file."""
  name = FORMATS[format_name].pattern.format(job=job, tag=tag, index=index)
  if os.path.basename(name) != name or '\0' in name or not job:
    raise errors.InputError(f'job name {job!r} cannot be part of a file name; leave out "/" and NUL')
  return name


def write(
  report: Report,
  folder: Path | str,
  formats: Iterable[str],
  begin: Callable[[Picture], Callable[[], bytes]] = painter.here,
) -> Written:
  """Renders and writes the report in each format; a format that cannot hold it is skipped, with the reason.

  Args:
    report: what to write.
    folder: made if missing.
    formats: rows of FORMATS.
    begin: begins with a picture, perhaps in another process, and returns what waits for it.

  Raises:
    InputError: unknown format, a job name that is none of a file, or a folder that cannot be written.
    NumericalError: the prediction holds NaN or infinity; nothing of that format is written.
    ResourceError: the disk is full.
  """
  formats = formats if isinstance(formats, str) or not isinstance(formats, Iterable) else list(formats)  # read twice
  check_names('formats', formats, FORMATS, "['pdb', 'mmcif']")
  folder, written, begun = atomic.make_folder(folder), Written([], {}), {}
  for format_name in formats:
    for name, part in _parts(format_name, report):
      try:
        content = FORMATS[format_name].render(part)
      except errors.InputError as error:
        written.skipped[name] = str(error)
        continue
      if isinstance(content, Picture):
        begun[folder / name] = begin(content)  # and written last
      else:
        _put(folder / name, content)
      written.paths.append(folder / name)
  for path, wait in begun.items():
    _put(path, wait())
  return written


def _put(path: Path, content: str | bytes | Callable[[IO[bytes]], Any]) -> None:
  with atomic.replacing(path) as file:
    content(file) if callable(content) else file.write(
      content.encode(**atomic.TEXT) if isinstance(content, str) else content
    )


def _parts(format_name: str, report: Report) -> Iterator[tuple[str, Report]]:
  """The files of a format, each with its part of the report: a pass, a prediction, or all of it."""
  scope = FORMATS[format_name].scope
  if scope in (PROTEIN, PAGE, ARCHIVE):
    yield file_name(format_name, report.job), report
    return
  for prediction, tag in zip(report.predictions, report.tags, strict=True):
    for one in _passes(prediction) if scope == PASS else [prediction]:
      name = file_name(format_name, report.job, tag, len(one.passes) - 1)
      yield name, dataclasses.replace(report, predictions=[one], tags=[tag])


def _passes(prediction: PredictionRecord) -> Iterator[PredictionRecord]:
  """The prediction after each of its passes, if their structures were kept, else after the last alone."""
  if set(PASS_ARRAYS) <= set(prediction.arrays):
    yield from (prediction.after_pass(index) for index in range(len(prediction.passes)))
  else:
    yield prediction


# ------------------------------------------------------------------------------------------ the formats


def structures(report: Report) -> list[str]:
  """The names of the structures of a report, best first, as they are in its folder."""
  names = [file_name('mmcif', report.job, tag) for tag in report.tags]
  return [file_name('afdb_mmcif', report.job), *names[1:]] if report.naming == AFDB_NAMES else names


def _coverage_plot(report: Report) -> Picture:
  if report.msa_tokens is None:
    raise errors.InputError('no alignment was kept to draw')
  best = report.best if report.predictions else None
  lengths, names = (plots.chain_lengths(best), plots.several_chains(best)) if best else ((), ())
  tokens = np.asarray(report.msa_tokens).astype(np.uint8)
  return Picture(functools.partial(plots.coverage, tokens, report.title, lengths, names), tokens.nbytes < _SMALL)


def _plddt_plot(report: Report) -> Picture:
  return _picture(plots.plddt, report, 'plddt', 'asym_id')


def _pae_plot(report: Report) -> Picture:
  plots.with_pae(report.predictions, report.tags)
  return _panels(_picture(plots.pae, report, 'pae', 'aatype', 'asym_id'), report)


def _interfaces_plot(report: Report) -> Picture:
  plots.with_interfaces(report.predictions, report.tags)
  return _panels(_picture(plots.interfaces, report, 'chain_tm', 'asym_id'), report)


def _picture(draw: Callable[..., Any], report: Report, *names: str) -> Picture:
  """A picture of these arrays; where they are small they are read, and nothing else is sent to another process."""
  num_bytes = 4 * len(report.predictions) * len(report.best.asym_id) ** 2
  predictions = report.predictions
  if is_small := num_bytes < _SMALL:
    predictions = [one.alone(names) for one in predictions]
  return Picture(functools.partial(draw, predictions, report.tags, report.title), is_small)


def _panels(picture: Picture, report: Report) -> Picture:
  """A picture of panels: each row of them may take as many bytes as a picture, so that all are legible."""
  return dataclasses.replace(picture, max_bytes=plots.MAX_BYTES * plots.num_rows(len(report.predictions)))


def _plots(name: str, stem: str, render: Callable[[Report], Picture], needs: tuple[str, ...] = ()) -> dict[str, Format]:
  """The rows of a picture, one for each kind of file; that of PNG has the picture's name alone."""

  def drawn(kind: str, report: Report) -> Picture:
    return dataclasses.replace(render(report), kind=kind)

  def wants(kind: str, options: Any) -> bool:
    return kind in options.plot_format and unless_skipped('plots')(options)

  return {
    name if kind == PNG else f'{name}_{kind}': Format(
      f'{stem}.{kind}', functools.partial(drawn, kind), PROTEIN, needs, functools.partial(wants, kind)
    )
    for kind in PLOT_FORMATS
  }


def _mmcif(report: Report) -> str:
  return mmcif.to_mmcif(report.best, report.job, provenance=report.provenance)


def _a3m(report: Report) -> str:
  if report.alignment is None:
    raise errors.InputError('no alignment was kept to write')
  return report.alignment()


def _zip(report: Report) -> Content:
  if not report.files:
    raise errors.InputError('there are no files to pack')

  def packed(file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
      for path in report.files:
        archive.write(path, path.name)

  return packed


_EVERYTHING = ('contact_probability', 'distogram', *REPRESENTATIONS)

FORMATS = {
  'pdb': Format('{job}_unrelaxed_{tag}.pdb', lambda report: pdb.to_pdb(report.best)),
  'mmcif': Format('{job}_unrelaxed_{tag}.cif', _mmcif),
  'scores': Format('{job}_scores_{tag}.json', lambda report: scores.scores_json(report.best, report.pae_cutoff)),
  'single': Format('{job}_single_repr_{tag}.npy', lambda report: scores.npy(report.best, 'single'),
                   needs=('single',), wanted=where('save_single_representations')),
  'pair': Format('{job}_pair_repr_{tag}.npy', lambda report: scores.npy(report.best, 'pair'),
                 needs=('pair',), wanted=where('save_pair_representations')),
  'recycles': Format('{job}_unrelaxed_{tag}.r{index}.pdb', lambda report: pdb.to_pdb(report.best), PASS,
                     needs=PASS_ARRAYS, wanted=where('save_recycles')),
  'all': Format('{job}_all_{tag}.npz', lambda report: scores.npz(report.best),
                needs=_EVERYTHING, wanted=where('save_all')),
  'a3m': Format('{job}.a3m', _a3m, PROTEIN, wanted=unless_skipped('msa')),
  'pae': Format('{job}_predicted_aligned_error_v1.json', lambda report: scores.pae_json(report.best), PROTEIN,
                needs=('pae',), wanted=both(named(COLABFOLD_NAMES), unless_skipped('pae_json'))),
  'pae_afdb': Format('{job}_predicted_aligned_error_afdb.json', lambda report: scores.pae_json_afdb(report.best),
                     PROTEIN, needs=('pae',), wanted=on_request),
  **_plots('coverage_plot', '{job}_coverage', _coverage_plot),
  **_plots('plddt_plot', '{job}_plddt', _plddt_plot),
  **_plots('pae_plot', '{job}_pae', _pae_plot, ('pae',)),
  **_plots('interfaces_plot', '{job}_ext_metrics', _interfaces_plot, OF_CHAINS),
  'chimerax': Format('{job}.cxc', lambda report: viewers.chimerax(report, structures(report)), PROTEIN,
                     wanted=unless_skipped('viewers')),
  'pymol': Format('{job}.pml', lambda report: viewers.pymol(report, structures(report)), PROTEIN,
                  wanted=unless_skipped('viewers')),
  'foldcomp': Format('{job}_unrelaxed_{tag}.fcz', lambda report: compact.to_foldcomp(report.best, report.job),
                     wanted=where('foldcomp')),
  # names of AlphaFold DB, of its version 4, whose forms these are
  'afdb_pdb': Format('AF-{job}-F1-model_v4.pdb', lambda report: pdb.to_pdb(report.best), PROTEIN,
                     wanted=named(AFDB_NAMES), of_best='pdb'),
  'afdb_mmcif': Format('AF-{job}-F1-model_v4.cif', _mmcif, PROTEIN, wanted=named(AFDB_NAMES), of_best='mmcif'),
  'afdb_confidence': Format('AF-{job}-F1-confidence_v4.json', lambda report: scores.confidence_json(report.best),
                            PROTEIN, wanted=named(AFDB_NAMES)),
  'afdb_pae': Format('AF-{job}-F1-predicted_aligned_error_v4.json',
                     lambda report: scores.pae_json_afdb(report.best, whole=True), PROTEIN, needs=('pae',),
                     wanted=both(named(AFDB_NAMES), unless_skipped('pae_json'))),
  'page': Format('{job}.html', page.render, PAGE, wanted=unless_skipped('report')),
  'zip': Format('{job}.result.zip', _zip, ARCHIVE, wanted=where('zip')),
}  # fmt: skip
