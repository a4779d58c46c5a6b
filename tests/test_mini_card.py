# SPDX-License-Identifier: Apache-2.0
"""What the card of the small model measures, and how its tables are made."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import mini_card  # noqa: E402
import mini_physics  # noqa: E402
import mini_picture  # noqa: E402
import mini_pilots  # noqa: E402
import mini_scores  # noqa: E402
import mini_separations  # noqa: E402

from alphafold_jax.constants import residues  # noqa: E402
from alphafold_jax.data import alignment, structures  # noqa: E402
from alphafold_jax.train import watch  # noqa: E402

DATA = Path(__file__).parent / 'data'
CA = residues.ATOM_INDEX['CA']


@pytest.fixture(scope='module')
def ras():
  return structures.read_chain(DATA / '1ctq_A.cif.gz', 'A')


def physics(chain, positions=None) -> mini_physics.Physics:
  return mini_physics.measure(
    alignment.canonical(chain.sequence), chain.atom_positions if positions is None else positions, chain.atom_mask
  )


@pytest.mark.parametrize('name', ['1ctq_A', '1mul_A', '1aie_A'])
def test_experiments_are_chains_by_every_measure(name):
  chain = structures.read_chain(DATA / f'{name}.cif.gz', 'A')
  found = physics(chain)
  assert found.good_bonds == found.bonds > 25
  assert 3.6 < found.shortest_ca < 3.9 or name == '1ctq_A' and 2.8 < found.shortest_ca
  assert found.negative_phis >= 0.95 * found.phis and found.phis > 20
  assert found.pieces == 1  # residues that were not resolved part no chain


def test_a_chain_that_is_torn_has_one_bond_less_and_one_piece_more(ras):
  positions = ras.atom_positions.copy()
  positions[80:] += [0, 0, 4]
  torn, whole = physics(ras, positions), physics(ras)
  assert (whole.good_bonds - torn.good_bonds, torn.pieces - whole.pieces) == (1, 1)
  assert torn.bonds == whole.bonds


def test_a_mirror_image_has_phi_of_the_other_sign(ras):
  found = physics(ras, ras.atom_positions * [1, 1, -1])
  assert found.phis - found.negative_phis == physics(ras).negative_phis


def test_the_table_of_chains_adds_bonds_and_averages_over_chains():
  one = mini_physics.Physics(bonds=10, good_bonds=10, shortest_ca=3.0, phis=4, negative_phis=4, pieces=1)
  other = mini_physics.Physics(bonds=30, good_bonds=10, shortest_ca=1.0, phis=4, negative_phis=3, pieces=4)
  last = mini_physics.physics_table({'mini': [one, other]}).splitlines()[-1]
  assert last == '| mini | 50.0 % | 2.00 Å | 87.5 % | 2.5 | 1 of 2 |'


def scored(lddt: float, plddt: float, num_res: int = 100) -> mini_scores.Scored:
  return mini_scores.Scored(np.full(num_res, lddt), np.full(num_res, plddt), tm=lddt, plddt=plddt)


def target(num_res: int, depth: int) -> SimpleNamespace:
  return SimpleNamespace(sequence='A' * num_res, depth=depth)


def test_targets_are_the_first_chain_of_each_cluster_that_is_short_enough(monkeypatch):
  class Cache(list):
    entries = [
      SimpleNamespace(id=name, cluster=name[0], split='train' if name == 'a1' else 'validation', depth=1)
      for name in ('a1', 'b1', 'b2', 'c1', 'd1')
    ]

  monkeypatch.setattr(mini_scores.training_set, 'whole_chain', lambda *_: None)
  training = Cache(SimpleNamespace(sequence='A' * length) for length in (5, 9, 4, 6, 5))
  spec = mini_scores.training_set.DataSpec()

  def found(*limits):
    return [target.id for target in mini_scores.targets(training, spec, *limits)]

  assert found() == ['b1', 'c1', 'd1'] and found(2) == ['b1', 'c1']
  assert found(None, 6) == ['c1', 'd1'] and found(1, 6) == ['c1']


def test_groups_hold_every_chain_once_and_empty_ones_are_left_out():
  assert mini_scores.grouped([1, 64, 65, 300], mini_scores.LENGTHS) == {
    'at most 64': [0, 1],
    '65 to 128': [2],
    'more than 256': [3],
  }
  assert list(mini_scores.grouped([1, 2, 99, 100, 1000, 1001], mini_scores.DEPTHS).values()) == [
    [0],
    [1, 2],
    [3, 4],
    [5],
  ]


def test_tables_compare_the_model_with_the_copy_by_length_and_depth():
  chains = [target(50, 1), target(60, 200), target(300, 200)]
  copied = [mini_scores.Scored(np.full(9, value), None, tm=value, plddt=None) for value in (0.1, 0.2, 0.3)]
  found = {
    'mini, sequence alone': [scored(0.4, 40), scored(0.6, 60), scored(0.8, 80)],
    mini_scores.NEAREST: copied,
  }
  text = mini_scores.group_tables(found, chains)
  assert '| residues | chains | mini, sequence alone: lDDT-Cα | nearest chain: lDDT-Cα |' in text
  assert '| at most 64 | 2 | 0.500 | 0.150 | 0.500 | 0.150 |' in text
  assert '| none | 1 | 0.400 | 0.100 |' in text and '| 100 to 1,000 | 2 | 0.700 | 0.250 |' in text
  tables = mini_scores.score_tables(found, chains)
  assert '| mini, sequence alone | 0.600 | 0.600 | 60.0 | 1.00 |' in tables
  assert 'of these 2 that have an alignment' in tables and f'| {mini_scores.NEAREST} | 0.200 | 0.200 |  |  |' in tables


def test_distances_that_are_kept_are_told_by_separation():
  ca = np.cumsum(np.tile([3.8, 0, 0], (40, 1)), axis=0)  # straight: three neighbours on each side are within 15 Å
  positions = np.repeat(ca[:, None], 37, axis=1)
  known = np.ones((40, 37))
  predicted = mini_scores.Predicted(positions * 1.2, known)
  chain = SimpleNamespace(true=(positions, known))
  rows = mini_separations.separation_table({'mini': [mini_separations.measure(chain, predicted)] * 2}).splitlines()
  assert rows[0] == '| residues apart | of the distances | mini: kept | mini: mean error, Å |'
  assert rows[2:] == ['| 1 | 34 % | 0.75 | 0.76 |', '| 2 | 33 % | 0.50 | 1.52 |', '| 3 | 32 % | 0.25 | 2.28 |']
  known[10:, CA] = 0
  assert len(mini_separations.measure(chain, predicted).kept) == 9 + 8 + 7


def test_confidence_is_compared_over_chains_residues_and_bins():
  found = {'mini': [scored(0.50, 60.0), scored(0.70, 66.0), scored(0.9, 84.0)], mini_scores.NEAREST: [scored(0.0, 50)]}
  text = mini_scores.confidence_tables(found)
  assert '| mini: chains | 3 | 70.0 | 70.0 | +0.0 | 6.7 | 0.96 |' in text
  assert '| mini: residues | 300 | 70.0 | 70.0 | +0.0 | 6.7 | 0.96 |' in text
  assert mini_scores.reliability(np.full(60, 65.0), np.full(60, 0.6)) == ['', '', '', '', '', '60 (60)', '', '', '']
  assert mini_scores.NEAREST not in text


def test_an_experiment_predicted_as_itself_is_drawn_with_full_marks(ras, tmp_path):
  prediction = SimpleNamespace(
    sequence=ras.sequence, atom_positions=ras.atom_positions, atom_mask=ras.atom_mask, model_name='itself'
  )
  said = mini_picture.compare(prediction, ras, 'experiment', tmp_path / 'picture.png')
  assert said == 'lDDT-Cα 1.00, TM-score 1.00'
  with Image.open(tmp_path / 'picture.png') as picture:
    shown = np.asarray(picture.convert('RGB')).astype(int)
  height, width, _ = shown.shape
  left, right = shown[height // 6 : -height // 6, : width // 2], shown[height // 6 : -height // 6, width // 2 :]
  assert width < 1400 and np.mean(np.abs(left - right)) < 1 < np.mean(255 - left)


# ------------------------------------------------------------------------------------------ runs


def test_hours_and_lost_lines_are_counted_over_continuations():
  lines = [
    {'step': step, 'samples': 4 * step, 'samples_per_second': speed}
    for step, speed in ((10, '2'), (20, '4'), (30, '0'), (40, '4'), (100, '4'))
  ]
  logged = [{name: str(value) for name, value in line.items()} for line in lines]
  assert mini_card.hours(logged) == pytest.approx((40 / 2 + 40 / 4 + 40 / 4 + 240 / 4) / 3600)
  assert mini_card.missing(logged[:4]) == '' and mini_card.missing(logged) == ' (the numbers of 60 steps are lost)'


def test_the_course_of_a_run_is_told_from_its_configuration():
  optimizer = {'learning_rate': 2e-3, 'warmup_samples': 1000, 'decay_samples': 16_000, 'decay_factor': 0.3}
  assert mini_card.rates(optimizer, 20_000).endswith('after 1,000 samples, from 16,000 samples on times 0.3')
  assert '16,000' not in mini_card.rates(optimizer, 10_000)
  assert [mini_card.passes(most) for most in (1, 3)] == ['1 pass', '1 to 3 passes']
  phases = {'late': {'samples': 9, 'data': {'crop_size': 128}, 'loss': {'violation': 0.1}}, 'early': {'samples': 5}}
  assert mini_card.phases({'phases': phases}) == [(5, ''), (9, 'data.crop_size 128, loss.violation 0.1')]


def make_run(folder: Path, **changes) -> Path:
  """A run's folder with its numbers."""
  folder.mkdir()
  config = {'name': folder.name, 'optimizer': {'learning_rate': 2e-3}, 'model': {'templates': None}, 'run': {'seed': 0}}
  (folder / 'config.json').write_text(json.dumps(config | changes))
  lines = (f'{step},{4 * step},4.0' for step in range(100, 1100, 100))
  (folder / watch.METRICS).write_text('\n'.join(['step,samples,samples_per_second', *lines, '']))
  (folder / watch.VALIDATION).write_text('step,samples,lddt_ca\n250,1000,0.1\n750,3000,0.3\n1000,4000,0.32\n')
  return folder


def test_pilots_are_told_apart_by_what_differs(tmp_path):
  base = make_run(tmp_path / 'base')
  other = make_run(
    tmp_path / 'other',
    optimizer={'learning_rate': 1e-3},
    model={'templates': {'c_t': 16, 'num_block': 1}},
    run={'seed': 1},
  )
  config = json.loads((base / 'config.json').read_text())
  assert mini_pilots.row(base, config) == ['base: as it is', '4,000', '0.200', '0.320', '14,400']
  name, *_ = mini_pilots.row(other, config)
  assert name == 'other: model.templates: None, here a section; optimizer.learning_rate: 0.002, here 0.001'


def test_losses_of_two_runs_are_compared_at_the_steps_that_both_have(tmp_path):
  for name, shift, steps in (('base', 0.0, 8), ('other', 0.5, 6)):
    (tmp_path / name).mkdir()
    lines = [','.join(('step', 'samples', *mini_pilots.TERMS))]
    lines += [','.join(map(str, (i, 4 * i, *[i + shift] * len(mini_pilots.TERMS)))) for i in range(1, steps + 1)]
    (tmp_path / name / watch.METRICS).write_text('\n'.join(lines))
  (row, *others) = mini_pilots.paired(tmp_path / 'base', tmp_path / 'other')
  assert row == ['other', '24', 'loss', '5.000', '+0.500 ± 0.000']  # the mean of steps 4, 5 and 6
  assert [one[2] for one in others] == ['backbone_fape', 'distogram', 'side_chain_fape', 'plddt', 'smooth_lddt']
  (row, *_) = mini_pilots.paired(tmp_path / 'base', tmp_path / 'other', after=8)  # steps 5 and 6, of 3 to 6
  assert row[3] == '5.500'
  text = (tmp_path / 'base' / watch.METRICS).read_text().replace('loss_smooth_lddt', 'loss_of_another_name')
  (tmp_path / 'base' / watch.METRICS).write_text(text)
  assert len(mini_pilots.paired(tmp_path / 'base', tmp_path / 'other')) == 5
