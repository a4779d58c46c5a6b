# SPDX-License-Identifier: Apache-2.0
"""A head is three edits: its module in model/heads.py, its logits in schema.py, its rule in weights/rules."""

import dataclasses

import haiku as hk
import jax
import numpy as np
import pytest
import small_network

from alphafold_jax import errors, schema
from alphafold_jax.model import alphafold, heads, layers
from alphafold_jax.weights import official


@schema.pytree
class ToyLogits(schema.Logits):
  """The edit of schema.py: whether a residue is buried."""

  buried: schema.Array = schema.array('num_res', 2)


class ToyHeads(heads.Heads):
  """The edit of model/heads.py."""

  def __call__(self, r):
    plain = super().__call__(r)
    buried = layers.Linear(2, init='zeros', name='buried')(r.single)
    return ToyLogits(**{field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}, buried=buried)


RULES = [  # the edit of weights/rules
  official.Rule(('buried_head/logits//weights',), ((24, 2),), ('heads/buried//w',)),
  official.Rule(('buried_head/logits//bias',), ((2,),), ('heads/buried//b',)),
]


@pytest.fixture
def network(monkeypatch):
  """The small network with the toy head."""
  ToyHeads.__name__ = 'Heads'
  monkeypatch.setattr(alphafold, 'Heads', ToyHeads)
  spec = small_network.make_spec(templates=None)
  alphafold.network.cache_clear()
  yield alphafold.network(spec)
  alphafold.network.cache_clear()


def test_the_network_has_its_parameters_and_gives_its_logits(network):
  batch = small_network.make_batch()
  params = jax.eval_shape(network.init, jax.random.key(0), batch)
  assert params['heads/buried']['w'].shape == (24, 2)
  outputs = jax.eval_shape(
    network.iterate,
    params,
    jax.random.key(0),
    batch,
    alphafold.Context(templates=None),
    network.initial(small_network.NUM_RES),
  )
  assert outputs.logits.buried.shape == (small_network.NUM_RES, 2)
  assert outputs.logits.distogram.shape == (small_network.NUM_RES, small_network.NUM_RES, 64)


def test_its_parameters_are_not_saved_without_a_rule_and_come_back_with_one(monkeypatch, tmp_path):
  config, rng = small_network.make_config(), np.random.default_rng(0)
  toy = {'w': rng.normal(size=(24, 2)).astype(np.float32), 'b': rng.normal(size=2).astype(np.float32)}
  params = {**small_network.params(), 'heads/buried': toy}
  with pytest.raises(errors.WeightsError, match='heads/buried//[bw]'):
    official.save_official(tmp_path / 'params.npz', params, config)

  known = official.rules
  monkeypatch.setattr(official, 'rules', lambda config: [*known(config), *RULES])
  official.save_official(tmp_path / 'params.npz', params, config)
  again = official.load_official(tmp_path / 'params.npz', config)
  assert hk.data_structures.tree_size(again) == hk.data_structures.tree_size(params)
  np.testing.assert_array_equal(again['heads/buried']['w'], toy['w'])
