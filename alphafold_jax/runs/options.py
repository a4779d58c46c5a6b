# SPDX-License-Identifier: Apache-2.0
"""What a person may choose about a run, checked before anything is read."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import config_dict

from alphafold_jax import config as configs
from alphafold_jax import folders, installed
from alphafold_jax.arguments import is_number, is_whole, wrong
from alphafold_jax.choices import (
  COLABFOLD_NAMES,
  FOR_COMPLEXES,
  MAX_SEED,
  MAX_TOGETHER,
  MODEL_TYPES,
  NAMINGS,
  NATURAL,
  ORDER,
  ORIGINS,
  PAIR_MODES,
  PAIR_STRATEGIES,
  PLOT_FORMATS,
  PNG,
  RANKS,
  SKIPPABLE,
  SORTS,
  ranking_score,
)
from alphafold_jax.data.complexes import COLABFOLD, DEEPMIND, FOR_MONOMER_MODELS, Merging
from alphafold_jax.errors import InputError, how_to_install
from alphafold_jax.interfaces import PAE_CUTOFF
from alphafold_jax.output import compact, files
from alphafold_jax.output.record import REPRESENTATIONS
from alphafold_jax.relaxation import RelaxPlan
from alphafold_jax.search.options import SearchOptions
from alphafold_jax.settings import Settings
from alphafold_jax.weights import shipped, store

RANDOM = 'random'

_NEVER_IN_FILES = {  # choices that share work out or speed it up; and those that are made of others
  'settings', 'search', 'config', 'keep_representations', 'overwrite_existing_results', 'sort_queries_by', 'shard',
  'workers', 'batch', 'ray', 'compilation_cache', 'num_devices', 'offline', 'num_threads', 'gpu', 'search_cache',
  'host_user', 'num_relax', 'relax',
}  # fmt: skip
_FLAGS = {'mode': 'msa-mode', 'databases': 'database'}  # of choices that are named otherwise
_USUAL = {  # of later choices; not said where it is so
  'pair_mode': PAIR_MODES[0], 'pair_strategy': PAIR_STRATEGIES[0],
  'plot_format': frozenset({PNG}), 'naming': COLABFOLD_NAMES, 'origin': NATURAL,
}  # fmt: skip
_CHOICES = {'model_type': MODEL_TYPES, 'rank': RANKS, 'sort_queries_by': SORTS, 'naming': NAMINGS, 'origin': ORIGINS}
_CLUSTER = re.compile(r'auto|[^/]+:\d+')
_PARAMETER_FILE = re.compile(
  rf'params_(model_[1-5](?:_ptm|_multimer(?:_v[23])?)?)\.npz|(?:params_)?({shipped.MODEL})\.npz'
)


@dataclasses.dataclass(frozen=True)
class Options:
  """All choices of `alphafold-jax predict`; the names are those of its flags."""

  search: SearchOptions | None = None  # what becomes of sequences without an alignment; None: they are refused
  msa_only: bool = False  # write features and stop
  model_type: str = 'auto'  # see `family`
  num_models: int = 5
  model_order: tuple[int, ...] = ORDER
  num_seeds: int = 1
  random_seed: int = 0  # the first of the seeds
  settings: Settings = Settings()
  max_seq: int | None = None  # cluster rows
  max_extra_seq: int | None = None  # extra rows
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # dotted keys of config.py; advanced
  params: str | Path | None = None  # file, folder, None: the default folder or the package's own, or 'random'
  complex: bool = False  # the records of a FASTA file are the chains of one complex
  custom_template_path: str | Path | None = None
  template_complex: str | Path | None = None  # structures of whole complexes
  initial_guess: str | Path | None = None  # a structure that the first pass goes on from
  template_map: str | Path | None = None  # JSON: structures with their places, see data/template_map.py
  rank: str = 'auto'  # auto: plddt, of complexes multimer; see `choices.ranking`
  ipsae_cutoff: float | None = None  # Å, PAE of the pairs that ipSAE is of; None: 15
  stop_at_score: float = 100.0  # further models of a protein are not run once one scores more
  jobname_prefix: str | None = None
  save_all: bool = False
  save_recycles: bool = False
  save_single_representations: bool = False
  save_pair_representations: bool = False
  skip_output: frozenset[str] = frozenset()
  overwrite_existing_results: bool = False
  plot_format: frozenset[str] = frozenset({PNG})
  naming: str = COLABFOLD_NAMES  # of files
  origin: str = NATURAL  # of the proteins, for mmCIF files
  foldcomp: bool = False
  zip: bool = False
  sort_queries_by: str = 'length'
  shard: tuple[int, int] | None = None  # which one of how many processes that share the output folder, from 1
  workers: int | None = 1  # processes that predict, each with devices of its own; None: one for each NVIDIA GPU
  batch: int | None = None  # small proteins in one pass; None: what the device is good for, on CPUs one
  ray: str | None = None  # address of a Ray cluster that they are on, or 'auto'; None: this machine
  compilation_cache: bool = True
  num_relax: int | None = 0  # of each protein, the best predictions to relax; None: all
  relax: RelaxPlan = RelaxPlan()

  def __post_init__(self):
    for name, choices in _CHOICES.items():
      if getattr(self, name) not in choices:
        shown = ', '.join(choice for choice in choices if choice)
        raise wrong(name, getattr(self, name), f'choose one of {shown}')
    last = self.random_seed + self.num_seeds - 1
    order = self.model_order
    order_is_good = order and set(order) <= set(ORDER) and len(set(order)) == len(order)
    checks = {
      'num_models': (1 <= self.num_models <= 5, 'must be 1 to 5'),
      'model_order': (order_is_good, 'must hold numbers from 1 to 5, each at most once, such as (3, 4, 5)'),
      'num_seeds': (self.num_seeds >= 1, 'must be 1 or more'),
      'random_seed': (0 <= self.random_seed and last <= MAX_SEED, f'seeds must lie between 0 and {MAX_SEED}'),
      'max_seq': (self.max_seq is None or self.max_seq >= 1, 'must be 1 or more'),
      'max_extra_seq': (self.max_extra_seq is None or self.max_extra_seq >= 1, 'must be 1 or more'),
      'ipsae_cutoff': (self.ipsae_cutoff is None or is_number(self.ipsae_cutoff, 0, 32), 'must lie between 0 and 32 Å'),
      'stop_at_score': (0 <= self.stop_at_score <= 100, 'must lie between 0 and 100'),
      'skip_output': (set(self.skip_output) <= set(SKIPPABLE), f'choose among {", ".join(SKIPPABLE)}'),
      'plot_format': (set() < set(self.plot_format) <= set(PLOT_FORMATS), f'choose among {", ".join(PLOT_FORMATS)}'),
      'workers': (self.workers is None or self.workers >= 1, 'must be 1 or more'),
      'batch': (self.batch is None or is_whole(self.batch, 1, MAX_TOGETHER), f'must be 1 to {MAX_TOGETHER}, or auto'),
      'num_relax': (self.num_relax is None or is_whole(self.num_relax, 0), 'must be 0 or more'),
      'ray': (_CLUSTER.fullmatch(self.ray or 'auto'), 'must be auto, or HOST:PORT of the cluster, such as head:6379'),
    }
    for name, (good, rule) in checks.items():
      if not good:
        value = getattr(self, name)
        raise wrong(name, sorted(value) if isinstance(value, frozenset) else value, rule)
    self._check_shard()
    self._check_batch()
    self._check_packages()
    if owned := {'dtype', 'name'} & set(self.config):
      raise InputError(f'config: {sorted(owned)[0]!r} cannot be changed there; the dtype has a setting of its own')
    sources = {
      '--custom-template-path': self.custom_template_path,
      '--template-complex': self.template_complex,
      '--template-map': self.template_map,
      '--templates': self.search is not None and self.search.templates,
    }
    if len(said := [flag for flag, value in sources.items() if value]) > 1:
      raise InputError(f'{" and ".join(said)}: templates come from one place; give one of these')
    if self.msa_only and self.initial_guess is not None:
      raise InputError(
        '--initial-guess: features do not hold it; leave it out with --msa-only, and give it when predicting'
      )
    if self.settings.max_msa is not None and (self.max_seq or self.max_extra_seq):
      raise InputError('max_msa sets both numbers of rows; leave out max_seq and max_extra_seq')
    if self.rank not in ('auto', 'plddt') and any(configs.model_type(name) == 'alphafold2' for name in self.models):
      rule = 'the alphafold2 models give no pTM and no ipTM; rank by plddt, or choose alphafold2_ptm'
      raise wrong('rank', self.rank, rule)
    for name in self.models:
      self.model_config(name)  # InputError: no such setting

  def _check_batch(self) -> None:
    if self.settings.num_devices > 1 and (self.batch or 1) > 1:
      raise InputError(f'--batch {self.batch} and --devices do not go together: leave out --batch')

  def _check_packages(self) -> None:
    if self.foldcomp and installed.version(compact.PACKAGE) is None:
      raise InputError(f'--foldcomp: the package foldcomp is not installed; {how_to_install(compact.PACKAGE)}')

  def _check_shard(self) -> None:
    if self.shard is None:
      return
    number, count = self.shard
    if not 1 <= number <= count:
      raise InputError(
        f'--shard {number}/{count}: shards are numbered from 1 to {max(count, 1)}; with SLURM, sbatch '
        '--array=1-N goes with --shard $SLURM_ARRAY_TASK_ID/N'
      )
    if self.overwrite_existing_results:
      raise InputError(
        '--shard and --overwrite-existing-results do not go together: by the results shards see what '
        'the others have done. Give a new output folder'
      )

  @functools.cached_property
  def family(self) -> str:
    """The model type that is run: 'auto' is that of a single parameter file by its name, else alphafold2_ptm.

    Where no parameters are named and none are installed it is the model that ships with the package, unless single
    models are asked for by number.
    """
    if self.model_type != 'auto':
      return self.model_type
    if named := self._model_of_file():
      return configs.model_type(named)
    nothing_named = self.params is None and self.model_order == ORDER
    published = [name for family in ('alphafold2_ptm', 'alphafold2') for name in configs.models_of(family).values()]
    is_small = nothing_named and shipped.exists() and not store.has_any(published)
    return shipped.MODEL if is_small else 'alphafold2_ptm'

  @functools.cached_property
  def models(self) -> tuple[str, ...]:
    """The names of the models to run, in order."""
    order, named = self.model_order, self._model_of_file()
    if named:
      number = configs.model_number(named)
      if configs.model_type(named) != self.family or number not in order:
        raise InputError(
          f'{self.params}: holds {named}, but the options ask for {self.family}, numbers {list(order)}; '
          'name a folder with all parameter files, or leave out model_type and model_order'
        )
      order = (number,)
    if self.family in configs.OWN_MODELS:
      if self.model_order != ORDER:
        raise wrong('model_order', self.model_order, f'{self.family} is a single model; leave this out')
      return (self.family,)
    if not named and self._is_one_file() and min(len(order), self.num_models) > 1:
      raise InputError(
        f'{self.params}: one parameter file, but {min(len(order), self.num_models)} models to run; say which it is, '
        f'such as --model-type alphafold2_ptm --model-order 3 or --model-type {shipped.MODEL}, or name a folder of '
        'params_model_*.npz'
      )
    names = configs.models_of(self.family)
    return tuple(names[number] for number in order[: self.num_models])

  @property
  def seeds(self) -> range:
    return range(self.random_seed, self.random_seed + self.num_seeds)

  @property
  def is_random(self) -> bool:
    return self.params == RANDOM

  def of(self, is_complex: bool) -> 'Options':
    """The options as they concern proteins of one chain, or of several.

    Where nobody chose the model type, complexes take the newest models that were trained on complexes, if their
    parameters are there, and else those of single chains.
    """
    return self._of_complexes if is_complex else self

  @functools.cached_property
  def _of_complexes(self) -> 'Options':
    first = configs.models_of(FOR_COMPLEXES)[self.model_order[0]]
    if self.model_type != 'auto' or self._is_one_file() or not (self.is_random or store.has(first, self.params)):
      return self
    return dataclasses.replace(self, model_type=FOR_COMPLEXES)

  @property
  def has_models_of_complexes(self) -> bool:
    """Whether complexes are predicted by models that were made for them."""
    return configs.model_config(self.of(True).models[0]).embedder.max_relative_chain > 0

  def merging(self, was_searched: bool) -> Merging:
    """Which rows are taken of the alignments of a complex: as the program did whose models are run.

    Features of `--msa-only` are for models of complexes, which may be on another machine, unless others are chosen.
    """
    is_for_later = self.msa_only and self.model_type == 'auto' and not self._is_one_file()
    if not self.has_models_of_complexes and not is_for_later:
      return FOR_MONOMER_MODELS
    return DEEPMIND if was_searched and self.search is not None and self.search.mode == 'hmmer' else COLABFOLD

  def score(self, scored: Any) -> float:
    """What a prediction, or a row of a record, is ranked by, 0 to 100."""
    return ranking_score(self.rank, scored)

  @property
  def pae_cutoff(self) -> float:
    """Å, of ipSAE."""
    return PAE_CUTOFF if self.ipsae_cutoff is None else self.ipsae_cutoff

  def run_settings(self) -> Settings:
    """The settings of each prediction."""
    needed = files.needed(self)
    kept = not set(REPRESENTATIONS).isdisjoint(needed)
    return dataclasses.replace(self.settings, keep_representations=kept, keep_distogram='distogram' in needed)

  def changes(self) -> dict[str, Any]:
    """The changes of a published model's configuration that come before its settings, by dotted key."""
    rows = {'sampling.num_msa': self.max_seq, 'sampling.num_extra': self.max_extra_seq}
    return {**{key: value for key, value in rows.items() if value is not None}, **self.config}

  def model_config(self, name: str) -> config_dict.ConfigDict:
    """A model's configuration with all choices in place; the dtype is 'auto' where the device decides.

    Raises:
      InputError: a key of `config` does not exist, or its value is of another kind.
    """
    published = configs.model_config(name)
    _check_kinds(published, self.changes())
    return configs.changed(published, {'dtype': 'auto'} | self.changes() | self.settings.changes())

  def flags(self) -> dict[str, str]:
    """The flags that shape files or their names, by name, as a person would write them; without those that are off."""
    found = _flags(self) | _flags(self.settings) | search_flags(self.search)
    return found | {f'--config {key}': f'--config {key}={value}' for key, value in self.config.items()}

  def as_json(self) -> dict[str, Any]:
    """The options as JSON can hold them."""
    search = self.search and self.search.as_json()
    plain = dataclasses.asdict(dataclasses.replace(self, search=None)) | {
      'search': search,
      'skip_output': sorted(self.skip_output),
      'plot_format': sorted(self.plot_format),
      'config': dict(self.config),
    }
    return {key: str(value) if isinstance(value, Path) else value for key, value in plain.items()}

  def _is_one_file(self) -> bool:
    return self.params is not None and not self.is_random and folders.expanded(self.params).is_file()

  def _model_of_file(self) -> str | None:
    """The model that a single parameter file holds by its name."""
    named = _PARAMETER_FILE.fullmatch(Path(self.params or '').name) if self._is_one_file() else None
    return named and (named[1] or named[2])


def search_flags(search: SearchOptions | None) -> dict[str, str]:
  """The flags that shape what a search finds, as `Options.flags` has them."""
  return _flags(search) if search else {}


def _flags(choices: Any) -> dict[str, str]:
  found = {}
  for field in dataclasses.fields(choices):
    value, flag = getattr(choices, field.name), f'--{_FLAGS.get(field.name, field.name.replace("_", "-"))}'
    if field.name in _NEVER_IN_FILES or value is None or value is False or value in ((), [], frozenset()):
      continue
    if value == _USUAL.get(field.name):
      continue
    if isinstance(value, tuple | list | frozenset):
      joint = ':' if field.name == 'max_msa' else ','
      value = joint.join(map(str, sorted(value) if isinstance(value, frozenset) else value))
    found[flag] = flag if value is True else f'{flag} {value}'
  return found


def _check_kinds(config: config_dict.ConfigDict, changes: Mapping[str, Any]) -> None:
  for key, value in changes.items():
    place = config
    for part in key.split('.'):
      place = place.get(part) if isinstance(place, config_dict.ConfigDict) else None
    if isinstance(place, config_dict.ConfigDict):
      raise InputError(f'{key}={value!r}: names a section; choose {", ".join(f"{key}.{name}" for name in place)}')
    kinds = (int, float) if isinstance(place, float) else type(place)
    if place is not None and (not isinstance(value, kinds) or isinstance(value, bool) != isinstance(place, bool)):
      raise InputError(f'{key}={value!r}: must be of the kind of {place!r}')
