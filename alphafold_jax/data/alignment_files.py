# SPDX-License-Identifier: Apache-2.0
"""Files that hold an alignment, by content: A3M, Stockholm, or the input of AlphaFold 3; each as A3M text."""

from collections.abc import Callable
from pathlib import Path

from alphafold_jax.data import alphafold3, job_alignments, stockholm
from alphafold_jax.data.alignment import AlignmentHead, parse_query, parse_rows
from alphafold_jax.data.plain_rows import rows_fit
from alphafold_jax.data.records import decode, head_end, read_bytes
from alphafold_jax.errors import InputError

Read = Callable[[Path], bytes]  # the content of a file, decompressed


def read_a3m(path: str | Path, read: Read = read_bytes) -> str:
  """An alignment file as A3M text, whatever its kind; its rows are not checked.

  Args:
    path: the file.
    read: gives its content, decompressed.
  """
  return as_a3m(read(Path(path)), str(path))


def as_a3m(content: bytes, source: str) -> str:
  """The same of a file's content; `source` names it in messages."""
  text = decode(content, source)
  if text.startswith(stockholm.MARK):
    return stockholm.stockholm_to_a3m(text, source)
  return job_alignments.as_a3m(text, source) if alphafold3.is_json(text) else text


def checked_query(content: bytes, source: str) -> AlignmentHead:
  """The query of an alignment file of which every row is checked, with notes on the query's letters.

  What is left out of the rows is noted when the alignment is loaded.

  Raises:
    InputError: the alignment cannot be used, as `parse_rows` says.
  """
  return _at_a_glance(content, source) or _read_whole(content, source)


def _at_a_glance(content: bytes, source: str) -> AlignmentHead | None:
  """The query of an A3M file that is plainly in order; None where only reading it can tell."""
  end = head_end(content)
  if end is None or content[:1] not in (b'>', b'#') or content.startswith(stockholm.MARK.encode()):
    return None
  try:
    head = parse_query(decode(content[:end], source), source)
  except InputError:
    return None
  return head if rows_fit(content[end:], len(head.query)) else None


def _read_whole(content: bytes, source: str) -> AlignmentHead:
  text = as_a3m(content, source)
  parse_rows(text, source, None)
  return parse_query(text, source)
