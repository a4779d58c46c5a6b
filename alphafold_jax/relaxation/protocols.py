# SPDX-License-Identifier: Apache-2.0
"""How structures are relaxed: protocols as numbers with their sources, by name in PROTOCOLS."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from alphafold_jax.arguments import is_number, is_whole, wrong
from alphafold_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Protocol:
  """A way to relax; the heavy atoms of all residues but the freed ones are held where they were by springs."""

  name: str
  force_field: tuple[str, ...]  # files of OpenMM
  implicit_solvent: bool  # energies, and steps at the end of the last round, in OBC2 (Onufriev, Bashford, Case 2004)
  ramp: tuple[float, ...]  # shares of the stiffness, one minimisation after the other
  cutoff: float | None  # Å, of non-bonded terms; None: all pairs
  rigid_hydrogens: bool  # bonds to hydrogens keep their lengths
  fresh_hydrogens: bool  # placed anew in every round
  stiffness: float = 10.0  # kcal/mol/Å²; Suppl. 1.8.6
  tolerance: float = 2.39  # kcal/mol/Å, of the root mean square force at which a minimisation ends
  max_iterations: int = 2000  # of L-BFGS in a round; 0: no limit, as AlphaFold; 2000: ColabFold
  max_outer_iterations: int = 3  # rounds; each frees the residues with violations that the one before left

  @property
  def said(self) -> str:
    """Its numbers in a line: 'force field amber99sb, all pairs in vacuum; ...'."""
    fields = ' and '.join(name.removesuffix('.xml') for name in self.force_field)
    pairs = 'all pairs' if self.cutoff is None else f'pairs within {self.cutoff:g} Å'
    around = f'{pairs} in vacuum' if self.cutoff is None else f'{pairs}, beyond them the reaction field of water'
    around += ', at last the implicit solvent OBC2' if self.implicit_solvent else ''
    springs = ', then '.join(f'{share * self.stiffness:g}' for share in self.ramp)
    steps = f'at most {self.max_iterations:,} steps' if self.max_iterations else 'no limit of steps'
    return (
      f'force field {fields}, {around}; restraints of {springs} kcal/mol/Å²; to a force of '
      f'{self.tolerance:g} kcal/mol/Å, {steps}'
    )

  def __post_init__(self):
    checks = {
      'stiffness': (is_number(self.stiffness, 0), 'must be 0 kcal/mol/Å² or more'),
      'tolerance': (is_number(self.tolerance, 1e-6), 'must be more than 0 kcal/mol/Å'),
      'max_iterations': (is_whole(self.max_iterations, 0), 'must be a whole number; 0 is no limit'),
      'max_outer_iterations': (is_whole(self.max_outer_iterations, 1), 'must be a whole number, 1 or more'),
    }
    for name, (good, rule) in checks.items():
      if not good:
        raise wrong(name, getattr(self, name), rule)


# The published program (alphafold.relax.amber_minimize). It states the tolerance as an energy, and hands it to OpenMM
# as a force: 2.39 kcal/mol/Å are 100 kJ/mol/nm, ten times what OpenMM takes by itself.
OFFICIAL = Protocol(
  name='official',
  force_field=('amber99sb.xml',),  # Hornak et al. 2006, in vacuum
  implicit_solvent=False,
  ramp=(1.0,),
  cutoff=None,
  rigid_hydrogens=True,
  fresh_hydrogens=True,
)

# Amber ff14SB (Maier et al. 2015), pairs within 10 Å and beyond them the reaction field of water (OpenMM's way of a
# cut-off). Weak springs first, so that clashes give way at once; then stiff ones, which bring the atoms back. Hydrogens
# are placed once. OBC2 makes an evaluation on CPUs many times as long, so it has some steps at the end of the last
# round, and no others.
FAST = Protocol(
  name='fast',
  force_field=('amber14/protein.ff14SB.xml',),
  implicit_solvent=True,
  ramp=(0.2, 1.7),
  cutoff=10.0,
  rigid_hydrogens=False,
  fresh_hydrogens=False,
  tolerance=1.5,
  max_iterations=500,
)

PROTOCOLS = {one.name: one for one in (OFFICIAL, FAST)}


def from_json(fields: Mapping[str, Any]) -> Protocol:
  """The protocol of a record or request; JSON knows lists alone."""
  given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
  return Protocol(**given)


def protocol(name: str, **changes: Any) -> Protocol:
  """A protocol by its name, with fields changed where a value is given and not None.

  Raises:
    InputError: there is no such protocol, or a value cannot be.
  """
  fields = [field.name for field in dataclasses.fields(Protocol)]
  if unknown := [key for key in changes if key not in fields]:
    raise InputError(f'{unknown[0]}: no setting of a protocol; choose among {", ".join(fields[1:])}')
  if name not in PROTOCOLS:
    raise InputError(f'protocol={name!r}: choose one of {", ".join(PROTOCOLS)}')
  return dataclasses.replace(PROTOCOLS[name], **{key: value for key, value in changes.items() if value is not None})
