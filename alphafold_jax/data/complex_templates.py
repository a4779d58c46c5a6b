# SPDX-License-Identifier: Apache-2.0
"""A structure of several chains as one template of a complex, which also says how the chains lie beside one another.

Templates of single chains say nothing of that: networks of complexes hide what two chains of a template would say of
each other, unless both are of one structure (`schema.Templates.structure_id`).
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alphafold_jax import schema
from alphafold_jax.choices import MAX_TEMPLATES
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import align
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.structures import Chain, read_chains
from alphafold_jax.data.templates import MIN_COVERAGE, MIN_IDENTITY, Template, stack_templates, template_from_chain
from alphafold_jax.errors import InputError


class PlacedComplex(NamedTuple):
  """A structure on the chains of a complex."""

  name: str
  templates: tuple[Template | None, ...]  # one for each chain of the complex; None: the structure has none for it

  @property
  def num_res(self) -> int:
    """Residues of the complex that have a CA atom in the structure."""
    return sum(round(one.coverage * len(one.aatype)) for one in self.templates if one is not None)


def place_complex(chains: Chains, path: str | Path) -> PlacedComplex:
  """Finds for each chain of a complex one of a structure, by sequence.

  The most alike pair goes first; among equals, such as copies, chains go in the order of both.

  Args:
    chains: the complex.
    path: PDB or mmCIF, also .gz.

  Raises:
    InputError: the file cannot be read, or has no two chains for the complex.
  """
  found = list(read_chains(path).values())
  candidates = sorted(_candidates(chains, found, Path(path)), key=lambda one: -one[2].identity * one[2].coverage)
  placed: dict[int, Template] = {}
  taken: set[int] = set()
  for index, theirs, template in candidates:
    if index not in placed and theirs not in taken:
      placed[index] = template
      taken.add(theirs)
  if len(placed) < 2:
    raise InputError(
      f'{path}: of its chains ({", ".join(chain.id for chain in found)}) {len(placed)} can stand for a chain of the '
      f'complex; at least two must, with {MIN_IDENTITY:.0%} of the aligned residues alike'
    )
  return PlacedComplex(Path(path).name.split('.')[0], tuple(placed.get(index) for index in range(len(chains))))


def _candidates(chains: Chains, found: Sequence[Chain], path: Path) -> Iterator[tuple[int, int, Template]]:
  """The chains of a structure that can stand for a chain of the complex: both places, and the template."""
  aligned: dict[tuple[str, int], Template | None] = {}
  for (index, sequence), (theirs, chain) in itertools.product(enumerate(chains.sequences), enumerate(found)):
    if (sequence, theirs) not in aligned:
      aligned[sequence, theirs] = _template(sequence, chain, path)
    if (template := aligned[sequence, theirs]) is not None:
      yield index, theirs, template


def _template(sequence: str, chain: Chain, path: Path) -> Template | None:
  """A chain on a sequence; None if it is another protein."""
  try:
    name = f'{path.name.split(".")[0]}_{chain.id}'
    template = template_from_chain(sequence, chain, align(sequence, chain.sequence), name=name, source=str(path))
  except InputError:
    return None
  return template if template.identity >= MIN_IDENTITY and template.coverage >= MIN_COVERAGE else None


def stack_complexes(
  chains: Chains, placed: Sequence[PlacedComplex], num_templates: int = MAX_TEMPLATES
) -> schema.Templates:
  """The batch's field: each structure in a slot, its chains in common coordinates.

  Args:
    chains: the complex.
    placed: the structures, best first.
    num_templates: slots.

  Raises:
    InputError: there are none, or too many.
  """
  stacked = stack_templates([_over_all(chains, one) for one in placed], num_templates)
  structure_id = np.zeros((num_templates, chains.num_res), np.int32)  # all of a slot are of one structure
  return dataclasses.replace(stacked, structure_id=structure_id)


def _over_all(chains: Chains, placed: PlacedComplex) -> Template:
  """One template over the residues of all chains."""
  some = next(one for one in placed.templates if one is not None)
  aatype = np.full(chains.num_res, residues.RESTYPE_INDEX['A'], np.int32)  # where there is no chain, alanine
  positions = np.zeros((chains.num_res, *some.atom_positions.shape[1:]), np.float32)
  mask = np.zeros((chains.num_res, *some.atom_mask.shape[1:]), np.float32)
  for span, template in zip(chains.spans, placed.templates, strict=True):
    if template is not None:
      aatype[span], positions[span], mask[span] = template.aatype, template.atom_positions, template.atom_mask
  return dataclasses.replace(
    some, name=placed.name, aatype=aatype, atom_positions=positions, atom_mask=mask, residue_map={}, notes=()
  )
