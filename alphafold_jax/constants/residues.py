# SPDX-License-Identifier: Apache-2.0
"""Residue types, alphabets and heavy atoms, with the two layouts of atoms per residue.

A residue's atoms have 37 columns, one for each atom name ("atom37"; for reading, writing and comparing), or 14, as many
as the largest residue has atoms ("atom14"; for computing). Tables have 21 rows: the 20 residue types, and a row of
zeros for unknown residues. Columns that a residue type does not use are 0, and so are indices that point to them.
"""

import numpy as np

RESTYPES = tuple('ARNDCQEGHILKMFPSTWYV')  # the published order: alphabetical by three-letter name
RESTYPE_INDEX = {letter: index for index, letter in enumerate(RESTYPES)}

UNKNOWN = 20  # X
UNKNOWN_LETTERS = frozenset('JOX')  # that stand for no residue type
GAP = 21
MASK_TOKEN = 22  # an alignment entry hidden from the network (Suppl. 1.2.7)
MSA_ALPHABET = ''.join(RESTYPES) + 'X-'

# Letters of alignments: ambiguous and rare residues become the most similar common one, the others unknown.
LETTER_TO_TOKEN = {
  **{letter: UNKNOWN for letter in sorted(UNKNOWN_LETTERS)},
  **RESTYPE_INDEX,
  'B': RESTYPE_INDEX['D'],
  'Z': RESTYPE_INDEX['E'],
  'U': RESTYPE_INDEX['C'],
  '-': GAP,
}

# fmt: off
RESTYPE_1TO3 = {
  'A': 'ALA', 'R': 'ARG', 'N': 'ASN', 'D': 'ASP', 'C': 'CYS', 'Q': 'GLN', 'E': 'GLU', 'G': 'GLY', 'H': 'HIS',
  'I': 'ILE', 'L': 'LEU', 'K': 'LYS', 'M': 'MET', 'F': 'PHE', 'P': 'PRO', 'S': 'SER', 'T': 'THR', 'W': 'TRP',
  'Y': 'TYR', 'V': 'VAL', 'X': 'UNK',
}
RESTYPE_3TO1 = {name: letter for letter, name in RESTYPE_1TO3.items()}

ATOM_TYPES = (
  'N', 'CA', 'C', 'CB', 'O', 'CG', 'CG1', 'CG2', 'OG', 'OG1', 'SG', 'CD', 'CD1', 'CD2', 'ND1', 'ND2', 'OD1', 'OD2',
  'SD', 'CE', 'CE1', 'CE2', 'CE3', 'NE', 'NE1', 'NE2', 'OE1', 'OE2', 'CH2', 'NH1', 'NH2', 'OH', 'CZ', 'CZ2', 'CZ3',
  'NZ', 'OXT',
)
# fmt: on
ATOM_INDEX = {name: index for index, name in enumerate(ATOM_TYPES)}

_ATOMS = {
  'A': 'N CA C O CB',
  'R': 'N CA C O CB CG CD NE CZ NH1 NH2',
  'N': 'N CA C O CB CG OD1 ND2',
  'D': 'N CA C O CB CG OD1 OD2',
  'C': 'N CA C O CB SG',
  'Q': 'N CA C O CB CG CD OE1 NE2',
  'E': 'N CA C O CB CG CD OE1 OE2',
  'G': 'N CA C O',
  'H': 'N CA C O CB CG ND1 CD2 CE1 NE2',
  'I': 'N CA C O CB CG1 CG2 CD1',
  'L': 'N CA C O CB CG CD1 CD2',
  'K': 'N CA C O CB CG CD CE NZ',
  'M': 'N CA C O CB CG SD CE',
  'F': 'N CA C O CB CG CD1 CD2 CE1 CE2 CZ',
  'P': 'N CA C O CB CG CD',
  'S': 'N CA C O CB OG',
  'T': 'N CA C O CB OG1 CG2',
  'W': 'N CA C O CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2',
  'Y': 'N CA C O CB CG CD1 CD2 CE1 CE2 CZ OH',
  'V': 'N CA C O CB CG1 CG2',
  'X': '',
}


def _padded(names: list[str]) -> tuple[str, ...]:
  return tuple(names + [''] * (14 - len(names)))


ATOM14_NAMES = tuple(_padded(_ATOMS[letter].split()) for letter in (*RESTYPES, 'X'))  # '' where a column is empty

ATOM14_MASK = np.array([[name != '' for name in names] for names in ATOM14_NAMES], np.float32)  # [21, 14]
ATOM37_MASK = np.array([[name in names for name in ATOM_TYPES] for names in ATOM14_NAMES], np.float32)  # [21, 37]

ATOM14_TO_ATOM37 = np.array(
  [[ATOM_INDEX.get(name, 0) for name in names] for names in ATOM14_NAMES], np.int32
)  # [21, 14]
ATOM37_TO_ATOM14 = np.array(
  [[names.index(name) if name in names else 0 for name in ATOM_TYPES] for names in ATOM14_NAMES], np.int32
)  # [21, 37]
