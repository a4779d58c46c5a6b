# SPDX-License-Identifier: Apache-2.0
"""Where a server takes sequences and gives out what it found: a ticket for each batch, kept until all is taken.

Sequences go out as one FASTA text (POST ticket/msa, or ticket/pair) and a ticket comes back; the ticket's state is
asked for (GET ticket/ID) until it is COMPLETE; then an archive is fetched (GET result/download/ID), with one file for
each database.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping

from alphafold_jax.errors import SearchError
from alphafold_jax.search.server import answers, archive
from alphafold_jax.search.server.client import Client, RefusedError, RequestClock
from alphafold_jax.search.server.host import Host
from alphafold_jax.search.server.tickets import Tickets, is_ticket

_FIRST_NAME = 101  # as ColabFold numbers them, so that its server knows a batch that was sent before
_FIRST_POLL, _SLOWEST_POLL = 5.0, 2  # seconds; times this is doubled
_MOST_SUBMISSIONS = 5  # of a batch whose ticket the server forgets
_CLOCK = RequestClock()


class TicketError(SearchError):
  """The server failed on a ticket."""


@dataclasses.dataclass(frozen=True)
class SentBatch:
  """Sequences that share a ticket, and what is wanted for them."""

  kind: str  # 'msa' or 'pair'
  mode: str  # its name in the protocol
  sequences: Mapping[str, str]  # by the names under which they are sent
  files: tuple[str, ...]  # that the results must hold
  more: tuple[str, ...] = ()  # files that are read if they are there
  shown: str = ''  # names the batch in messages


def named(sequences: list[str]) -> dict[str, str]:
  """Sequences by the names under which they are sent."""
  return {str(_FIRST_NAME + index): sequence for index, sequence in enumerate(sequences)}


class Desk:
  """One server, which is not contacted before it is asked for results."""

  def __init__(self, host: Host, clock: RequestClock = _CLOCK):
    """Checks address and credentials; InputError if they cannot be used."""
    self._host = host
    self.client = Client(host.url, host.credentials, contact=host.contact, timeout=host.timeout, clock=clock)
    self.url = self.client.url
    self._tickets = Tickets(host.tickets)

  def results(self, batch: SentBatch, report: Callable[[str], None]) -> dict[str, str]:
    """The texts of the files that the server made for a batch.

    Raises:
      TicketError: the server failed on this batch.
      SearchError: nothing can be had from it.
    """
    self.client.begin(self._host.deadline)
    key = self._key(batch)
    for attempt in range(_MOST_SUBMISSIONS):
      ticket = self._tickets.read(key) or self._submit(batch, report)
      state = self._follow(ticket, report)
      if state == 'COMPLETE':
        report('downloading')
        try:
          return self.client.ask(f'result/download/{ticket}', lambda packed: self._texts(packed, batch))
        except RefusedError:  # it has deleted the results
          pass
      self._tickets.forget(key)
      if state == 'ERROR':
        raise self._failed(batch)
      self.client.wait(attempt, 'the server does not know its ticket')
    raise SearchError(
      f'{self.url}: the server forgot its ticket {_MOST_SUBMISSIONS} times; try again later, or report it to '
      'its operators'
    )

  def taken(self, batch: SentBatch) -> None:
    """All results of a batch were taken: its ticket is no longer needed."""
    self._tickets.forget(self._key(batch))

  def _key(self, batch: SentBatch) -> str:
    return self._tickets.key(self.url, batch.mode, list(batch.sequences.values()))

  def _submit(self, batch: SentBatch, report: Callable[[str], None]) -> str:
    """A ticket for the batch. Sent twice, a batch gets the same ticket: the server files it by its content."""
    form = {'q': ''.join(f'>{name}\n{sequence}\n' for name, sequence in batch.sequences.items()), 'mode': batch.mode}
    step = 0
    while True:
      state, ticket = self.client.ask(f'ticket/{batch.kind}', answers.state_of, form)
      if state == 'ERROR':
        raise self._failed(batch)
      if is_ticket(ticket) and state in ('PENDING', 'RUNNING', 'COMPLETE'):
        self._tickets.keep(self._key(batch), ticket)
        return ticket
      report(answers.WAITING.get(state, 'submitting'))
      self.client.wait(step, f'state {state}', first=_FIRST_POLL)
      step += 1

  def _follow(self, ticket: str, report: Callable[[str], None]) -> str:
    """The state of a ticket when there is no more to wait for: COMPLETE, ERROR or UNKNOWN."""
    step = 0
    while True:
      try:
        state, _ = self.client.ask(f'ticket/{ticket}', answers.state_of)
      except RefusedError:
        return 'UNKNOWN'
      if state not in answers.WAITING:
        return state
      report(answers.WAITING[state])
      self.client.wait(min(step, _SLOWEST_POLL), f'state {state}', first=_FIRST_POLL)
      step += 1

  def _failed(self, batch: SentBatch) -> TicketError:
    return TicketError(
      f'{self.url}: the server reports ERROR for {batch.shown}; check that these are proteins, and try again in an hour'
    )

  def _texts(self, packed: bytes, batch: SentBatch) -> dict[str, str]:
    """The texts of a result archive, which must hold all files that are needed."""
    names = (*batch.files, *batch.more)
    files = archive.read(packed, re.compile('|'.join(map(re.escape, names))), self.url)
    if missing := [name for name in batch.files if name not in files]:
      raise SearchError(
        f'{self.url}: the results lack {", ".join(missing)}; this server does not search as '
        "ColabFold's does, use another or a mode without that database"
      )
    return files
