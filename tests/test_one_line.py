# SPDX-License-Identifier: Apache-2.0
"""Whatever holds arrays is shown in one short line: what a notebook prints of it, and a log or an error."""

import dataclasses
import importlib
import pkgutil
import re

import jax
import numpy as np
import pytest

import alphafold_jax as afj
from alphafold_jax import fields, schema
from alphafold_jax.one_line import brief

_HOLDS_ARRAYS = re.compile(r'\b(ndarray|Array|Params|Batch|Alignment)\b')
_BIG = np.zeros((300, 37, 3), np.float32)


def classes() -> dict[str, type]:
  """Every public dataclass and named tuple of the package with a field of arrays, by its name."""
  found = {}
  for info in pkgutil.walk_packages(afj.__path__, 'alphafold_jax.'):
    if info.name.endswith('__main__'):
      continue
    for name, cls in vars(importlib.import_module(info.name)).items():
      annotations = [str(text) for text in getattr(cls, '__annotations__', {}).values()]
      is_public = isinstance(cls, type) and cls.__module__ == info.name and not name.startswith('_')
      holds_arrays = any(_HOLDS_ARRAYS.search(text) and 'Callable' not in text for text in annotations)
      if is_public and (dataclasses.is_dataclass(cls) or hasattr(cls, '_fields')):
        if holds_arrays or cls.__repr__ is schema.Batch.__repr__:
          found[name] = cls
  return found


def test_every_public_object_that_holds_arrays_is_shown_in_one_short_line():
  shown = {}
  for name, cls in classes().items():
    within_the_network = name.endswith(('Weights', 'Arrays')) or name == 'NearestNaming'
    if within_the_network or name in ('Model', 'PredictionRecord', 'Query'):  # these have words of their own
      continue
    if dataclasses.is_dataclass(cls):
      value = object.__new__(cls)
      for field in dataclasses.fields(cls):
        object.__setattr__(value, field.name, _BIG)
    else:
      value = cls(*[_BIG] * len(cls._fields))
    shown[name] = repr(value)
  assert {'Batch', 'Alignment', 'Confidence', 'Outputs', 'Chain', 'KeptRepresentations', 'TrainState'} <= set(shown)
  assert [name for name, text in shown.items() if '\n' in text or len(text) >= 300 or name not in text] == []


def test_a_model_is_shown_by_name_size_and_source():
  model = afj.Model('model_3_ptm', afj.config.model_config('model_3_ptm'), {'a': {'w': _BIG}}, 'random')
  assert repr(model) == "Model('model_3_ptm', 33,300 parameters from random, float32)"
  assert len(repr(dataclasses.replace(model, source='x' * 5000))) < 300


def test_an_object_of_the_schema_is_shown_by_the_sizes_of_its_axes():
  batch = afj.make_batch(afj.single_sequence('ACDEF'))
  assert repr(batch) == 'Batch(num_res=5, num_seq=1, num_templ=0)'
  assert repr(jax.eval_shape(lambda x: x, batch)) == repr(batch)  # under jit too
  assert repr(fields.filled(schema.Targets, {'num_res': 7})) == 'Targets(num_res=7)'


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    (_BIG, 'float32[300, 37, 3]'),
    (np.float32(0.5), '0.5'),
    ({'a': _BIG}, '1 entry'),
    ({'a': _BIG, 'b': _BIG}, '2 entries'),
    ([1, 2, 3, 4], 'list of 4'),
    ('two\nlines', r"'two\nlines'"),
    (None, 'None'),
    (np.float32, "<class 'numpy.float32'>"),
    (schema.Batch, "<class 'alphafold_jax.schema.Batch'>"),
  ],
)
def test_a_value_is_shown_in_a_few_characters(value, text):
  assert brief(value) == text
