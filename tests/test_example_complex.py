# SPDX-License-Identifier: Apache-2.0
"""The complex among the examples, predicted by the command with a small random network of complexes."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import small_network
import small_runs

from alphafold_jax.data.structures import read_chains

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EXAMPLE = Path(__file__).parents[1] / 'examples' / 'complex'
LENGTHS = {'A': 141, 'B': 141, 'C': 146, 'D': 146}
NAME = 'alphafold2_multimer_v3_model_1_seed_000'
ONE_BLOCK = dict.fromkeys((f'{part}.num_block' for part in ('templates', 'extra_msa', 'evoformer')), 1)
CHANGES = small_network.SIZES | ONE_BLOCK | {'structure.num_layer': 2, 'sampling.num_extra': 8}
FLAGS = (
  *('--params', 'random', '--model-type', 'alphafold2_multimer_v3', '--num-models', '1', '--num-recycle', '0'),
  *(f'--config={key}={value}' for key, value in CHANGES.items()),
)


@pytest.fixture(scope='module')
def out(tmp_path_factory):
  folder = tmp_path_factory.mktemp('complex') / 'out'
  assert small_runs.predict(EXAMPLE, folder, *FLAGS) == 0
  return folder


def test_every_file_of_a_complex_is_there(out):
  job = 'haemoglobin'
  expected = {f'{job}.a3m', f'{job}.done.txt', f'{job}_predicted_aligned_error_v1.json'}
  expected |= {f'{job}.html', 'index.html', f'{job}.cxc', f'{job}.pml'}
  expected |= {f'{job}_{plot}.png' for plot in ('coverage', 'plddt', 'pae', 'ext_metrics')}
  expected |= {f'{job}_unrelaxed_rank_001_{NAME}.{kind}' for kind in ('pdb', 'cif')}
  expected |= {f'{job}_scores_rank_001_{NAME}.json', 'config.json', 'cite.bibtex', 'log.txt', 'summary.csv'}
  assert {path.name for path in out.iterdir() if not path.name.startswith('.')} == expected
  assert all((out / name).stat().st_size for name in expected)


@pytest.mark.parametrize('kind', ['pdb', 'cif'])
def test_both_structures_hold_the_four_chains_of_the_example(out, kind):
  chains = read_chains(out / f'haemoglobin_unrelaxed_rank_001_{NAME}.{kind}')
  assert {name: len(chain.sequence) for name, chain in chains.items()} == LENGTHS
  assert all(np.isfinite(chain.atom_positions).all() for chain in chains.values())
  assert chains['A'].sequence == chains['B'].sequence != chains['C'].sequence == chains['D'].sequence


def test_scores_of_all_interfaces_are_finite(out):
  scores = json.loads((out / f'haemoglobin_scores_rank_001_{NAME}.json').read_text())
  pairs = {f'{one}-{other}' for one, other in itertools.combinations(LENGTHS, 2)}
  assert set(scores['pdockq']) == pairs and len(scores['ipsae']) == 2 * len(pairs)
  assert all(np.isfinite(list(scores[key].values())).all() for key in ('pdockq', 'pdockq2', 'ipsae'))
  assert np.shape(scores['pae']) == (574, 574)
  (row,) = csv.DictReader((out / 'summary.csv').open(newline=''))
  assert 0 < float(row['iptm']) < 1 and float(row['iptm']) == pytest.approx(scores['iptm'], abs=0.01)


def test_the_same_command_again_computes_nothing(out, monkeypatch):
  before = {path.name: path.stat().st_mtime_ns for path in out.glob('haemoglobin*')}
  computed = small_runs.count_predictions(monkeypatch)
  assert small_runs.predict(EXAMPLE, out, *FLAGS) == 0
  assert computed == []
  assert {path.name: path.stat().st_mtime_ns for path in out.glob('haemoglobin*')} == before
