# SPDX-License-Identifier: Apache-2.0
"""The alignments of a complex as named arrays, as a file of features keeps them beside what was made of them."""

import json
from collections.abc import Mapping

import numpy as np

from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.complexes.alignments import ComplexAlignment
from alphafold_jax.errors import InputError

_ABOUT = 'about'  # JSON as bytes: all that is no array
_KINDS = ('unpaired', 'paired')


def to_arrays(alignment: ComplexAlignment) -> dict[str, np.ndarray]:
  """Everything that an alignment says, by name: tokens and deletions of each chain [num_seq, num_res], and a header."""
  arrays, names = {}, {}
  for kind in _KINDS:
    rows: tuple[Alignment, ...] = getattr(alignment, kind)
    names[kind] = [one.names for one in rows]
    for index, one in enumerate(rows):
      arrays[f'{kind}.{index}.tokens'] = np.asarray(one.tokens, np.int8)
      arrays[f'{kind}.{index}.deletions'] = np.asarray(one.deletions, np.int32)
  about = {'queries': alignment.queries, 'names': names, 'drop_repeats': alignment.drop_repeats}
  return arrays | {_ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)}


def from_arrays(arrays: Mapping[str, np.ndarray], source: str) -> ComplexAlignment:
  """The alignment that `to_arrays` was given; notes on how it was read are left out.

  Raises:
    InputError: an array is missing or does not fit the others; the message names `source`.
  """
  try:
    about = json.loads(arrays[_ABOUT].tobytes())
    kinds = {
      kind: tuple(
        Alignment(
          names=tuple(about['names'][kind][index]),
          tokens=arrays[f'{kind}.{index}.tokens'].astype(np.int32),
          deletions=arrays[f'{kind}.{index}.deletions'].astype(np.int32),
          query=query,
        )
        for index, query in enumerate(about['queries'])
      )
      for kind in _KINDS
    }
    found = ComplexAlignment(kinds['unpaired'], kinds['paired'], drop_repeats=bool(about['drop_repeats']))
  except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, InputError) as error:
    raise InputError(f'{source}: its alignments of chains are damaged ({error}); make the features again') from None
  for one in (*found.unpaired, *found.paired):
    shape = len(one.names), len(one.query)
    are_names = all(isinstance(name, str) for name in one.names)
    if not are_names or one.tokens.shape != shape or one.deletions.shape != shape:
      raise InputError(f'{source}: its alignments of chains do not fit together; make the features again')
  return found
