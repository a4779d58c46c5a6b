# SPDX-License-Identifier: Apache-2.0
"""Model by model: is its file right, and does this program reproduce with it what other programs recorded?"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import confidence, folders
from alphafold_jax import config as configs
from alphafold_jax.checking import comparing, files, replay, scores
from alphafold_jax.checking import recording as recordings
from alphafold_jax.checking.comparing import Difference
from alphafold_jax.checking.findings import Finding, Verdict
from alphafold_jax.checking.recording import Recording
from alphafold_jax.errors import WeightsError
from alphafold_jax.prediction import Model
from alphafold_jax.weights import official, published, store

PTM_MODELS = tuple(name for name in published.MODELS if name.endswith('_ptm'))
EXACT = 1e-4  # of the largest value: for what both programs compute in float32 from the same numbers
ROUNDING = 3.0  # times the distance between bfloat16 and float32: for what went through the trunk
WIDEST = 0.5  # of the largest value: tolerates no more, however far apart bfloat16 and float32 are
_OWN_OF_A_MODEL = ('distogram logits', 'PAE probabilities', 'masked MSA logits')  # one exact map from what was recorded
_EXACT = (*_OWN_OF_A_MODEL, 'PAE')
_GIVEN = ('first MSA row', 'pair representation')  # to what comes after the trunk
_BEYOND = 'no known output has extra alignment rows or templates, so the arrays for them are checked in the files only'
PathLike = str | os.PathLike[str]
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Checks:
  """What is checked, and against what; the defaults are what ships."""

  recordings: Sequence[Recording] = ()
  published_scores: scores.Published | None = scores.PUBLISHED
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the models' configurations, dotted keys
  say: Say = lambda text: None  # is told what is being done

  def run(self, directory: PathLike | None = None) -> Iterator[Finding]:
    """Checks every model with a parameter file in a folder, and gives each finding as it is made.

    Args:
      directory: where the files are; the default folder if None.

    Raises:
      WeightsError: there are no files of models that this program knows.
    """
    models = _installed(directory)
    yield from (self._recorded_scores(recording) for recording in self.recordings)
    yield Finding('all', 'extra, templates', Verdict.UNCHECKED, _BEYOND)
    nearness: dict[str, dict[str, list[Difference]]] = {recording.name: {} for recording in self.recordings}
    usable = []
    for name in models:
      self.say(f'{name}: reading the file')
      found, model = self._file(name, directory)
      yield found
      if model is not None:
        usable.append(name)
        yield from self._outputs(model, nearness)
      elif name in published.MODELS:
        yield Finding(name, 'outputs', Verdict.UNCHECKED, 'its file is not right')
    yield from (_decided(name, differences, usable) for name, differences in nearness.items())

  def _file(self, name: str, directory: PathLike | None) -> tuple[Finding, Model | None]:
    if name not in published.MODELS:
      return Finding(name, 'file', Verdict.UNCHECKED, 'not a published model that this program knows'), None
    try:
      path = store.find_params(name, directory)
    except WeightsError:
      return Finding(
        name, 'file', Verdict.WRONG, 'no such file: it is gone, a folder, or a link that leads nowhere'
      ), None
    config = configs.changed(configs.model_config(name), self.changes)
    found, arrays = files.check_file(name, path, config)
    if arrays is None:
      return found, None
    params = jax.tree.map(jnp.asarray, official.from_official(arrays, config))
    return found, Model(name=name, config=config, params=params, source=str(path))

  def _outputs(self, model: Model, nearness: dict[str, dict[str, list[Difference]]]) -> Iterator[Finding]:
    """What there is to compare the outputs of one model with; notes how near it comes to each recording."""
    known = False
    for recording in self.recordings if model.name in PTM_MODELS else ():
      self.say(f'{model.name}: heads and structure module on what was recorded of {recording.name}')
      nearness[recording.name][model.name] = differences = compare_after_trunk(model, recording)
      if is_maker(differences):
        known = True
        yield _finding(model.name, f'{recording.name}, heads', differences, 'from the recorded representations')
        yield self._passes(model, recording)
    if self.published_scores is not None and model.name == self.published_scores.model:
      known = True
      num_res = len(self.published_scores.sequence)
      self.say(f'{model.name}: predicting {num_res} residues from their sequence; on CPUs this takes minutes')
      yield scores.check_scores(model, self.published_scores)
    if not known:
      yield Finding(model.name, 'outputs', Verdict.UNCHECKED, 'no output of this model is known')

  def _passes(self, model: Model, recording: Recording) -> Finding:
    start = time.monotonic()
    self.say(f'{model.name}: all {recording.num_pass} passes of {recording.name}, twice; on CPUs this takes minutes')
    differences = compare_passes(model, recording)
    self.say(f'{model.name}: done in {time.monotonic() - start:.0f} s')
    return _finding(model.name, f'{recording.name}, {recording.num_pass} passes', differences, 'the last in bfloat16')

  def _recorded_scores(self, recording: Recording) -> Finding:
    return _finding(recording.name, 'scores', compare_scores(recording), 'pLDDT and PAE from the recorded logits')


def _installed(directory: PathLike | None) -> list[str]:
  """The models of which a folder has a file, or something of its name, or the record of one."""
  place = folders.expanded(directory or store.default_directory())
  named = {path.name for folder in (place, place / 'params') for path in folder.glob('params_*.npz')}
  rows = [row for row in store.list_params(directory) if row.file in named or row.sha256 is not None]
  if not any(row.model in published.MODELS for row in rows):
    store.find_params(published.MODELS[0], directory)  # which says what to run
  return [row.model for row in rows]


def shipped(say: Say) -> Checks:
  """All checks that ship with the program."""
  return Checks(recordings=recordings.shipped(), say=say)


# ------------------------------------------------------------------------------------------ three comparisons


def compare_scores(recording: Recording) -> list[Difference]:
  """Our pLDDT and PAE of the recorded logits beside those recorded; no parameters are needed."""
  recorded = comparing.of_recording(recording)
  pae_logits = np.log(np.maximum(recorded['PAE probabilities'], np.finfo(np.float32).tiny))
  ours = {
    'pLDDT': np.asarray(confidence.plddt(recorded['pLDDT logits'])),
    'PAE': np.asarray(confidence.pae(pae_logits)),
  }
  return comparing.compare(ours, recorded, _exactly(recorded, tuple(ours)))


def compare_after_trunk(model: Model, recording: Recording) -> list[Difference]:
  """The heads and the structure module on the recorded representations, beside what was recorded.

  All is in float32 on both sides but for the single representation, which the recording program rounds to bfloat16:
  what is made of it may differ by three times what that rounding changes.
  """
  recorded = comparing.of_recording(recording)
  recorded['masked MSA logits'] = recorded['masked MSA logits'][:1]
  rounded, exact = (replay.after_trunk(model, recording, dtype) for dtype in ('bfloat16', 'float32'))
  tolerances = _by_rounding(rounded, exact, recorded) | _exactly(recorded, _EXACT)
  tolerances = {name: tolerance for name, tolerance in tolerances.items() if name not in _GIVEN}
  return comparing.compare(rounded, recorded, tolerances)


def compare_passes(model: Model, recording: Recording) -> list[Difference]:
  """The last of all passes in bfloat16 beside what was recorded.

  Tolerated is three times the distance between our passes in bfloat16 and in float32, with these parameters.
  """
  recorded = comparing.of_recording(recording)
  rounded, exact = (replay.passes(model, recording, dtype) for dtype in ('bfloat16', 'float32'))
  return comparing.compare(rounded, recorded, _by_rounding(rounded, exact, recorded))


def _exactly(recorded: comparing.Arrays, names: Sequence[str]) -> dict[str, float]:
  return {name: EXACT * comparing.largest_value(recorded[name]) for name in names}


def _by_rounding(rounded: comparing.Arrays, exact: comparing.Arrays, recorded: comparing.Arrays) -> dict[str, float]:
  tolerances = {}
  for name, distance in comparing.largest(rounded, exact).items():
    scale = comparing.largest_value(recorded[name])
    tolerances[name] = min(max(ROUNDING * distance, EXACT * scale), WIDEST * scale)
  return tolerances


# ------------------------------------------------------------------------------------------ what they mean


def is_maker(differences: Sequence[Difference]) -> bool:
  """Whether a recording is of this model: some output that is one exact map of what was recorded agrees."""
  return any(one.holds for one in differences if one.array in _OWN_OF_A_MODEL)


def _finding(subject: str, check: str, differences: Sequence[Difference], how: str) -> Finding:
  wrong = [one for one in differences if not one.holds]
  worst = max(differences, key=lambda one: one.share)
  if wrong:
    said = f'{len(wrong)} of {len(differences)} arrays, {how}'
    return Finding(subject, check, Verdict.WRONG, said, tuple(one.line for one in wrong))
  widest = max((one.tolerance / one.scale for one in differences if one.scale), default=0.0)
  said = (
    f'{len(differences)} arrays, {how}; the worst, {worst.array}, at {worst.share:.0%} of its tolerance; '
    f'tolerances up to {widest:.2g} of the largest value'
  )
  return Finding(subject, check, Verdict.HOLDS, said)


def _decided(name: str, found: Mapping[str, Sequence[Difference]], usable: Sequence[str]) -> Finding:
  """Which of the models made a recording: exactly one must have."""
  makers = [model for model, differences in found.items() if is_maker(differences)]
  missing = [model for model in PTM_MODELS if model not in usable]
  if len(makers) == 1:
    return Finding(name, 'made by one model', Verdict.HOLDS, f'made by {makers[0]}, by none else of {len(found)}')
  if makers:
    return Finding(name, 'made by one model', Verdict.WRONG, f'fits several: {", ".join(makers)}; are files copies?')
  if missing:
    others = f'; {", ".join(found)} did not' if found else ''
    said = f'not decided: {", ".join(missing)} may have made it, and cannot be run here{others}'
    return Finding(name, 'made by one model', Verdict.UNCHECKED, said)
  nearest = min(found, key=lambda model: min(one.share for one in found[model]))
  lines = tuple(one.line for one in found[nearest] if not one.holds)
  return Finding(name, 'made by one model', Verdict.WRONG, f'made by none of the five; the nearest is {nearest}', lines)
