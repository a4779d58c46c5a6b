# SPDX-License-Identifier: Apache-2.0
"""Template hits as MMseqs2 writes them: a table; and the archives in which a server sends sequences and structures."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Mapping

from alphafold_jax import untrusted
from alphafold_jax.data.records import split_records
from alphafold_jax.search.found import TemplateHit

FILES = re.compile(r'pdb70_a3m\.ff(?:data|index)|[0-9a-z]{4}\.cif')  # of a template archive
_TARGET = re.compile(r'([0-9][0-9A-Za-z]{3})_([0-9A-Za-z]{1,8})')
_STEP = re.compile(r'(\d*)([MID])')
_CIGAR = re.compile(r'(?:\d{0,6}[MID])+')
_NUM_COLUMNS = 13
_ANNOTATIONS = re.compile(r'ss_|sa_|Consensus')  # rows of HH-suite that are no sequences


@dataclasses.dataclass(frozen=True)
class Line:
  """One line of the table: target and query aligned."""

  target: str  # as in '4zey_A'
  query_start: int  # first aligned residue, from 0
  query_end: int  # behind the last
  target_start: int
  target_end: int
  evalue: float
  cigar: str  # M: a pair, I: a residue of the query only, D: one of the target only

  def hit(self, sequence: str, num_res: int) -> TemplateHit | None:
    """The hit, or None if the line does not fit the sequences.

    Args:
      sequence: all of the target that was searched.
      num_res: residues of the query.
    """
    steps = [(int(count or 1), step) for count, step in _STEP.findall(self.cigar)]
    if sum(count for count, _ in steps) > num_res + len(sequence):
      return None
    q, t, pairs = self.query_start, 0, []
    for count, step in steps:
      for _ in range(count):
        if step == 'M':
          pairs.append((q, t))
        q, t = q + (step != 'D'), t + (step != 'I')
    span = self.target_end - self.target_start
    if q != self.query_end or t != span or q > num_res or self.target_end > len(sequence) or not pairs:
      return None
    entry, chain = self.target.split('_')
    return TemplateHit(
      entry.lower(),
      chain,
      sequence[self.target_start : self.target_end],
      tuple(pairs),
      self.target_start,
      evalue=self.evalue,
    )


def read_table(text: str, most: int) -> tuple[dict[str, list[Line]], int]:
  """The lines of each query, one for each of its first `most` targets, and the number of lines that cannot be read."""
  by_query: dict[str, dict[str, Line]] = defaultdict(dict)
  unread = 0
  for row in text.splitlines():
    columns = row.split('\t')
    try:
      line = _line(columns)
    except ValueError:
      unread += 1
      continue
    lines = by_query[columns[0]]
    if len(lines) < most:
      lines.setdefault(line.target, line)
  return {query: list(lines.values()) for query, lines in by_query.items()}, unread


def _line(columns: list[str]) -> Line:
  if len(columns) != _NUM_COLUMNS or not _TARGET.fullmatch(columns[1]) or not _CIGAR.fullmatch(columns[12]):
    raise ValueError(columns)
  starts = [int(columns[i]) - 1 for i in (6, 8)]
  if min(starts) < 0:
    raise ValueError(columns)
  return Line(columns[1], starts[0], int(columns[7]), starts[1], int(columns[9]), float(columns[10]), columns[12])


def read_sequences(files: Mapping[str, str]) -> dict[str, str]:
  """The sequences that the server searched, by target, from a template archive; the table's numbers are places in them.

  The chain's sequence in the structure file may be longer: the server's may hold resolved residues only.
  """
  rows = (line.split('\t') for line in files.get('pdb70_a3m.ffindex', '').splitlines())
  places = ((untrusted.whole_number(row[1]), row[0]) for row in rows if len(row) == 3)
  names = [name for _, name in sorted((place, name) for place, name in places if place is not None)]
  found = {}
  for name, text in zip(names, files.get('pdb70_a3m.ffdata', '').split('\0'), strict=False):
    if text.lstrip().startswith(('>', '#')) and '>' in text:
      records, _ = split_records(text, name)
      proteins = [record for record in records if not _ANNOTATIONS.match(record.id)]
      own = [record for record in proteins if record.id.lower() == name.lower()] or proteins
      if own:
        found[name] = re.sub('[^A-Za-z]', '', own[0].text).upper()
  return found
