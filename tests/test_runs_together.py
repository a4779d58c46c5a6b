# SPDX-License-Identifier: Apache-2.0
"""A run that computes several proteins in one pass does to each what it does to one."""

import jax
import pytest
import small_network
from small_runs import ALONE, SEQUENCE, count_predictions, fasta, load_json, names, predict, raw

from alphafold_jax import devices, errors, together
from alphafold_jax.runs import Options
from alphafold_jax.runs.fleet import models
from alphafold_jax.search.options import SearchOptions
from alphafold_jax.settings import Settings


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  return fasta(tmp_path_factory.mktemp('source') / 'p.fasta', a=SEQUENCE[:9], b=SEQUENCE[:12], c=SEQUENCE[:16])


def run(source, out, *flags):
  code = predict(source, out, *ALONE, '--num-recycle', '1', '--dtype', 'float32', '--save-recycles', *flags)
  return code, (out / 'log.txt').read_text()


@pytest.fixture(scope='module')
def one_by_one(source, tmp_path_factory):
  out = tmp_path_factory.mktemp('one') / 'out'
  code, log = run(source, out, '--batch', '1')
  assert code == 0 and 'other' not in log
  return out


def check_results(out, one_by_one, jobs):
  for job in jobs:
    ours, other = raw(out, job), raw(one_by_one, job)
    assert ours.keys() == other.keys()
    small_network.assert_close(ours, other, 1e-5)


def test_a_run_of_several_together_makes_the_files_of_one_by_one_and_is_resumed(
  source, one_by_one, tmp_path, monkeypatch
):
  computed = count_predictions(monkeypatch)
  code, log = run(source, tmp_path / 'out', '--batch', '2')
  assert code == 0 and names(tmp_path / 'out') == names(one_by_one) and not computed
  assert '[1/3] a model_1_ptm, seed 0: beginning, with 1 other' in log
  assert '[3/3] c model_1_ptm, seed 0: running\n' in log and '[2/3] b model_1_ptm, seed 0, pass 2 of 2' in log
  check_results(tmp_path / 'out', one_by_one, 'abc')
  code, log = run(source, tmp_path / 'out', '--batch', '1')  # how many are together shapes no file
  assert code == 0 and not computed and '3 already done' in log


def test_what_fails_among_others_fails_alone(source, one_by_one, tmp_path, monkeypatch):
  compute = together.predict_together
  error = errors.NumericalError('gave NaN')
  monkeypatch.setattr(together, 'predict_together', lambda *a, **b: [*compute(*a, **b)[:-1], error])
  assert run(source, tmp_path / 'out', '--batch', '2')[0] == 1
  assert [one['job'] for one in load_json(tmp_path / 'out' / 'failures.json')] == ['b', 'c']
  check_results(tmp_path / 'out', one_by_one, 'a')


def test_what_fails_for_all_is_computed_one_by_one(source, one_by_one, tmp_path, monkeypatch):
  def broken(*_, **__):
    raise ValueError('no such kernel for several')

  monkeypatch.setattr(together, 'predict_together', broken)
  computed = count_predictions(monkeypatch)
  code, log = run(source, tmp_path / 'out', '--batch', '3')
  assert code == 0 and [name for name, *_ in computed] == ['a', 'b', 'c']
  assert log.count('from now on each protein is computed alone (ValueError: no such kernel for several)') == 1
  check_results(tmp_path / 'out', one_by_one, 'abc')


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (('--batch', '0'), '--batch 0: must be 1 to 64, or auto'),
    (('--batch', '4', '--devices', '2'), '--batch 4 and --devices do not go together'),
    (('--batch', 'many'), 'many'),
  ],
)
def test_wrong_flags_are_named(source, tmp_path, flags, message, capsys):
  assert predict(source, tmp_path / 'out', *ALONE, *flags) == 2
  assert message in capsys.readouterr().err


def test_single_sequences_of_a_run_are_reckoned_with_one_row(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  monkeypatch.setattr(devices, 'available_bytes', lambda *_: 10**11)
  how = {'params': 'random', 'model_type': 'alphafold2_ptm', 'settings': Settings(dtype='bfloat16')}
  single = Options(search=SearchOptions('single_sequence'), **how)
  both = [models.Models(options).together(64, 1000) for options in (Options(**how), single)]
  assert both == [2, 64]
  assert models.Models(Options(**how | {'batch': 8})).together(64, 3) == 4
  assert models.Models(Options(**how | {'settings': Settings(dtype='bfloat16', num_devices=2)})).together(64, 3) == 1
