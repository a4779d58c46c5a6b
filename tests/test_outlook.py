# SPDX-License-Identifier: Apache-2.0
"""What a machine that is not here will take, by estimates: `doctor --for`."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from alphafold_jax import cli, config, experiments, planning
from alphafold_jax.elsewhere import outlook, targets
from alphafold_jax.train import specs, step

GIB = 2**30
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize('name, num_devices', [('h200', 1), ('v5e:2x2', 1), ('v5e:2x2', 4)])
def test_the_longest_protein_is_the_last_that_the_planner_takes(name, num_devices):
  target, available = targets.parse(name), targets.parse(name).available()
  longest = outlook.longest_protein(target, num_devices)
  model = config.changed(config.model_config('model_1_ptm'), {'dtype': 'bfloat16'})
  work = planning._work(model, num_devices, 0, False)
  kernels = dataclasses.replace(work.spec.kernels, platform=target.platform)
  work = dataclasses.replace(work, spec=dataclasses.replace(work.spec, kernels=kernels))
  assert planning.plan(work, longest, available).needed <= available
  with pytest.raises(planning.ResourceError):
    planning.plan(work, longest + longest // 8, available)


def test_a_larger_machine_and_more_devices_take_longer_proteins():
  for names in (('t4', 'l4', 'a100-40', 'h100', 'h200'), ('v5e:2x2', 'v6e:2x2', 'v5p:2x2x1')):
    lengths = [outlook.longest_protein(targets.parse(name)) for name in names]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]
  four = targets.parse('v5e:2x2')
  assert outlook.longest_protein(four, 4) > outlook.longest_protein(four)


# ------------------------------------------------------------------------------------------ training


def test_the_state_of_a_step_is_four_fifths_of_what_it_takes_without_residues():
  """The parameters, their average and two moments; the fifth copy is the gradients'."""
  mini = experiments.experiment_config('train_mini')
  state = jax.eval_shape(lambda key: step.initial_state(specs.make_step_spec(mini), key), jax.random.key(0))
  size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
  assert size == pytest.approx(outlook.least_of_step(mini, 0) * 4 / 5, rel=1e-3)


def test_what_is_kept_between_blocks_by_hand():
  initial = experiments.experiment_config('train_initial')
  crop, empty = outlook.least_of_step(initial, 256), outlook.least_of_step(initial, 0)
  pair, msa, extra = 256 * 256 * 128 * 2, 128 * 256 * 256 * 2, 1024 * 256 * 64 * 2  # bfloat16
  assert crop - empty == 48 * (pair + msa) + 4 * (pair + extra)
  assert outlook.least_of_step(initial, 256, model_devices=2) - empty == (crop - empty) // 2


STEPS = {  # as compiled
  figure['cell']['work']: (figure['said'], 2 if 'run.model_devices=2' in figure['cell'].get('settings', ()) else 1)
  for figure in json.loads(
    (ROOT / 'tests' / 'data' / 'elsewhere' / 'figures.json').read_text(encoding='utf-8')
  ).values()
  if figure.get('said', {}).get('kind') == 'step'
}


@pytest.mark.parametrize('name', STEPS)
def test_the_least_is_less_than_what_compilers_reserve(name):
  said, model_devices = STEPS[name]
  found = outlook.recipe(name, model_devices, 16 * GIB)
  least = outlook.least_of_step(experiments.experiment_config(name), found.crop, model_devices)
  assert 0 < least < said['reserved_bytes']


def test_a_crop_above_the_largest_does_not_fit():
  available = 16 * GIB
  found = outlook.recipe('train_finetune', 1, available)
  finetune = experiments.experiment_config('train_finetune')
  assert found.crop == 384 and found.least <= available
  assert (
    outlook.least_of_step(finetune, found.largest) <= available < outlook.least_of_step(finetune, found.largest + 8)
  )
  assert 'DOES NOT FIT' in outlook.recipe('train_finetune', 1, 8 * GIB).line(8 * GIB)


def test_recipes_without_rematerialisation_have_no_largest_crop():
  assert outlook.recipe('train_mini', 1, 16 * GIB).largest is None


@pytest.mark.parametrize(
  'name, num_devices, shared', [('train_initial', 128, 1), ('train_initial', 256, 2), ('train_mini', 256, None)]
)
def test_devices_share_an_example_where_they_are_more_than_the_batch(name, num_devices, shared):
  assert outlook.recipe(name, num_devices, 16 * GIB).model_devices == shared


@pytest.mark.parametrize('name, num_devices, batch', [('train_initial', 15, 135), ('train_mini', 256, 256)])
def test_a_batch_that_does_not_divide_is_named_with_one_that_does(name, num_devices, batch):
  found = outlook.recipe(name, num_devices, 16 * GIB)
  said = found.line(16 * GIB)
  assert f'its batch of {found.batch_size} does not divide among {num_devices} devices' in said
  assert said.endswith(f'give --config step.batch_size={batch}')


def test_no_recipe_is_named_where_none_divides():
  shown = outlook.describe(targets.parse('h200:13'))
  assert shown.count('does not divide among 13 devices') == 4 and '--experiment' not in shown


def test_the_command_that_is_named_is_of_a_step_that_its_devices_can_share():
  last = outlook.describe(targets.parse('v5e:16x16')).splitlines()[-1]
  assert last.endswith('--for v5e:16x16 --experiment train_initial --config run.model_devices=2')
  assert outlook.describe(targets.parse('h200:8')).endswith('--for h200:8 --experiment train_initial')


# ------------------------------------------------------------------------------------------ what is printed


@pytest.mark.parametrize(
  'name, of_host',
  [('h200:8', 8), ('v5e:1x1', 1), ('v5e:2x4', 8), ('v5e:4x4', 4), ('v4:2x2x1', 4), ('v4:2x2x2', 4), ('v6e:16x16', 4)],
)
def test_devices_of_a_host(name, of_host):
  assert outlook.devices_of_host(targets.parse(name)) == of_host


def test_doctor_says_what_a_machine_will_take(capsys):
  assert cli.main(['doctor', '--for', 'v5e:4x4']) == 0
  shown = capsys.readouterr().out
  assert shown.startswith('v5e:4x4: 16 x v5e, 16.0 GiB') and 'estimated: neither compiled nor measured' in shown
  lengths = [int(found.replace(',', '')) for found in re.findall(r'about +([\d,]+) residues on', shown)]
  assert len(lengths) == 2 and lengths == sorted(lengths)  # no more devices than a host has share a protein
  assert '4 devices of a host that share it (--devices 4)' in shown
  assert re.search(r'train_initial +crops of 256, at least 3\.\d GiB: may fit; a crop above \d+ does not', shown)
  assert 'alphafold-jax compile --for v5e:4x4 --experiment train_initial' in shown


def test_the_page_shows_what_is_printed(capsys):
  page = (ROOT / 'docs' / 'elsewhere.md').read_text(encoding='utf-8')
  command, shown = re.search(r'\n\$ alphafold-jax (doctor [^\n]*)\n(.*?)```', page, re.DOTALL).groups()
  assert cli.main(command.split()) == 0
  assert capsys.readouterr().out == shown, f'put what {command!r} prints into docs/elsewhere.md'


def test_one_device_is_said_once(capsys):
  assert cli.main(['doctor', '--for', 'h200']) == 0
  assert capsys.readouterr().out.count('residues on') == 1


@pytest.mark.parametrize(
  'words, message',
  [
    (['--for', 'h2000'], 'did you mean h200'),
    (['--for', 'v5e'], 'v5e: its topology has no size'),
    (['--for', 'h200', '--data', 'here'], '--data: of this machine'),
  ],
)
def test_a_wrong_command_is_refused(words, message, capsys):
  assert cli.main(['doctor', *words]) == 2
  assert message in capsys.readouterr().err


def test_no_device_is_looked_for():
  code = (
    'import jax; from alphafold_jax import cli; '
    'jax.devices = jax.local_devices = jax.default_backend = lambda *_: 1 / 0; '
    "assert cli.main(['doctor', '--for', 'v5e:2x2']) == 0; "
    'from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()'
  )
  subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, timeout=120)
