# SPDX-License-Identifier: Apache-2.0
"""Alignments, A3M or Stockholm: one item, the query, named by the file."""

from pathlib import Path

from alphafold_jax.data.alignment_files import checked_query
from alphafold_jax.data.query import Items, Opened, Reading, query_of
from alphafold_jax.data.query_formats.letters import letter_notes


def read_aligned(file: Opened) -> Items:
  """One item: the query of the alignment."""
  yield query_of(file.stem, str(file.path), alignment_query, file.path, file.content)


def alignment_query(path: Path, content: bytes) -> Reading:
  """The query of an alignment, all of which is checked; it is read again when its turn comes.

  Args:
    path: the file.
    content: what it holds, decompressed.
  """
  query, notes = checked_query(content, str(path))
  return Reading(query, (*notes, *letter_notes(query)), path)
