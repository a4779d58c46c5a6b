# SPDX-License-Identifier: Apache-2.0
"""The engine that asks an MMseqs2 server, such as ColabFold's, for the homologues of single sequences.

In each file of a result NUL bytes stand between the alignments, and each begins with the name that its sequence was
sent under. Templates are lines of a table; their sequences and structures come from GET template/ID,ID,...
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alphafold_jax import atomic
from alphafold_jax.errors import SearchError
from alphafold_jax.search import m8
from alphafold_jax.search.found import Found, Result, Rows, TemplateHit, Watch
from alphafold_jax.search.server import answers, archive
from alphafold_jax.search.server.client import PassingError, RefusedError, RequestClock
from alphafold_jax.search.server.desk import Desk, SentBatch, TicketError, named
from alphafold_jax.search.server.host import Host

_FILES = {'uniref': 'uniref.a3m', 'env': 'bfd.mgnify30.metaeuk30.smag30.a3m'}  # by database, in the order of merging
_TABLE = 'pdb70.m8'
_MODES = {(True, True): 'env', (False, True): 'all', (True, False): 'env-nofilter', (False, False): 'nofilter'}
_MOST_ERRORS = 7  # tickets in a row; one bad sequence among 20 makes 6 at most
_MOST_HITS = 20  # per sequence, as in AlphaFold
_TEMPLATES_AT_ONCE = 20  # the server's limit
_CLOCK = RequestClock()


class Server:
  """An MMseqs2 server as an engine; it is not contacted before `search`."""

  name = 'server'

  def __init__(self, host: Host, clock: RequestClock = _CLOCK):
    """Checks the address and the credentials.

    Args:
      host: the server and how to use it.
      clock: for waits and the deadline.

    Raises:
      InputError: they cannot be used.
    """
    self._host, self._desk = host, Desk(host, clock)
    self._mode = _MODES[host.use_env, host.filter]
    self._databases = tuple(_FILES) if host.use_env else ('uniref',)  # in the order of merging
    self._errors = 0  # tickets in a row that ended in ERROR

  def identity(self) -> Mapping[str, Any]:
    """The server and the mode; it does not say which databases it has, and they change unannounced."""
    return {'engine': self.name, 'url': self._desk.url, 'mode': self._mode, 'templates': self._host.templates}

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Sends the sequences in batches, one after the other; see `Engine.search`."""
    self._errors, size = 0, self._host.batch
    numbered = list(enumerate(sequences))
    for start in range(0, len(numbered), size):

      def report(text: str, done: float = start / len(numbered)) -> None:
        watch(done, f'{text} ({self._desk.url})')

      yield from self._batch(numbered[start : start + size], report)
    watch(1.0, 'done')

  def _batch(self, numbered: Sequence[tuple[int, str]], report: Callable[[str], None]) -> Iterator[Result]:
    """The results of one ticket; a batch that the server fails on is halved until the sequence at fault is alone."""
    batch = self._asked_for([sequence for _, sequence in numbered])
    try:
      files = self._desk.results(batch, report)
    except TicketError as error:
      self._errors += 1
      if self._errors >= _MOST_ERRORS:
        raise SearchError(f'{error}; so did it for the {_MOST_ERRORS - 1} tickets before') from None
      half = len(numbered) // 2
      if half == 0:
        yield numbered[0][0], error
      else:
        yield from self._batch(numbered[:half], report)
        yield from self._batch(numbered[half:], report)
      return
    self._errors = 0
    entries = {database: _entries(files[_FILES[database]]) for database in self._databases}
    hits = self._hits(files, batch.sequences, report)
    for (index, sequence), name in zip(numbered, batch.sequences, strict=True):
      try:
        rows = tuple(_rows(database, entries[database].get(name, []), sequence, self._desk.url) for database in entries)
        yield index, Found(rows, *hits[name])
      except SearchError as error:
        yield index, error
    self._desk.taken(batch)

  def _asked_for(self, sequences: list[str]) -> SentBatch:
    first, count = sequences[0], len(sequences)
    return SentBatch(
      'msa',
      self._mode,
      named(sequences),
      files=tuple(_FILES[database] for database in self._databases),
      more=(_TABLE,) if self._host.templates else (),
      shown=f'the sequence {first[:30]}...' if count == 1 else f'a ticket of {count} sequences',
    )

  def _hits(
    self, files: Mapping[str, str], sequences: Mapping[str, str], report: Callable[[str], None]
  ) -> dict[str, tuple[tuple[TemplateHit, ...], tuple[str, ...]]]:
    """Template hits and notes for each sequence of a batch."""
    if not self._host.templates:
      return {name: ((), ()) for name in sequences}
    if _TABLE not in files:
      return {name: ((), (f'{self._desk.url} gave no template hits ({_TABLE} is missing)',)) for name in sequences}
    lines, unread = m8.read_table(files[_TABLE], _MOST_HITS)
    lines = {name: lines.get(name, []) for name in sequences}
    targets = list(dict.fromkeys(line.target for name in sequences for line in lines[name]))
    searched: dict[str, str] = {}
    for start in range(0, len(targets), _TEMPLATES_AT_ONCE):
      report('downloading templates')
      searched |= self._fetch_templates(targets[start : start + _TEMPLATES_AT_ONCE])
    hits = {}
    for name, sequence in sequences.items():
      made = {line.target: line.hit(searched.get(line.target, ''), len(sequence)) for line in lines[name]}
      notes = [f"{unread} lines of the server's template hits could not be read"] if unread else []
      if lost := [target for target, hit in made.items() if hit is None]:
        notes.append(f'template hits left out, their sequences are missing or do not fit: {", ".join(lost)}')
      hits[name] = tuple(hit for hit in made.values() if hit is not None), tuple(notes)
    return hits

  def _fetch_templates(self, targets: Sequence[str]) -> dict[str, str]:
    """Keeps the structures of the targets, and gives their sequences; those the server cannot give are left out.

    One structure that the server has lost spoils the archive of all that were asked for with it, so they are asked for
    in halves then.
    """
    try:
      files = self._desk.client.ask(f'template/{",".join(targets)}', self._template_files)
    except RefusedError:
      files = None
    if files is None:
      half = len(targets) // 2
      return self._fetch_templates(targets[:half]) | self._fetch_templates(targets[half:]) if half else {}
    if self._host.structures is not None:
      folder = atomic.make_folder(self._host.structures)
      for name in (name for name in files if name.endswith('.cif') and not (folder / name).exists()):
        atomic.write_text(folder / name, files[name])
    return m8.read_sequences(files)

  def _template_files(self, packed: bytes) -> dict[str, str] | None:
    """The texts of a template archive; None if the server made a broken one."""
    try:
      return archive.read(packed, m8.FILES, self._desk.url)
    except PassingError:  # the client has seen to it that the answer is whole
      return None


def _entries(text: str) -> dict[str, list[str]]:
  """The alignments in a file by the name in their first line."""
  found: dict[str, list[str]] = {}
  for entry in text.split('\0'):
    if name := entry.lstrip().removeprefix('>').partition('\n')[0].strip():
      found.setdefault(name, []).append(entry)
  return found


def _rows(database: str, entries: Sequence[str], sequence: str, url: str) -> Rows:
  """The rows of one database for one sequence.

  Raises:
    SearchError: what the server gave is not an alignment of this sequence.
  """
  source = f'{url}, {_FILES[database]}'
  if len(entries) != 1:
    raise SearchError(
      f'{source}: {len(entries) or "no"} alignments of the sequence {sequence[:30]}..., not one; '
      'try again, or report it to the operators of the server'
    )
  rows = answers.rows_of(answers.records_of(entries[0], source), sequence, source)
  # The name it was sent under depends on its place in the batch, and the same search must give the same text.
  return Rows(database, f'>query\n{sequence}\n{"".join(rows)}', len(rows))
