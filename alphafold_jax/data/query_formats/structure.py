# SPDX-License-Identifier: Apache-2.0
"""PDB and mmCIF files: the sequences of their protein chains, as colabfold_batch takes them; several are a complex."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from alphafold_jax.data.query import Items, Opened, Reading, query_of
from alphafold_jax.data.query_formats.letters import notes_on_chains
from alphafold_jax.naming import listed
from alphafold_jax.screen import number


def read_structure(file: Opened) -> Items:
  """One item, the chains under their own names; its name is the file's."""
  yield query_of(file.stem, str(file.path), _chains, file.path)


def _chains(path: Path) -> Reading:
  from alphafold_jax.data import structures  # slow to load, and seldom needed

  content = structures.read_structure(path)
  chains = tuple(content.chains.values())
  alone = len(chains) == 1
  which = f'sequence of chain {chains[0].id}' if alone else f'sequences of chains {listed(content.chains, 8)}'
  gaps = (note if alone else f'chain {chain.id}: {note}' for chain in chains for note in _gaps(chain))
  sequences = tuple(chain.sequence for chain in chains)
  notes = (f'{which} of the structure, whose coordinates are not used', *gaps, *content.notes)
  return Reading(
    ''.join(sequences),
    (*notes, *notes_on_chains(sequences)),
    lengths=() if alone else tuple(map(len, sequences)),
    chain_names=() if alone else tuple(chain.id for chain in chains),
  )


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
