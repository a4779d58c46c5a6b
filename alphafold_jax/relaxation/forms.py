# SPDX-License-Identifier: Apache-2.0
"""The two formats of structures, by the ending of a file's name."""

from pathlib import Path

PDB, MMCIF = '.pdb', '.cif'


def format_of(path: Path | str) -> str:
  """The format of a structure file by its name: its relaxed structure has the same."""
  name = str(path).lower().removesuffix('.gz')
  return MMCIF if name.endswith('cif') else PDB
