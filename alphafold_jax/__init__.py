# SPDX-License-Identifier: Apache-2.0
"""AlphaFold 2 in JAX: predict protein structures, and train the network that does.

    import alphafold_jax as afj

    model = afj.load_model('model_3_ptm', params='path/to/params')
    for query in afj.read_queries('alignments/'):
      afj.predict(model, query, num_recycle=3, seed=0).save('out/')

Names are loaded when first used, so that `alphafold-jax --help` does not wait for JAX.
"""

import importlib
from typing import Any

from alphafold_jax import machine as _machine  # noqa: F401 (from now on it sees whether this process is forked)
from alphafold_jax.version import __version__

_WHERE = {  # public name -> its module, and its name there where that is another
  'AlphaFoldError': 'errors',
  'InputError': 'errors',
  'NumericalError': 'errors',
  'ResourceError': 'errors',
  'SearchError': 'errors',
  'TransferError': 'errors',
  'WeightsError': 'errors',
  'Model': 'models',
  'Prediction': 'prediction',
  'Settings': 'prediction',
  'load_model': 'models',
  'make_batch': 'prediction:as_batch',
  'predict': 'prediction',
  'predict_together': 'together',
  'Relaxed': 'relaxation',
  'relax': 'relaxation',
  'Alignment': 'data.alignment',
  'Query': 'data.queries',
  'read_queries': 'data.queries',
  'report': 'output.page',
  'single_sequence': 'data.query',
  'with_sequence': 'data.soft_sequence',
  'trim': 'trimming',
}
_MODULES = (
  'coevolution',
  'config',
  'confidence',
  'data',
  'evaluation',
  'experiments',
  'geometry',
  'losses',
  'model',
  'ops',
  'output',
  'relaxation',
  'schema',
  'search',
  'train',
  'trimming',
  'weights',
)

__all__ = ['__version__', *_MODULES, *_WHERE]


def __getattr__(name: str) -> Any:
  if name in _WHERE:
    module, _, attribute = _WHERE[name].partition(':')
    value = getattr(importlib.import_module(f'alphafold_jax.{module}'), attribute or name)
  elif name in _MODULES:
    value = importlib.import_module(f'alphafold_jax.{name}')
  else:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted(__all__)
