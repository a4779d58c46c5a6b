# SPDX-License-Identifier: Apache-2.0
"""Losses of impossible geometry: bonds between residues, distances within them, and clashes (Suppl. 1.9.11).

They depend on the prediction alone; only deviations beyond a generous tolerance count. Atoms [N_res, 14] in Å.
Small numbers in the roots keep gradients finite where atoms coincide, as all residues do in an untrained network.
"""

import functools

import jax
import jax.numpy as jnp

from alphafold_jax.constants import residues, stereochemistry
from alphafold_jax.schema import Array

_N, _CA, _C = range(3)  # columns of atom14
_SG = residues.ATOM14_NAMES[residues.RESTYPE_INDEX['C']].index('SG')
_PROLINE = residues.RESTYPE_INDEX['P']
_MEAN_EPSILON = 1e-6  # added to divisors

# Departs from the paper: the published program takes the standard deviation of the bond length for the cosine at C,
# less than half of the cosine's own (stereochemistry.COS_CA_C_N). `corrected` losses take that one.
COS_CA_C_N_DEVIATION = stereochemistry.PEPTIDE_BOND[1]


def violation_loss(
  atoms: Array,
  atoms_mask: Array,
  aatype: Array,
  residue_index: Array,
  asym_id: Array,
  corrected: bool = False,
  average_clashes: bool = False,
  bond_tolerance: float = stereochemistry.TOLERATED_DEVIATIONS,
) -> jax.Array:
  """The sum of the losses of peptide bonds, clashes and distances within residues: Suppl. 1.9.11.

  Args:
    atoms: [N_res, 14, 3] Å, predicted
    atoms_mask: [N_res, 14] atoms that exist
    aatype, residue_index, asym_id: [N_res]
    corrected: without the slips of the published program: bonds within chains only, the cosine at C by its own
      deviation, and clashes of chains at equal residue indices as well
    average_clashes: an atom with many clashes counts their mean, not their sum (Evans et al. 2021, as of 2022)
    bond_tolerance: standard deviations by which a peptide bond's length and cosines may be off
  """
  num_atoms = jnp.sum(atoms_mask)
  clashes = clash_loss(atoms, atoms_mask, aatype, residue_index, asym_id, corrected, average_clashes)
  per_atom = clashes + within_residue_loss(atoms, atoms_mask, aatype)
  bonds_of = functools.partial(peptide_bond_loss, atoms, atoms_mask, aatype, residue_index, tolerance=bond_tolerance)
  bonds = bonds_of(stereochemistry.COS_CA_C_N[1], asym_id) if corrected else bonds_of()
  return bonds + per_atom / (_MEAN_EPSILON + num_atoms)


def peptide_bond_loss(
  atoms: Array,
  atoms_mask: Array,
  aatype: Array,
  residue_index: Array,
  cos_ca_c_n_deviation: float = COS_CA_C_N_DEVIATION,
  asym_id: Array | None = None,
  tolerance: float = stereochemistry.TOLERATED_DEVIATIONS,
) -> jax.Array:
  """The excess of peptide bond lengths (Å) and of the cosines at their ends over some standard deviations: a scalar.

  Residues count as bonded where the index grows by one, so a gap in a chain costs nothing. Arguments as in
  `violation_loss`; `cos_ca_c_n_deviation` is the standard deviation of the cosine at C. With `asym_id` only residues of
  one chain are bonded: in a crop one chain may end at an index and another begin at the next. The standard deviations
  are `tolerance`, 12 in the paper.
  """
  ca, c = atoms[:-1, _CA], atoms[:-1, _C]
  next_n, next_ca = atoms[1:, _N], atoms[1:, _CA]
  has_ca, has_c = atoms_mask[:-1, _CA], atoms_mask[:-1, _C]
  has_next_n, has_next_ca = atoms_mask[1:, _N], atoms_mask[1:, _CA]
  bonded = (residue_index[1:] - residue_index[:-1] == 1) * has_c * has_next_n
  if asym_id is not None:
    bonded *= asym_id[1:] == asym_id[:-1]

  proline = (aatype[1:] == _PROLINE)[:, None]
  ideal = jnp.where(proline, jnp.array(stereochemistry.PEPTIDE_BOND_PROLINE), jnp.array(stereochemistry.PEPTIDE_BOND))
  bond, length = _unit(next_n - c)
  to_ca, _ = _unit(ca - c)
  to_next_ca, _ = _unit(next_ca - next_n)
  cos_at_c = jnp.sum(to_ca * bond, axis=-1)
  cos_at_n = -jnp.sum(bond * to_next_ca, axis=-1)
  return (
    _excess(length, ideal[:, 0], tolerance * ideal[:, 1], bonded)
    + _excess(cos_at_c, stereochemistry.COS_CA_C_N[0], tolerance * cos_ca_c_n_deviation, bonded * has_ca)
    + _excess(cos_at_n, stereochemistry.COS_C_N_CA[0], tolerance * stereochemistry.COS_C_N_CA[1], bonded * has_next_ca)
  )


def _unit(vector: Array) -> tuple[jax.Array, jax.Array]:
  """Direction and length."""
  length = jnp.sqrt(1e-6 + jnp.sum(jnp.square(vector), axis=-1))
  return vector / length[..., None], length


def _excess(values: Array, mean: Array, tolerated: Array, mask: Array) -> jax.Array:
  """Mean over the mask of how far values lie beyond what is tolerated around the mean."""
  off = jnp.sqrt(1e-6 + jnp.square(values - mean))
  beyond = jax.nn.relu(off - tolerated)
  return jnp.sum(mask * beyond) / (_MEAN_EPSILON + jnp.sum(mask))


def clash_loss(
  atoms: Array,
  atoms_mask: Array,
  aatype: Array,
  residue_index: Array,
  asym_id: Array,
  corrected: bool = False,
  average: bool = False,
) -> jax.Array:
  """The overlap beyond 1.5 Å of van der Waals spheres of different residues, summed over all atoms, in Å.

  Peptide bonds are exempt. Residues of equal index are not compared, even if they are of different chains, unless
  `corrected`. With `average` an atom counts the mean of its overlaps instead of their sum.

  Departs from the paper, as the published program does: it exempts disulphide bonds by the atom14 column of SG, which
  in other residue types holds other atoms.
  """
  radius = (jnp.asarray(stereochemistry.ATOM14_RADIUS)[aatype] * atoms_mask).T  # [14, N_res]
  mask = jnp.asarray(atoms_mask).T
  x, y, z = jnp.moveaxis(atoms, (2, 1), (0, 1))  # each [14, N_res]
  first = residue_index[:, None] < residue_index  # each pair of residues once
  if corrected:
    first = jnp.where(asym_id[:, None] == asym_id, first, asym_id[:, None] < asym_id)
  before = first.astype(jnp.float32)
  follows = (residue_index[:, None] + 1 == residue_index) & (asym_id[:, None] == asym_id)
  numbers = jnp.arange(14)[:, None, None]

  # One column of first atoms at a time, and distances computed anew for the gradient: at most N x 14 N are held.
  @functools.partial(jax.checkpoint, prevent_cse=False)
  def of_column(column):
    number, (x_i, y_i, z_i), mask_i, radius_i = column
    is_peptide, is_disulphide = (number == _C) & (numbers == _N), (number == _SG) & (numbers == _SG)  # [14, 1, 1]
    counted = jnp.where(is_disulphide | (is_peptide & follows), 0, before)  # [14, N_res, N_res]
    counted *= mask_i[:, None] * mask[:, None]
    squares = sum(jnp.square(i[:, None] - j[:, None]) for i, j in ((x_i, x), (y_i, y), (z_i, z)))
    overlap = radius_i[:, None] + radius[:, None] - stereochemistry.TOLERATED_OVERLAP - jnp.sqrt(1e-10 + squares)
    overlap = counted * jax.nn.relu(overlap)
    return _of_each_atom(overlap) if average else jnp.sum(overlap)

  columns = (jnp.arange(14), jnp.stack([x, y, z], axis=1), mask, radius)
  found = jax.lax.map(of_column, columns)
  if not average:
    return 2 * jnp.sum(found)  # a pair is an overlap of both its atoms
  of_first, of_second = found  # [14, 2, N_res], [14, 2, 14, N_res]
  overlaps, counts = jnp.moveaxis(of_first, 1, 0) + jnp.sum(of_second, axis=0)  # each [14, N_res]
  return jnp.sum(overlaps / jnp.maximum(counts, 1))


def _of_each_atom(overlap: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The sum and number of overlaps [14, N_res, N_res] of first atoms [2, N_res], and of second ones [2, 14, N_res]."""
  both = jnp.stack([overlap, jax.lax.stop_gradient((overlap > 0).astype(overlap.dtype))])
  return jnp.sum(both, axis=(1, 3)), jnp.sum(both, axis=2)


def within_residue_loss(atoms: Array, atoms_mask: Array, aatype: Array) -> jax.Array:
  """How far distances within residues are out of bounds, summed over all atoms, in Å; each pair counts twice."""
  lower, upper = jnp.asarray(stereochemistry.LOWER_BOUND)[aatype], jnp.asarray(stereochemistry.UPPER_BOUND)[aatype]
  pairs = atoms_mask[:, :, None] * atoms_mask[:, None] * (1 - jnp.eye(14))
  distance = jnp.sqrt(1e-10 + jnp.sum(jnp.square(atoms[:, :, None] - atoms[:, None]), axis=-1))
  beyond = jax.nn.relu(lower - distance) + jax.nn.relu(distance - upper)
  return 2 * jnp.sum(pairs * beyond)
