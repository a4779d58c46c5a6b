# SPDX-License-Identifier: Apache-2.0
"""Names of residues and atoms as programs write them, and the residue types and columns that they mean.

Sources: the wwPDB's component dictionary (as Biopython tabulates it: a modified residue has its parent's letter), and
the force fields of Amber, CHARMM, GROMACS, OPLS and Maestro, which name protonation states and chain ends; Glycam's
names of residues that carry a sugar; CYANA's of charged ones.
"""

import functools
import re
from collections.abc import Container

import gemmi
from Bio.Data.PDBData import protein_letters_3to1_extended

from alphafold_jax.constants import residues

_COMPONENTS = {
  **{name.strip(): letter for name, letter in protein_letters_3to1_extended.items()},
  **{'UNK': 'X', 'ASX': 'B', 'GLX': 'Z', 'SEC': 'U', 'PYL': 'O'},
}
_OF_PROGRAMS = {  # letter: names; a name here counts before the component dictionary's meaning of it
  'C': 'CYX CYM CYN CYSH CYSD CYSM CYSS CYS1 CYS2',
  'D': 'ASH ASPP ASPH AS4 ASP-',
  'E': 'GLH GLUP GLUH GL4 GLU-',
  'H': 'HIE HID HIP HSD HSE HSP HISA HISB HISD HISE HISH HISP HIST HIS1 HIS2 HIS+ H1D H1E H2D H2E',
  'K': 'LYN LSN LYP LYSH LYSN LYS+',
  'P': 'TPRO OLP',
  'Q': 'QLN PGLU',
  'R': 'ARN AR0 ARGN ARG+',
  'S': 'S1P S2P SERD OLS',
  'T': 'T1P T2P OLT',
  'Y': 'TYM TYO TYRM TYRD Y1P Y2P',
}
_ALIASES = {name: letter for letter, names in _OF_PROGRAMS.items() for name in names.split()}
_ENDS = 'NC'  # Amber's NALA and CALA are the first and the last residue of a chain
_WITH_ATOM = {  # (name, atom): what the name means for a residue that has the atom
  ('HSE', 'OD'): 'S',  # CHARMM's histidine, but in the component dictionary homoserine
  ('CYT', 'SG'): 'C',  # Maestro's thiolate, but CHARMM's cytosine
  ('NLN', 'OD1'): 'N',  # Glycam's asparagine, but in the component dictionary norleucine's amide
  ('H1S', 'ND1'): 'H',  # FoldX's histidines
  ('H2S', 'ND1'): 'H',  # but in the component dictionary hydrogen sulfide
}
_WATERS = frozenset('HOH DOD WAT H2O D2O OH2 SOL SPC SPCE TIP TIP2 TIP3 TIP4 TIP5 TP3 TP4 TP5 T3P T4P T5P W'.split())
_CAPS = frozenset('ACE NME NMA NH2 NHE FOR CT3 NAC'.split())  # at the ends of a chain
_NUCLEOTIDES = re.compile('[DR]?[ACGTU][35N]|ADE|GUA|CYT|THY|URA')  # of Amber and CHARMM

_OXYGENS = {'OT1': 'O', 'O1': 'O', 'OC1': 'O', "O'": 'O'}
_LAST_OXYGENS = {name: 'OXT' for name in ('OT2', 'O2', 'OC2', "O''", 'OT', 'OT3', 'OXT1')}
_ATOMS_OF_ALL = {**_OXYGENS, **_LAST_OXYGENS}  # CHARMM, GROMACS, Insight
_ATOMS = {('I', 'CD'): 'CD1', ('M', 'SE'): 'SD', ('U', 'SE'): 'SG'}  # (letter, name); CHARMM; selenium for sulfur


@functools.cache
def letter_of(residue: str) -> str | None:
  """The one-letter code of an amino acid's name in upper case; None for all other names."""
  letter = _ALIASES.get(residue) or _COMPONENTS.get(residue)
  if letter is None and len(residue) == 4 and residue[0] in _ENDS:
    return letter_of(residue[1:])
  return letter


def letter_by_atoms(residue: str, atoms: Container[str]) -> str:
  """The one-letter code of a residue of a chain, X where its name is unknown; its atoms decide between two meanings."""
  meant = (letter for (name, atom), letter in _WITH_ATOM.items() if name == residue and atom in atoms)
  return next(meant, letter_of(residue) or 'X')


def is_standard(residue: str) -> bool:
  """Whether a name is that of one of the 20 amino acids, in the component dictionary or in a force field."""
  return letter_of(residue) is not None and (
    residue in residues.RESTYPE_3TO1 or residue not in _COMPONENTS or residue in _ALIASES
  )


def is_modified(residue: str) -> bool:
  """Whether a name is that of an amino acid, but of none of the 20."""
  return letter_of(residue) is not None and not is_standard(residue)


def is_cap(residue: str) -> bool:
  """Whether a name is that of a group that caps an end of a chain."""
  return residue in _CAPS


def is_unknown(residue: str) -> bool:
  """Whether a name of a residue is none that is known there."""
  return letter_of(residue) is None and not is_cap(residue)


def is_water(residue: str) -> bool:
  """Whether a name is one of water's."""
  return residue in _WATERS


@functools.cache
def is_nucleotide(residue: str) -> bool:
  """Whether a name is that of a nucleotide of DNA or RNA."""
  return bool(_NUCLEOTIDES.fullmatch(residue)) or gemmi.find_tabulated_residue(residue).is_nucleic_acid()


def is_hydrogen(atom: str) -> bool:
  """Whether an amino acid's atom of this name is hydrogen or deuterium: HA, 2HB, D1; no heavy atom begins so."""
  return atom.lstrip('0123456789')[:1] in ('H', 'D') and atom not in residues.ATOM_INDEX


def has_last_oxygen(atoms: frozenset[str]) -> bool:
  """Whether atoms of these names are those of a chain's last residue: OXT, or O2 beside O1."""
  return any(column_of('X', atom, atoms) is not None for atom in {'OXT', *_LAST_OXYGENS} & atoms)


def column_of(letter: str, atom: str, atoms: Container[str]) -> int | None:
  """The column of an atom in atom37.

  Args:
    letter: the residue's one-letter code.
    atom: the atom's name in upper case.
    atoms: names of all atoms of the residue; a name of other programs stands back where the usual one is there too.

  Returns:
    the column; None where atom37 has no such atom.
  """
  usual = _ATOMS.get((letter, atom)) or _ATOMS_OF_ALL.get(atom)
  if atom == 'O2' and ('O1' not in atoms or 'O' in atoms):  # an atom of a modification
    return None
  if usual is not None and usual not in atoms:
    return residues.ATOM_INDEX[usual]
  return residues.ATOM_INDEX.get(atom)
