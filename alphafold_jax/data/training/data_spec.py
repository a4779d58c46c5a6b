# SPDX-License-Identifier: Apache-2.0
"""The section `data` of an experiment: sizes of training examples, filters, and probabilities."""

import dataclasses

from alphafold_jax.errors import InputError

_SIZES = ('crop_size', 'num_rows', 'length_floor', 'length_cap', 'max_chains')
_SHARES = (
  'deletion_block_fraction',
  'single_sequence_fraction',
  'couplings_fraction',
  'clamped_fraction',
  'max_single_residue',
  'alignment_fraction',
  'distillation_fraction',
  'template_drop_fraction',
  'complex_fraction',
  'spatial_fraction',
)


@dataclasses.dataclass(frozen=True)
class DataSpec:
  """The sizes of an example, and the filters and probabilities by which chains and rows are drawn."""

  crop_size: int = 256  # Suppl. Table 4
  num_rows: int = 1152  # Suppl. Table 4: 128 clusters and 1,024 extra rows
  num_templates: int = 4  # Suppl. 1.2.3
  template_identity_caps: tuple[float, ...] = (1.0,)  # each example draws one; chains more alike are hidden
  template_drop_fraction: float = 0.0  # share of examples shown without templates; the paper has none
  fewest_templates: int = 0  # drawn for the others, where there are so many; Suppl. 1.2.3
  validation_templates: int = 0  # shown to a validation chain, the best of its hits; 0: none
  num_deletion_blocks: int = 5  # Suppl. 1.2.6
  deletion_block_fraction: float = 0.3  # Suppl. 1.2.6
  single_sequence_fraction: float = 0.0  # share of examples shown without their alignment; the paper has none
  couplings_fraction: float = 0.0  # share of the others shown with couplings, where there are any; not in the paper
  clamped_fraction: float = 0.9  # Suppl. 1.9.2, of mini-batches
  max_resolution: float = 9.0  # Å, Suppl. 1.2.5; unknown resolutions pass
  max_single_residue: float = 0.8  # Suppl. 1.2.5
  length_floor: int = 256  # Suppl. 1.2.5
  length_cap: int = 512  # Suppl. 1.2.5
  alignment_fraction: float = 0.0  # at least this share is drawn from chains with an alignment; not in the paper
  distillation_fraction: float = 0.0  # Suppl. 1.3: 0.75 with a set of predicted structures
  min_confidence: float = 50.0  # pLDDT, Suppl. 1.3: residues below it are masked in the target
  complex_fraction: float = 0.0  # share of the experimental examples that are complexes; 0: no example has copies
  max_chains: int = 20  # of a complex, technical note 2.3.0 of AlphaFold-Multimer
  spatial_fraction: float = 0.5  # share of the crops of complexes around an interface, technical note 2.3.0
  interface_distance: float = 10.0  # Å between CA atoms of two chains at an interface; Uni-Fold

  def __post_init__(self):
    for name in _SIZES:
      if (value := getattr(self, name)) < 1:
        raise InputError(f'data.{name} is {value}; expected a whole number above 0')
    for name in _SHARES:
      if not 0 <= (value := getattr(self, name)) <= 1:
        raise InputError(f'data.{name} is {value}; expected a share from 0 to 1')
    if self.fewest_templates < 0:
      raise InputError(f'data.fewest_templates is {self.fewest_templates}; expected a number of templates, 0 or more')
    object.__setattr__(self, 'template_identity_caps', tuple(self.template_identity_caps))  # a file has a list
    if not self.template_identity_caps or not all(0 <= cap <= 1 for cap in self.template_identity_caps):
      caps = tuple(self.template_identity_caps)
      raise InputError(f'data.template_identity_caps is {caps}; expected shares from 0 to 1, at least one')
