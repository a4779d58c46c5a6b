# SPDX-License-Identifier: Apache-2.0
"""PDB and mmCIF files: the sequence of their one protein chain, as colabfold_batch takes it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from alphafold_jax.data.query import Items, Opened, Reading, query_of
from alphafold_jax.data.query_formats.letters import letter_notes
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number


def read_structure(file: Opened) -> Items:
  """One item, the sequence; its name is the file's."""
  yield query_of(file.stem, str(file.path), _sequence, file.path)


def _sequence(path: Path) -> Reading:
  from alphafold_jax.data import structures  # slow to load, and seldom needed

  content = structures.read_structure(path)
  chains = content.chains
  if len(chains) > 1:
    raise InputError(
      f'{path}: holds the protein chains {", ".join(chains)}; complexes are a later feature, so give a file with one '
      'of them, or its sequence as FASTA'
    )
  (chain,) = chains.values()
  notes = (f'sequence of chain {chain.id} of the structure, whose coordinates are not used', *_gaps(chain))
  return Reading(chain.sequence, (*notes, *content.notes, *letter_notes(chain.sequence)))


def _gaps(chain: Any) -> list[str]:
  """Notes on residues that have no coordinates, and on those that may be missing from the sequence."""
  notes = []
  if unresolved := chain.numbering.count(''):
    notes.append(f'{number(unresolved, "residue")} without coordinates, of the sequence that the file declares')
  numbers = [one for one in chain.numbers if one is not None]
  jumps = [(a, b) for a, b in pairwise(numbers) if b > a + 1] if not unresolved else []
  if jumps:
    a, b = jumps[0]
    more = f' and at {number(len(jumps) - 1, "other place")}' if len(jumps) > 1 else ''
    notes.append(
      f'residue numbers jump from {a} to {b}{more}: what is missing there is missing from the sequence as well'
    )
  return notes
