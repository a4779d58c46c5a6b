# SPDX-License-Identifier: Apache-2.0
"""Tables about a set of structures: which chains to take, their clusters, splits and metadata."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError

COLUMNS = ('id', 'cluster', 'split', 'resolution', 'method', 'release_date', 'exclude')
_NO = ('', '0', '0.0', 'no', 'false', 'none', 'nan')
_RESOLUTION = (0.0, 1000.0)  # Å


@dataclasses.dataclass(frozen=True)
class SourceTable:
  """The rows of the table and the clusters, by chain."""

  rows: dict[str, dict[str, str]] | None = None  # id -> column -> text; None: no table, take every chain
  clusters: dict[str, str] = dataclasses.field(default_factory=dict)  # id -> cluster

  def find(self, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The id and the row of a chain: its first possible name that is listed, or without a table its first name.

    Raises:
      InputError: the table does not list the chain, or excludes it.
    """
    if self.rows is None:
      return next((name for name in names if name in self.clusters), names[0]), {}
    name = next((name for name in names if name in self.rows), None)
    if name is None:
      raise InputError(f'the table does not list {" or ".join(names)}')
    row = self.rows[name]
    if (why := row.get('exclude', '')).lower() not in _NO:
      raise InputError(f'the table excludes {name} ({why})')
    return name, row


def read_table(path: str | Path, columns: dict[str, str]) -> dict[str, dict[str, str]]:
  """Reads a table: its rows by id, with our names for the columns.

  Args:
    path: CSV with a header line.
    columns: our name -> the table's, where they differ.

  Raises:
    InputError: a column is missing, an id is listed twice, or a resolution is no number.
  """
  if unknown := set(columns) - set(COLUMNS):
    raise InputError(f'there is no column {", ".join(sorted(unknown))}; a table may have {", ".join(COLUMNS)}')
  reader = csv.DictReader(read_text(path).splitlines())
  header = reader.fieldnames or []
  for name in {'id': 'id', **columns}.values():
    if name not in header:
      raise InputError(f'{path}: has no column {name!r}; it has {", ".join(header)}')
  taken = [(ours, columns.get(ours, ours)) for ours in COLUMNS if columns.get(ours, ours) in header]
  rows: dict[str, dict[str, str]] = {}
  for line, row in enumerate(reader, start=2):
    values = {ours: (row[theirs] or '').strip() for ours, theirs in taken}
    if values['id'] in rows:
      raise InputError(f'{path}, line {line}: chain {values["id"]!r} is listed twice')
    _check_resolution(values.get('resolution', ''), f'{path}, line {line}')
    rows[values['id']] = values
  return rows


def read_clusters(path: str | Path) -> dict[str, str]:
  """Reads the cluster of each chain from lines of representative and member; InputError: a line is neither."""
  clusters = {}
  for number, line in enumerate(read_text(path).splitlines(), start=1):
    fields = line.split('\t')
    if len(fields) != 2:
      raise InputError(f'{path}, line {number}: {len(fields)} fields; expected representative, tab, member')
    clusters[fields[1].strip()] = fields[0].strip()
  return clusters


def _check_resolution(text: str, place: str) -> None:
  try:
    good = not text or _RESOLUTION[0] <= float(text) <= _RESOLUTION[1]
  except ValueError:
    good = False
  if not good:
    raise InputError(f'{place}: the resolution is {text!r}; expected Å as a number, or nothing')
