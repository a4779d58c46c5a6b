# SPDX-License-Identifier: Apache-2.0
"""Validation of a run on complexes: which are chosen, how they are scored, and where the numbers go."""

import csv
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import small_cache
import small_experiment

from alphafold_jax import config as configs
from alphafold_jax.data.training.cache import open_cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.data.training.training_set import DataSpec
from alphafold_jax.train import complex_validation, loop, validation, watch

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(3)
LENGTHS = {'a': 24, 'b': 20, 'v': 22, 'w': 26, 'far': 20}
SEQUENCES = {name: small_cache.random_sequence(RNG, length) for name, length in LENGTHS.items()}
SEQUENCES['v2'] = SEQUENCES['v']
OFFSETS = {'b': 6.0, 'w': 6.0, 'v2': 12.0, 'far': 90.0}  # Å
COMPLEXES = {'seen': 'a b', 'mixed': 'a v', 'apart': 'v far', 'v2w': 'v w v2', 'again': 'w v'}


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> Path:
  """Helices side by side: a pair to train on, complexes of validation chains, and one of both."""
  folder = tmp_path_factory.mktemp('complexes')
  structures = small_cache.write_structures(folder / 'structures', SEQUENCES)
  for name, offset in OFFSETS.items():
    file = structures / f'{name}.pdb'
    lines = file.read_text().splitlines()
    moved = [f'{x[:38]}{float(x[38:46]) + offset:8.3f}{x[46:]}' if x.startswith('ATOM') else x for x in lines]
    file.write_text('\n'.join(moved) + '\n')
  rows = [{'id': name, 'cluster': name[0], 'split': 'train' if name in 'ab' else 'validation'} for name in SEQUENCES]
  table = small_cache.write_table(folder / 'table.csv', rows)
  listed = small_cache.write_table(
    folder / 'complexes.csv', [{'id': id, 'chains': chains} for id, chains in COMPLEXES.items()]
  )
  build_cache(structures, folder / 'set', table=table, complexes=listed, processes=1)
  return folder / 'set'


def chosen(path: Path, num: int = 9, max_length: int = 256, split: str = 'validation'):
  return complex_validation.choose_complexes([open_cache(path)], DataSpec(num_templates=0), num, max_length, split)


def names(*arguments, **named) -> list[str]:
  return [name for name, _ in chosen(*arguments, **named)]


def test_complexes_are_chosen_whose_chains_are_all_of_the_split_and_touch_one_of_each_cluster(path):
  assert names(path) == ['v2w']
  assert names(path, split='train') == ['seen']
  assert names(path, num=0) == []
  assert names(path, max_length=50) == ['again']  # of the same cluster, and shorter


@pytest.mark.parametrize(
  ('split', 'max_length', 'why'),
  [
    ('test', 256, 'no complex has only chains of the split test'),
    ('validation', 9, 'all complexes of the split validation are longer than run.max_validation_length=9'),
    ('validation', 44, 'no complex of the split validation has chains in contact'),
  ],
)
def test_why_there_is_no_complex_is_said(path, split, max_length, why):
  assert names(path, max_length=max_length, split=split) == []
  assert complex_validation.describe_absence([open_cache(path)], max_length, split) == why


def as_in_the_file(spec, params, batch, num_passes):
  """In place of a prediction: the true positions, copies in the other order."""
  del spec, params, num_passes
  copies = batch.targets.copy_positions
  if copies is None:
    return batch.targets.atom_positions, np.full(len(batch.aatype), 90.0)
  other = np.where(batch.entity_id == 1, 2 - batch.sym_id, batch.sym_id - 1)
  return copies[other, np.arange(len(other))], np.full(len(other), 90.0)


def test_copies_may_change_places_and_any_other_difference_counts(path, monkeypatch):
  complexes = chosen(path)
  monkeypatch.setattr(validation, 'fold', as_in_the_file)
  (perfect,) = complex_validation.score_complexes(None, None, complexes, 1)
  assert perfect.id == 'v2w' and perfect.dockq == pytest.approx(1) and len(perfect.interfaces) == 2

  def second_chain_is_off(*arguments):
    positions, plddt = as_in_the_file(*arguments)
    return positions + 5 * (arguments[2].asym_id == 2)[:, None, None], plddt

  monkeypatch.setattr(validation, 'fold', second_chain_is_off)
  (worse,) = complex_validation.score_complexes(None, None, complexes, 1)
  assert worse.dockq < 0.8
  both = [perfect, worse]
  assert complex_validation.mean_scores(both) == {
    'dockq': pytest.approx((perfect.dockq + worse.dockq) / 2),
    'interfaces': 4,
  }
  assert complex_validation.mean_scores([]) == {}


def run_of(folder: Path, data: Path, **changes) -> loop.Run:
  sizes = {'data.crop_size': 32, 'data.max_chains': 3} | changes
  config = configs.changed(small_experiment.get_config(), sizes)
  return loop.Run(loop.TrainOptions(directory=folder / 'run', config=config, data=(data,)))


def validated(run: loop.Run, folder: Path) -> dict[str, str]:
  """The line of validation.csv after a step, and the picture drawn of it."""
  run.state = types.SimpleNamespace(ema={'leaf': jnp.zeros(2)})
  run.watch = watch.Watch(folder, 0)
  run._validate(4)
  run.watch.close()
  (line,) = csv.DictReader((folder / watch.VALIDATION).open(newline=''))
  return line


def test_a_run_on_complexes_writes_dockq_and_the_number_of_interfaces(path, tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(validation, 'fold', as_in_the_file)
  run = run_of(tmp_path, path, **{'data.complex_fraction': 0.5})
  assert [name for name, _ in run.validation_complexes] == ['v2w'] and run.no_complex == ''
  with caplog.at_level('INFO'):
    line = validated(run, tmp_path)
  assert float(line['dockq']) == pytest.approx(1) and line['interfaces'] == '2'
  assert 'DockQ 1.000' in caplog.text


def test_a_run_on_single_chains_has_neither(path, tmp_path, monkeypatch):
  monkeypatch.setattr(validation, 'fold', as_in_the_file)
  run = run_of(tmp_path, path)
  assert run.validation_complexes == [] and run.no_complex == ''
  assert list(validated(run, tmp_path)) == ['step', 'samples', 'lddt_ca', 'tm', 'plddt', 'plddt_pearson']


def test_a_run_on_complexes_without_any_to_validate_with_says_so(path, tmp_path):
  run = run_of(tmp_path, path, **{'data.complex_fraction': 0.5, 'run.max_validation_length': 40})
  assert run.validation and run.validation_complexes == []
  assert run.no_complex == ('all complexes of the split validation are longer than run.max_validation_length=40')
