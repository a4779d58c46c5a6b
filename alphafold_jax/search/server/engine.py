# SPDX-License-Identifier: Apache-2.0
"""The engine that asks an MMseqs2 server, such as ColabFold's.

The protocol: sequences go out as one FASTA text (POST ticket/msa) and a ticket comes back; the ticket's state is asked
for (GET ticket/ID) until it is COMPLETE; then an archive is fetched (GET result/download/ID), with one file for each
database. In a file NUL bytes stand between the alignments, and each begins with the name that its sequence was sent
under. Templates are lines of a table; their sequences and structures come from GET template/ID,ID,...
"""

import dataclasses
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, untrusted
from alphafold_jax.data.records import split_records
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search import m8
from alphafold_jax.search.found import Found, Result, Rows, TemplateHit, Watch
from alphafold_jax.search.server import archive
from alphafold_jax.search.server.client import Client, Credentials, PassingError, RefusedError, RequestClock
from alphafold_jax.search.server.tickets import Tickets, is_ticket

_FILES = {'uniref': 'uniref.a3m', 'env': 'bfd.mgnify30.metaeuk30.smag30.a3m'}  # by database, in the order of merging
_TABLE = 'pdb70.m8'
_MODES = {(True, True): 'env', (False, True): 'all', (True, False): 'env-nofilter', (False, False): 'nofilter'}
_WAITING = {
  'PENDING': 'waiting in the queue',
  'RUNNING': 'searching',
  'RATELIMIT': 'waiting: too many requests',
  'MAINTENANCE': 'waiting: the server is under maintenance',
}
_STATES = (*_WAITING, 'UNKNOWN', 'COMPLETE', 'ERROR')
_FIRST_NAME = 101  # as ColabFold numbers them, so that its server knows a batch that was sent before
_FIRST_POLL, _SLOWEST_POLL = 5.0, 2  # seconds; times this is doubled
_MOST_SUBMISSIONS = 5  # of a batch whose ticket the server forgets
_MOST_ERRORS = 7  # tickets in a row; one bad sequence among 20 makes 6 at most
_MOST_HITS = 20  # per sequence, as in AlphaFold
_TEMPLATES_AT_ONCE = 20  # the server's limit
_REWRITTEN = frozenset('BJOUXZ')  # letters that MMseqs2 may give back as others
_CLOCK = RequestClock()
_NO_COLUMN = str.maketrans('', '', string.ascii_lowercase + '.')


@dataclasses.dataclass(frozen=True)
class Host:
  """A server and how to use it."""

  url: str
  use_env: bool = True  # search environmental sequences as well
  filter: bool = True  # let the server thin out the rows
  templates: bool = False
  credentials: Credentials = Credentials()
  contact: str = ''  # mail address for the server's operators
  deadline: float = 2 * 3600.0  # seconds for a ticket; the public server ends a search after an hour, and has a queue
  timeout: float = 60.0  # seconds without a byte
  batch: int = 20  # sequences in a ticket: at 150 s for each, as ColabFold estimates, they take less than that hour
  tickets: Path | None = None  # folder in which tickets outlive this process
  structures: Path | None = None  # folder for the templates' mmCIF files

  @property
  def mode(self) -> str:
    """The mode's name in the protocol."""
    return _MODES[self.use_env, self.filter]

  @property
  def databases(self) -> tuple[str, ...]:
    """Names of the databases, in the order of merging."""
    return tuple(_FILES) if self.use_env else ('uniref',)


class _TicketError(SearchError):
  """The server failed on a ticket."""


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
    if host.batch < 1 or host.deadline <= 0 or host.timeout <= 0:
      raise InputError(
        f'{host.url}: batch ({host.batch}), deadline ({host.deadline:g} s) and timeout '
        f'({host.timeout:g} s) must be greater than 0'
      )
    self._host = host
    self._client = Client(host.url, host.credentials, contact=host.contact, timeout=host.timeout, clock=clock)
    self._tickets = Tickets(host.tickets)
    self._errors = 0  # tickets in a row that ended in ERROR

  def identity(self) -> Mapping[str, Any]:
    """The server and the mode; it does not say which databases it has, and they change unannounced."""
    return {'engine': self.name, 'url': self._client.url, 'mode': self._host.mode, 'templates': self._host.templates}

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Sends the sequences in batches, one after the other; see `Engine.search`."""
    self._errors, size = 0, self._host.batch
    numbered = list(enumerate(sequences))
    for start in range(0, len(numbered), size):

      def report(text: str, done: float = start / len(numbered)) -> None:
        watch(done, f'{text} ({self._client.url})')

      yield from self._batch(numbered[start : start + size], report)
    watch(1.0, 'done')

  def _batch(self, numbered: Sequence[tuple[int, str]], report: Callable[[str], None]) -> Iterator[Result]:
    """The results of one ticket; a batch that the server fails on is halved until the sequence at fault is alone."""
    sequences = {str(_FIRST_NAME + i): sequence for i, (_, sequence) in enumerate(numbered)}
    key = self._tickets.key(self._client.url, self._host.mode, list(sequences.values()))
    try:
      files = self._results(sequences, key, report)
    except _TicketError as error:
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
    entries = {database: _entries(files[_FILES[database]]) for database in self._host.databases}
    hits = self._hits(files, sequences, report)
    for (index, sequence), name in zip(numbered, sequences, strict=True):
      try:
        rows = tuple(
          _rows(database, entries[database].get(name, []), sequence, self._client.url) for database in entries
        )
        yield index, Found(rows, *hits[name])
      except SearchError as error:
        yield index, error
    self._tickets.forget(key)

  def _results(self, sequences: Mapping[str, str], key: str, report: Callable[[str], None]) -> dict[str, str]:
    """The files that the server made for a batch."""
    self._client.begin(self._host.deadline)
    for attempt in range(_MOST_SUBMISSIONS):
      ticket = self._tickets.read(key) or self._submit(sequences, key, report)
      state = self._follow(ticket, report)
      if state == 'COMPLETE':
        report('downloading')
        try:
          return self._client.ask(f'result/download/{ticket}', self._alignments)
        except RefusedError:  # it has deleted the results
          pass
      self._tickets.forget(key)
      if state == 'ERROR':
        raise self._failed(sequences)
      self._client.wait(attempt, 'the server does not know its ticket')
    raise SearchError(
      f'{self._client.url}: the server forgot its ticket {_MOST_SUBMISSIONS} times; try again later, or report it to '
      'its operators'
    )

  def _submit(self, sequences: Mapping[str, str], key: str, report: Callable[[str], None]) -> str:
    """A ticket for the batch. Sent twice, a batch gets the same ticket: the server files it by its content."""
    form = {'q': ''.join(f'>{name}\n{sequence}\n' for name, sequence in sequences.items()), 'mode': self._host.mode}
    step = 0
    while True:
      state, ticket = self._client.ask('ticket/msa', _state, form)
      if state == 'ERROR':
        raise self._failed(sequences)
      if is_ticket(ticket) and state in ('PENDING', 'RUNNING', 'COMPLETE'):
        self._tickets.keep(key, ticket)
        return ticket
      report(_WAITING.get(state, 'submitting'))
      self._client.wait(step, f'state {state}', first=_FIRST_POLL)
      step += 1

  def _follow(self, ticket: str, report: Callable[[str], None]) -> str:
    """The state of a ticket when there is no more to wait for: COMPLETE, ERROR or UNKNOWN."""
    step = 0
    while True:
      try:
        state, _ = self._client.ask(f'ticket/{ticket}', _state)
      except RefusedError:
        return 'UNKNOWN'
      if state not in _WAITING:
        return state
      report(_WAITING[state])
      self._client.wait(min(step, _SLOWEST_POLL), f'state {state}', first=_FIRST_POLL)
      step += 1

  def _failed(self, sequences: Mapping[str, str]) -> _TicketError:
    first = next(iter(sequences.values()))
    what = f'the sequence {first[:30]}...' if len(sequences) == 1 else f'a ticket of {len(sequences)} sequences'
    return _TicketError(
      f'{self._client.url}: the server reports ERROR for {what}; check that these are proteins, and '
      'try again in an hour'
    )

  def _alignments(self, packed: bytes) -> dict[str, str]:
    """The texts of a result archive, which must hold all databases that were asked for."""
    needed = [_FILES[database] for database in self._host.databases]
    names = [*needed, _TABLE] if self._host.templates else needed
    files = archive.read(packed, re.compile('|'.join(map(re.escape, names))), self._client.url)
    if missing := [name for name in needed if name not in files]:
      raise SearchError(
        f'{self._client.url}: the results lack {", ".join(missing)}; this server does not search as '
        "ColabFold's does, use another or a mode without that database"
      )
    return files

  def _hits(
    self, files: Mapping[str, str], sequences: Mapping[str, str], report: Callable[[str], None]
  ) -> dict[str, tuple[tuple[TemplateHit, ...], tuple[str, ...]]]:
    """Template hits and notes for each sequence of a batch."""
    if not self._host.templates:
      return {name: ((), ()) for name in sequences}
    if _TABLE not in files:
      return {name: ((), (f'{self._client.url} gave no template hits ({_TABLE} is missing)',)) for name in sequences}
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
      files = self._client.ask(f'template/{",".join(targets)}', self._template_files)
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
      return archive.read(packed, m8.FILES, self._client.url)
    except PassingError:  # the client has seen to it that the answer is whole
      return None


def _state(answer: bytes) -> tuple[str, str | None]:
  """State and ticket in an answer about a ticket."""
  try:
    content = untrusted.from_json(answer)
    state, ticket = content['status'], content.get('id')
  except (ValueError, KeyError, TypeError, AttributeError):
    raise PassingError('the answer is not that of an MMseqs2 server, but perhaps the page of a proxy') from None
  if state not in _STATES:
    raise PassingError(f'the server answered with a state that this program does not know, {str(state)[:40]!r}')
  return state, ticket


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
  try:
    records, _ = split_records(entries[0], source)
  except InputError as error:
    raise SearchError(str(error)) from None
  query = records[0].text.upper()
  if len(query) != len(sequence) or any(a != b and a not in _REWRITTEN for a, b in zip(sequence, query, strict=True)):
    raise SearchError(f'{source}: the alignment of {sequence[:30]}... is that of another sequence, {query[:30]}...')
  for record in records:
    if len(record.text.translate(_NO_COLUMN)) != len(sequence):
      raise SearchError(
        f'{source}: row {record.id!r} of the alignment of {sequence[:30]}... has another number of '
        f'columns than the {len(sequence)} of the query'
      )
  rows = ''.join(f'>{record.name}\n{record.text}\n' for record in records[1:])
  # The name it was sent under depends on its place in the batch, and the same search must give the same text.
  return Rows(database, f'>query\n{sequence}\n{rows}', len(records) - 1)
