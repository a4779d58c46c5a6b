# SPDX-License-Identifier: Apache-2.0
"""Digests of content: two predictions are the same only if everything that shapes them is, whatever they are called."""

import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import folders
from alphafold_jax.choices import NATURAL, PNG
from alphafold_jax.config import as_kept, model_type
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.complexes import ComplexAlignment
from alphafold_jax.data.records import read_bytes
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.output import files
from alphafold_jax.runs.options import Options, search_flags
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.version import __version__

_FORMAT = 1  # raise it when results of the same content would come out otherwise


def of_json(value: Any) -> str:
  """SHA-256 of a value's canonical JSON."""
  return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(',', ':')).encode()).hexdigest()


def of_input(job: Job, hits: str | None = None) -> str:
  """SHA-256 of a protein's sequence and alignment: the bytes of a file, tokens and deletions of one in memory.

  Of a complex also of where its chains end; what they are called does not count.

  Args:
    job: the protein.
    hits: digest of its own template hits, if it has any.

  Raises:
    InputError: its file cannot be read.
  """
  digest = job.digest()
  if digest is None and (alignments := _alignments(job.query.alignment)):
    state = hashlib.sha256()
    for array in (array for alignment in alignments for array in (alignment.tokens, alignment.deletions)):
      state.update(np.ascontiguousarray(array, np.int32).tobytes())
      state.update(repr(array.shape).encode())
    digest = state.hexdigest()
  query = job.query
  chains = [list(query.lengths)] if job.is_complex else []
  return of_json([query.sequence, digest, *([hits] if hits else []), *chains])


def _alignments(held: Any) -> tuple[Alignment, ...]:
  """The alignments of a query that are in memory."""
  if isinstance(held, ComplexAlignment):
    return (*held.unpaired, *held.paired)
  return (held,) if isinstance(held, Alignment) else ()


def of_files(files: Sequence[Path]) -> str:
  """SHA-256 of the content of files, names aside."""
  return of_json([hashlib.sha256(read_bytes(file)).hexdigest() for file in files])


_FILE_OPTIONS = (
  'rank', 'stop_at_score', 'save_all', 'save_recycles', 'save_single_representations', 'save_pair_representations',
  'skip_output', 'zip',
)  # fmt: skip
_OF_COMPLEXES = ('interfaces_plot',)  # formats that a run of single chains has not, so that its keys are as they were
_FORMATS = (  # that these options stand for; later ones are in the key by their names, where they are wanted
  'pdb', 'mmcif', 'scores', 'single', 'pair', 'recycles', 'all', 'a3m', 'pae', 'pae_afdb', 'coverage_plot',
  'plddt_plot', 'pae_plot', 'zip',
)  # fmt: skip


class Keys:
  """The keys of a run's predictions and jobs."""

  def __init__(self, options: Options, params: Mapping[str, str], templates: str | None):
    """Makes the part that is the same for all proteins; from the SHA-256 of parameters, by model, and of templates."""
    self._options, self._params, self._templates = options, params, templates
    self._seeds = options.seeds
    guess = options.initial_guess
    self._guess = {} if guess is None else {'initial_guess': of_files([folders.expanded(guess)])}
    self._others: dict[str, str | None] = {}  # keys of models that this run does not run
    self._of_complexes: Keys | None = None
    # auto is plddt of one chain; of complexes the record says what ranks them
    plain = options.as_json() | {'rank': 'plddt' if options.rank == 'auto' else options.rank}
    wanted = [name for name in files.wanted(options) if name not in _OF_COMPLEXES]
    later: dict[str, Any] = {
      'formats': [name for name in wanted if name not in _FORMATS],
      'ipsae_cutoff': options.ipsae_cutoff,
    }
    later |= {'plot_format': [] if plain['plot_format'] == [PNG] else plain['plot_format']}
    later |= {'origin': None if options.origin == NATURAL else options.origin}
    later = {name: value for name, value in later.items() if value not in (None, [])}
    self._files = of_json({name: plain[name] for name in _FILE_OPTIONS} | later)
    said = [options.ipsae_cutoff, later.get('origin')]
    said = [value for value in said if value is not None]
    self.formats = of_json([wanted, plain['rank'], *said])  # which files there are of predictions

  @functools.cached_property
  def _models(self) -> dict[str, str]:
    """The keys of the models; made when they are asked for, since of complexes they may be others."""
    return {name: self._model_key(name) for name in self._options.models}

  def of(self, is_complex: bool) -> 'Keys':
    """The keys of proteins of one chain, or of several, which may be predicted by other models."""
    options = self._options.of(is_complex)
    if options is self._options:
      return self
    if self._of_complexes is None:
      self._of_complexes = Keys(options, self._params, self._templates)
    return self._of_complexes

  def _model_key(self, name: str) -> str:
    config = as_kept(self._options.model_config(name))
    return of_json(
      {
        'format': _FORMAT,
        'version': '.'.join(__version__.split('.')[:2]),
        'config': config,
        'params': self._params[name],
        'templates': self._templates if config['templates'] is not None else None,
        **self._guess,
      }
    )

  def prediction(self, input_key: str, model: str, seed: int) -> str:
    """The digest of what makes a prediction: input, templates where the model takes any, settings, parameters, seed."""
    return of_json([input_key, self._models[model], seed])

  def kin(self, input_key: str, model: str, seed: int) -> str | None:
    """The same of any model of the run's family, also one that is not run; None if its parameters are not there."""
    if model in self._models:
      return self.prediction(input_key, model, seed)
    if model not in self._others:
      try:
        same = model_type(model) == self._options.family
        self._others[model] = self._model_key(model) if same else None
      except (AlphaFoldError, KeyError, ValueError):
        self._others[model] = None
    key = self._others[model]
    return None if key is None else of_json([input_key, key, seed])

  def job(self, input_key: str) -> str:
    """The digest of all that makes the files of a protein: its predictions, and which files are wanted."""
    return of_json([input_key, list(self._models.values()), [self._seeds.start, self._seeds.stop], self._files])


def of_run(
  options: Options, params: Mapping[str, str] | None, templates: str | None, kinds: Collection[bool] = (False,)
) -> str:
  """The digest of all that shapes what a run writes, whatever its proteins; `params` is None if it predicts nothing.

  It is that of single chains where there is one (`kinds`, from `Inputs.kinds`), and else that of complexes.

  The dtype counts as it was chosen, 'auto' where it was not: runs that did not choose go on in one folder together, in
  the dtype that they find on record there.
  """
  keys = None if params is None else Keys(options, params, templates).of(False not in kinds)
  return of_json(
    [keys and keys.job(''), options.msa_only, options.jobname_prefix, search_flags(options.search), templates]
  )
