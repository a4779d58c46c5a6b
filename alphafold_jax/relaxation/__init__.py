# SPDX-License-Identifier: Apache-2.0
"""Relaxation: hydrogens added, clashes and bent bonds eased in a force field, the fold kept by restraints.

protocols   how: the official protocol and a faster one, as numbers with their sources
engine      whether OpenMM and pdbfixer are there and can be used
relaxing    the door: structures relaxed in processes of their own, several at once, each with a time limit
worker      such a process: one structure in, one out
forms       PDB or mmCIF, by the name of a file
folder      a folder of relaxed structures: names, what is done, records
starting    a structure file as what is relaxed; what cannot be relaxed is refused with the reason
preparing   atoms that lack, and hydrogens, by pdbfixer
minimising  restraints, minimisation, rounds that free residues with violations
writing     the relaxed structure as PDB or mmCIF

OpenMM and pdbfixer (extra `relax`) are loaded in the worker alone, JAX nowhere.
"""

from alphafold_jax.relaxation.engine import check_installed
from alphafold_jax.relaxation.protocols import PROTOCOLS, Protocol, protocol
from alphafold_jax.relaxation.relaxing import MAX_SECONDS, Relaxed, RelaxPlan, relax, relax_all

__all__ = [
  'MAX_SECONDS',
  'PROTOCOLS',
  'RelaxPlan',
  'Protocol',
  'Relaxed',
  'check_installed',
  'protocol',
  'relax',
  'relax_all',
]
