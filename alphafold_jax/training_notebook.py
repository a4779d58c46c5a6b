# SPDX-License-Identifier: Apache-2.0
"""What the training notebook does with its form: gets structures, trains for some minutes, shows how far it came.

Each folder is named by the content of its form. Every command is shown as it is run; a cell that is run again goes on
where it was stopped.
"""

import csv
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders
from alphafold_jax.arguments import check_whole, wrong
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.notebook import RunFailed, check_texts, flags_in, run
from alphafold_jax.transfer import fetch
from alphafold_jax.weights import shipped

ADDRESS = 'https://files.rcsb.org/download/{entry}.cif.gz'
_LIST = 'data/training/pdb_chains.csv'  # of this package: chains of the PDB by clusters of 30% identity
_AT_ONCE = 8  # downloads
_PATIENCE = fetch.Patience(deadline=120.0, timeout=20.0, retries=3)
_MOST_MISSING = 0.2  # share of the entries
_VALIDATION = 0.06  # share of validation chains beside those to train on
_EVERY = 10  # of one's own files one in so many is for validation
_RECIPE = {  # the small model's, for chains without alignments, until it is stopped
  'data.alignment_fraction': 0.0,
  'data.single_sequence_fraction': 0.0,
  'data.couplings_fraction': 0.0,
  'data.num_templates': 0,  # each chain is a cluster of its own here, and has no relatives
  'optimizer.cooldown_samples': 0,  # nobody knows when it ends
  'run.num_samples': 1_000_000,
  'run.log_every': 50,
  'run.checkpoint_every': 200,
  'run.validate_every': 200,
}
_SIDE_BY_SIDE = {'step.examples_at_once': 4}  # on a GPU, which one small example does not fill
_TUNING = {'optimizer.learning_rate': 3e-4, 'optimizer.warmup_samples': 200, 'step.max_passes': 3}


@dataclasses.dataclass(frozen=True)
class TrainingForm:
  """The training notebook's form as it was filled in, checked."""

  structures: str = ''  # a folder of mmCIF or PDB files; '': chains of the PDB are downloaded
  num_chains: int = 500  # to download
  minutes: int = 15  # of training
  own_structures: str = ''  # a folder to train further on; '': none
  own_minutes: int = 5
  more_flags: str = ''  # of `alphafold-jax train`

  def __post_init__(self) -> None:
    check_texts(self)
    check_whole('num_chains', self.num_chains, 20, len(_listed('train')))
    for name in ('minutes', 'own_minutes'):
      check_whole(name, getattr(self, name), 1, 10_000)
    for name in ('structures', 'own_structures'):
      given = getattr(self, name)
      if given and not folders.expanded(given).exists():
        raise wrong(name, given, 'no such folder; give one of mmCIF or PDB files that is here, or leave it empty')
    self.flags()

  def flags(self) -> list[str]:
    """The flags of a person's own."""
    return flags_in(self.more_flags)


@dataclasses.dataclass(frozen=True)
class Training:
  """A form with the folder that is its own."""

  form: TrainingForm
  folder: Path

  @property
  def run(self) -> Path:
    return self.folder / 'run'

  @property
  def tuned(self) -> Path:
    return self.folder / 'tuned'


def prepare(place: Path | str = '.', **form: Any) -> Training:
  """Checks the form and makes its folder.

  Args:
    place: where the folder is made.
    **form: the fields of TrainingForm.

  Raises:
    InputError: a field cannot be used, or the folder cannot be made; the message names it.
  """
  filled = TrainingForm(**form)
  recipe = repr((filled.structures, filled.num_chains, filled.own_structures, filled.more_flags))
  digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
  return Training(filled, atomic.make_folder(Path(place).absolute() / f'training_{digest}'))


def make_set(training: Training) -> Path:
  """The training set: from the person's folder, or from chains of the PDB, which are downloaded.

  Raises:
    RunFailed: the PDB cannot be reached, or no training set can be made of the files.
  """
  form, cache = training.form, training.folder / 'set'
  if form.structures:
    return _set_of_folder(folders.expanded(form.structures), cache)
  if not cache.exists():
    rows = [*_listed('train')[: form.num_chains], *_listed('validation')[: round(_VALIDATION * form.num_chains) + 1]]
    table = _write_table(training.folder / 'chains.csv', rows)
    structures = download([row['id'].partition('_')[0] for row in rows], training.folder / 'pdb')
    run(['dataset', str(structures), str(cache), '--table', str(table), '--quiet'])
  return cache


def train(training: Training, cache: Path) -> Path:
  """Trains from nothing for the minutes of the form, or goes on for as long; returns the picture of the curves."""
  return _train(training.run, cache, training.form.minutes, _RECIPE, training.form.flags())


def tune(training: Training, *, from_run: bool) -> Path | None:
  """Trains further on the person's own structures; returns the picture of the curves, None where there are none.

  Args:
    training: the form.
    from_run: begin with what `train` made; else with the small model that ships.
  """
  form = training.form
  if not form.own_structures:
    return None
  cache = _set_of_folder(folders.expanded(form.own_structures), training.folder / 'own')
  start = training.run if from_run else shipped.path()
  return _train(training.tuned, cache, form.own_minutes, _RECIPE | _TUNING, ['--init-from', str(start), *form.flags()])


def _train(directory: Path, cache: Path, minutes: int, settings: dict[str, Any], flags: Sequence[str]) -> Path:
  settings = settings | (_SIDE_BY_SIDE if shutil.which('nvidia-smi') else {})
  changes = [text for key, value in settings.items() for text in ('--config', f'{key}={value}')]
  command = ['train', str(directory), '--data', str(cache), '--experiment', 'train_mini', *changes, *flags]
  run(command, seconds=60 * minutes)
  from alphafold_jax.train import curves  # with JAX, which takes no memory of a device until it is used

  return curves.draw(directory)


# --- Structures ---


def _listed(split: str) -> list[dict[str, str]]:
  """The chains of a split that this package lists."""
  text = resources.files('alphafold_jax').joinpath(_LIST).read_text(encoding='utf-8')
  return [row for row in csv.DictReader(text.splitlines()) if row['split'] == split]


def _write_table(path: Path, rows: Sequence[dict[str, str]]) -> Path:
  with atomic.replacing(path, 'w') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  return path


def download(entries: Sequence[str], folder: Path, address: str = ADDRESS) -> Path:
  """Downloads entries of the PDB, a tenth of a megabyte each or less, into a folder; those that are there are kept.

  Args:
    entries: four-letter names.
    folder: made where it is missing.
    address: of a file, with {entry} for the name.

  Raises:
    RunFailed: more than a fifth of the entries cannot be had.
  """
  atomic.make_folder(folder)
  wanted = sorted(set(entries))
  print(f'Downloading {len(wanted)} entries of the PDB from {address.partition("{")[0]}', flush=True)

  def get(entry: str) -> str:
    """Why an entry cannot be had; '' if it is there."""
    path = folder / f'{entry}.cif.gz'
    part = path.with_name(f'{path.name}.part')
    try:
      if not path.exists():
        fetch.fetch(address.format(entry=entry), part, _PATIENCE)
        os.replace(part, path)
        fetch.discard(part)
    except AlphaFoldError as error:
      return str(error)
    return ''

  with ThreadPoolExecutor(_AT_ONCE, 'download') as pool:
    faults = [fault for fault in pool.map(get, wanted) if fault]
  if len(faults) > _MOST_MISSING * len(wanted):
    raise RunFailed(f'{len(faults)} of {len(wanted)} entries cannot be had: {faults[0]}')
  for fault in faults:
    print(f'left out: {fault}')
  return folder


def _set_of_folder(structures: Path, cache: Path) -> Path:
  """A training set of a person's files, some of which are set aside to validate with; one that is there is kept."""
  if cache.exists():
    return cache
  every = cache.with_name(f'{cache.name}_all')
  if not every.exists():
    run(['dataset', str(structures), str(every), '--quiet'])
  with open(every / 'index.csv', encoding='utf-8', newline='') as file:
    ids = [row['id'] for row in csv.DictReader(file)]
  rows = split_by_file(ids)
  if all(row['split'] == 'train' for row in rows):
    return every
  table = _write_table(cache.with_name(f'{cache.name}.csv'), rows)
  run(['dataset', str(structures), str(cache), '--table', str(table), '--quiet'])
  return cache


def split_by_file(ids: Sequence[str]) -> list[dict[str, str]]:
  """Rows of a table: the chains of one file in ten, or of the last of a few, are for validation, unless it is alone.

  Copies of a protein are often chains of one file.
  """
  files = list(dict.fromkeys(one.rpartition('_')[0] for one in ids))
  aside = set(files[_EVERY - 1 :: _EVERY] or files[1:][-1:])
  return [{'id': one, 'split': 'validation' if one.rpartition('_')[0] in aside else 'train'} for one in ids]
