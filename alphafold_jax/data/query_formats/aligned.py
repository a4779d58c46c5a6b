# SPDX-License-Identifier: Apache-2.0
"""Alignments, A3M or Stockholm: one item, the query, named by the file; that of a complex has a '#' line above it."""

from pathlib import Path

from alphafold_jax.data.alignment_files import checked_query
from alphafold_jax.data.query import Items, Opened, Reading, query_of
from alphafold_jax.data.query_formats.letters import notes_on_chains


def read_aligned(file: Opened) -> Items:
  """One item: the query of the alignment."""
  yield query_of(file.stem, str(file.path), alignment_query, file.path, file.content)


def alignment_query(path: Path, content: bytes) -> Reading:
  """The query of an alignment, all of which is checked; it is read again when its turn comes.

  Args:
    path: the file.
    content: what it holds, decompressed.
  """
  head = checked_query(content, str(path))
  chains = head.chains
  notes = (*head.notes, *notes_on_chains(chains.sequences))
  return Reading(chains.sequence, notes, path, lengths=chains.lengths if len(chains) > 1 else ())
