# SPDX-License-Identifier: Apache-2.0
"""Recordings of another program: the features of every pass, and what the last pass gave. Loads without JAX.

The features are those after sampling: rows are chosen, masked and clustered. What passes recycled was not recorded, so
that all passes are run. recordings/SOURCE.txt says where those that ship come from.
"""

import dataclasses
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from importlib import resources

import numpy as np

from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

SHIPPED = ('6A5J', '5AWL_1')
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
_FEATURES = (
  'aatype residue_index seq_mask msa_mask bert_mask true_msa msa_feat target_feat '
  'extra_msa extra_msa_mask extra_has_deletion extra_deletion_value'
).split()


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
  """One protein, as another program had it; arrays under that program's names.

  `features` have the pass as first axis. Rows of the alignment that no pass shows are left out: they change nothing.
  """

  name: str
  features: Mapping[str, np.ndarray]
  outputs: Mapping[str, np.ndarray]  # of the last pass

  __repr__ = one_line

  @property
  def num_pass(self) -> int:
    return len(self.features['aatype'])

  @property
  def num_rows(self) -> int:
    """How many alignment rows there are."""
    return self.features['msa_mask'].shape[1]


def make(name: str, features: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Recording:
  """A recording without the alignment rows that no pass shows; of each alignment at least one row stays."""
  features = {key: np.asarray(features[key]) for key in _FEATURES}
  for mask, keys in {
    'msa_mask': ('msa_mask', 'bert_mask', 'true_msa', 'msa_feat'),
    'extra_msa_mask': ('extra_msa_mask', 'extra_msa', 'extra_has_deletion', 'extra_deletion_value'),
  }.items():
    shown = np.nonzero(features[mask].any(axis=(0, 2)))[0]
    num_rows = max(1, int(shown.max(initial=-1)) + 1)
    features |= {key: features[key][:, :num_rows] for key in keys}
  return Recording(name, features, dict(outputs))


def read(folder: pathlib.Path, name: str) -> Recording:
  """Reads NAME_feat.npz and NAME_pred.npz.

  Raises:
    InputError: a file is missing or damaged, or lacks an array.
  """
  both = []
  for path in (folder / f'{name}_feat.npz', folder / f'{name}_pred.npz'):
    try:
      with np.load(path) as file:
        both.append(dict(file))
    except _BROKEN as error:
      raise InputError(f'{path}: this recording cannot be read ({error}); install the program anew') from error
  try:
    return make(name, *both)
  except KeyError as error:
    raise InputError(f'{folder / name}_feat.npz: without the array {error}; install the program anew') from None


def shipped() -> list[Recording]:
  """The recordings in this package."""
  folder = pathlib.Path(str(resources.files(__package__).joinpath('recordings')))
  return [read(folder, name) for name in SHIPPED]
