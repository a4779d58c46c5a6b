# SPDX-License-Identifier: Apache-2.0
"""Restrained minimisation, in rounds that free the residues with violations from their restraints (Suppl. 1.8.6).

A round ends with the geometry counted as the published program counts it; the residues that are out of it are free in
the next. The others are held where this round left them.
N residues of the start, M atoms of the force field.
"""

import copy
import dataclasses
import functools
import random
import time
from collections.abc import Collection
from typing import Any

import numpy as np

from alphafold_jax.errors import NumericalError
from alphafold_jax.geometry.violations import violating_residues
from alphafold_jax.one_line import one_line
from alphafold_jax.relaxation import preparing
from alphafold_jax.relaxation.preparing import Molecule
from alphafold_jax.relaxation.protocols import Protocol
from alphafold_jax.relaxation.starting import Start

KCAL = 4.184  # kJ
_GROUP = 31  # of the restraints among OpenMM's groups of forces
_SEED = 0  # of where hydrogens begin, which OpenMM draws from Python's generator
ATTEMPTS = 3  # with hydrogens that begin elsewhere
_SOLVENT_TOLERANCE = 1.5  # kcal/mol/Å, at which the minimisation in the solvent ends, which begins at a minimum without
_SOLVENT_STEPS = 20  # of it: OBC2 makes an evaluation many times as long


@dataclasses.dataclass(frozen=True)
class Round:
  """How one round went; energies in kcal/mol."""

  energy_before: float
  energy_after: float  # with that of the restraints, as the published program has it
  restraint_energy: float
  freed: int  # residues without restraints
  violating: int  # residues with violations after it
  rmsd: float  # Å, of the restrained atoms against their places
  attempts: int
  seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Minimised:
  """A relaxed structure."""

  molecule: Molecule
  positions: np.ndarray  # [M, 3] nm
  heavy: np.ndarray  # [N, 37, 3] Å
  mask: np.ndarray  # [N, 37] bool
  violating: np.ndarray  # [N] bool
  rounds: tuple[Round, ...]

  __repr__ = one_line


def minimise(start: Start, protocol: Protocol, platform: Any) -> Minimised:
  """Relaxes a structure on one of OpenMM's platforms.

  Raises:
    NumericalError: energies were not finite or rose, whatever the hydrogens.
    openmm.OpenMMException: the platform failed.
  """
  random.seed(_SEED)
  heavy, mask, freed = start.positions, start.mask, np.zeros(len(start), bool)
  molecule = preparing.molecule_of(start, heavy, mask, platform)
  positions, added = molecule.positions, molecule.added
  rounds: list[Round] = []
  while not rounds or (rounds[-1].violating and len(rounds) < protocol.max_outer_iterations):
    began, is_last = time.monotonic(), len(rounds) + 1 >= protocol.max_outer_iterations
    molecule = dataclasses.replace(molecule, positions=positions)
    for attempt in range(ATTEMPTS):
      if attempt or (rounds and protocol.fresh_hydrogens):
        molecule = dataclasses.replace(preparing.molecule_of(start, heavy, mask, platform), added=added)
      found = _minimised(start, molecule, protocol, np.flatnonzero(freed), is_last, platform)
      if found.descended:
        break
    else:
      raise NumericalError(
        f'the energy is {found.before:.3g} kcal/mol before and {found.after:.3g} after minimisation, in {ATTEMPTS} '
        f'attempts: atoms lie on top of one another; relax a less broken model, or by another protocol'
      )
    positions = found.positions
    heavy, mask = preparing.heavy_atoms(start, molecule, positions)
    violating = _violating(start, molecule, positions)
    one = Round(found.before, found.after, found.restraint, int(freed.sum()), int(violating.sum()), found.rmsd,
                attempt + 1, time.monotonic() - began)  # fmt: skip
    rounds.append(one)
    freed = freed | violating
  return Minimised(molecule, positions, heavy, mask, violating, tuple(rounds))


def _violating(start: Start, molecule: Molecule, positions: np.ndarray) -> np.ndarray:  # [N] bool
  """The residues that are out of geometry at these positions of the molecule's atoms."""
  heavy, mask = preparing.heavy_atoms(start, molecule, positions)
  return violating_residues(start.aatype, heavy, mask, start.neighbours)


# ------------------------------------------------------------------------------------------ one minimisation


@dataclasses.dataclass(frozen=True, eq=False)
class _Found:
  before: float  # kcal/mol
  after: float
  restraint: float
  positions: np.ndarray  # [M, 3] nm
  rmsd: float  # Å
  descended: bool


def _descended(before: float, after: float) -> bool:
  """Whether minimising did what it is for; where atoms lie on top of one another numbers overflow instead."""
  return bool(np.isfinite([before, after]).all()) and after <= before + 1e-3 * abs(before)


def _minimised(
  start: Start, molecule: Molecule, protocol: Protocol, freed: Collection[int], is_last: bool, platform: Any
) -> _Found:
  """Minimises from the positions of the molecule, with springs to them but for freed residues.

  In an implicit solvent only where no round follows: one evaluation there takes as long as many without.
  """
  places = molecule.positions
  held = _held(molecule, freed) if protocol.stiffness > 0 else []

  system = _system(molecule, protocol)
  solvated = _solvated(system, molecule.topology) if protocol.implicit_solvent else None
  context = _context(system, held, places, protocol, platform)
  judge = _context(solvated, held, places, protocol, platform) if solvated else context
  before, begun = _energy(judge), _energy(context)
  for share in protocol.ramp:
    _hold(context, protocol, share)
    _descend(context, protocol.tolerance, protocol.max_iterations)
  after, ended = _positions(context), _energy(context)
  if protocol.implicit_solvent:
    judge.setPositions(after)
    if is_last or not _violating(start, molecule, after).any():
      _descend(judge, max(protocol.tolerance, _SOLVENT_TOLERANCE), _SOLVENT_STEPS)
      after = _positions(judge)
  moved = after[held] - places[held]
  rmsd = 10 * float(np.sqrt(np.mean(np.sum(moved**2, axis=-1)))) if held else 0.0
  restraint = _energy(judge, {_GROUP})
  return _Found(before, _energy(judge), restraint, after, rmsd, _descended(begun, ended))


def _context(system: Any, held: list[int], places: np.ndarray, protocol: Protocol, platform: Any) -> Any:
  """The system with all atoms at their places, and springs to these from the held ones, as stiff as they end."""
  import openmm

  system.addForce(_springs(held, places))
  context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
  context.setPositions(places)
  _hold(context, protocol, protocol.ramp[-1])
  return context


def _hold(context: Any, protocol: Protocol, share: float) -> None:
  """Sets the springs to a share of the protocol's stiffness."""
  context.setParameter('stiffness', share * protocol.stiffness * KCAL * 100)  # kJ/mol/nm²


def _positions(context: Any) -> np.ndarray:  # [M, 3] nm
  return np.array(context.getState(getPositions=True).getPositions(asNumpy=True)._value)


def _descend(context: Any, tolerance: float, max_iterations: int) -> None:
  """Minimises to a force of the tolerance, in kcal/mol/Å."""
  import openmm

  openmm.LocalEnergyMinimizer.minimize(context, tolerance * KCAL * 10, max_iterations)  # kJ/mol/nm


def _energy(context: Any, groups: set[int] | int = -1) -> float:
  """kcal/mol."""
  return context.getState(getEnergy=True, groups=groups).getPotentialEnergy()._value / KCAL


def _system(molecule: Molecule, protocol: Protocol) -> Any:
  """The force field on the molecule."""
  from openmm import app, unit

  settings: dict[str, Any] = {'constraints': app.HBonds if protocol.rigid_hydrogens else None}
  if protocol.cutoff is not None:
    settings |= {
      'nonbondedMethod': app.CutoffNonPeriodic,
      'nonbondedCutoff': protocol.cutoff * unit.angstrom,
    }
  return _force_field(protocol.force_field).createSystem(molecule.topology, **settings)


@functools.cache
def _force_field(files: tuple[str, ...]) -> Any:
  """The parameters in these files of OpenMM's, which take longer to read than to put on a small protein."""
  from openmm import app

  return app.ForceField(*files)


def _solvated(system: Any, topology: Any) -> Any:
  """The same with OBC2 as OpenMM's own force; that of implicit/obc2.xml is many times slower, since interpreted."""
  import openmm
  from openmm.app.internal import customgbforces

  system = copy.deepcopy(system)
  charges = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
  charges.setReactionFieldDielectric(1)  # the solvent screens
  solvent = openmm.GBSAOBCForce()
  for i, (radius, scale) in enumerate(customgbforces.GBSAOBC2Force.getStandardParameters(topology)):
    solvent.addParticle(charges.getParticleParameters(i)[0], radius, scale)
  solvent.setNonbondedMethod(charges.getNonbondedMethod())
  solvent.setCutoffDistance(charges.getCutoffDistance())
  system.addForce(solvent)
  return system


def _held(molecule: Molecule, freed: Collection[int]) -> list[int]:
  """The heavy atoms of residues that are not free."""
  free = set(freed)
  return [
    atom.index
    for atom in molecule.topology.atoms()
    if atom.element.symbol != 'H' and molecule.residues[atom.residue.index] not in free
  ]


def _springs(held: list[int], places: np.ndarray) -> Any:
  """A spring from each of these atoms to its place."""
  import openmm

  force = openmm.CustomExternalForce('0.5 * stiffness * ((x - a)^2 + (y - b)^2 + (z - c)^2)')
  force.addGlobalParameter('stiffness', 0.0)
  for name in 'abc':
    force.addPerParticleParameter(name)
  for i in held:
    force.addParticle(i, places[i].tolist())
  force.setForceGroup(_GROUP)
  return force
