# SPDX-License-Identifier: Apache-2.0
"""The peer: DeepMind's network as packaged in alphafold-colabfold, at its best settings, on our parameters."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import turns


def oracle() -> Any:
  """tests/oracle.py, which runs the official program; needs alphafold-colabfold."""
  sys.path.insert(0, str(turns.ROOT / 'tests'))
  import oracle

  return oracle


def oracle_of_complexes() -> Any:
  """tests/oracle_complexes.py, which runs the official network of complexes; needs alphafold-colabfold."""
  oracle()
  import oracle_complexes

  return oracle_complexes


def random_inputs() -> Any:
  """tests/random_inputs.py, which makes what both programs are fed."""
  sys.path.insert(0, str(turns.ROOT / 'tests'))
  import random_inputs

  return random_inputs


def fused(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Published arrays with the left and right projections of triangle multiplications side by side, as it is faster."""
  renamed = {}
  for name, array in arrays.items():
    if 'triangle_multiplication' not in name:
      renamed[name] = array
    elif '/left_projection//' in name or '/left_gate//' in name:
      new = name.replace('/left_projection//', '/projection//').replace('/left_gate//', '/gate//')
      renamed[new] = np.concatenate([array, arrays[name.replace('/left_', '/right_')]], axis=-1)
    elif '/right_' not in name:
      renamed[
        name.replace('/layer_norm_input//', '/left_norm_input//').replace('/center_layer_norm//', '/center_norm//')
      ] = array
  return renamed
