# SPDX-License-Identifier: Apache-2.0
"""The engine that asks an MMseqs2 server, such as ColabFold's, for the paired rows of complexes.

The protocol is that of desk.py, with one complex in a ticket (POST ticket/pair). The result is one file, with a block
of rows for each chain, all of equal depth: row k of each is of one taxon. With environmental pairs it holds the blocks
of a second database behind those of the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alphafold_jax.choices import COMPLETE, GREEDY
from alphafold_jax.data.records import FastaRecord
from alphafold_jax.errors import SearchError
from alphafold_jax.naming import listed
from alphafold_jax.search.found import Found, FoundPairs, Result, Rows, Watch
from alphafold_jax.search.server import answers
from alphafold_jax.search.server.client import RequestClock
from alphafold_jax.search.server.desk import Desk, SentBatch, TicketError, named
from alphafold_jax.search.server.host import Host

_FILE = 'pair.a3m'
_MODES = {GREEDY: 'pairgreedy', COMPLETE: 'paircomplete'}
_MOST_ERRORS = 7  # tickets in a row
_CLOCK = RequestClock()


class ServerPairs:
  """An MMseqs2 server as an engine of pairs; it is not contacted before `search`."""

  name = 'server'

  def __init__(self, host: Host, strategy: str, *, use_env: bool = False, clock: RequestClock = _CLOCK):
    """Checks the address and the credentials.

    Args:
      host: the server and how to use it.
      strategy: a value of choices.PAIR_STRATEGIES.
      use_env: pair environmental sequences as well.
      clock: for waits and the deadline.

    Raises:
      InputError: they cannot be used.
    """
    self._desk, self.strategy = Desk(host, clock), strategy
    self._mode = _MODES[strategy] + ('-env' if use_env else '')

  def identity(self) -> Mapping[str, Any]:
    """The server and the mode; it does not say which databases it has, and they change unannounced."""
    return {'engine': self.name, 'url': self._desk.url, 'mode': self._mode}

  def parts(self, chains: Sequence[str]) -> tuple[str, ...]:
    """The complex as a whole, the same in whichever order its chains are given."""
    return (':'.join(sorted(chains)),)

  def search(self, parts: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Sends the complexes, one after the other; see `Engine.search`."""
    errors = 0
    for index, part in enumerate(parts):

      def report(text: str, done: float = index / len(parts)) -> None:
        watch(done, f'pairs: {text} ({self._desk.url})')

      sequences = part.split(':')
      shown = f'the complex of {listed(f"{sequence[:20]}..." for sequence in sequences)}'
      batch = SentBatch('pair', self._mode, named(sequences), files=(_FILE,), shown=shown)
      try:
        text = self._desk.results(batch, report)[_FILE]
      except TicketError as error:
        errors += 1
        if errors >= _MOST_ERRORS:
          raise SearchError(f'{error}; so did it for the {_MOST_ERRORS - 1} tickets before') from None
        yield index, error
        continue
      errors = 0
      yield index, self._read(text, batch)
      self._desk.taken(batch)
    watch(1.0, 'done')

  def pairs(self, chains: Sequence[str], found: Sequence[Found]) -> FoundPairs:
    """The rows of the complex, in the order of its chains."""
    (whole,) = found
    texts = {sequence: rows.a3m for sequence, rows in zip(sorted(chains), whole.rows, strict=True)}
    if not any(rows.num_found for rows in whole.rows):
      share = 'all of the chains' if self.strategy == COMPLETE else 'two of the chains'
      return FoundPairs.none(chains, f'{self._desk.url} knows no taxon with relatives of {share}')
    return FoundPairs(tuple(texts[sequence] for sequence in chains), notes=whole.notes)

  def _read(self, text: str, batch: SentBatch) -> Found | SearchError:
    """The rows of each chain, or why the answer cannot be used."""
    source = f'{self._desk.url}, {_FILE}'
    try:
      rows = _paired_rows(text, batch.sequences, source)
    except SearchError as error:
      return error
    return Found(
      tuple(
        Rows('pairs', f'>query\n{sequence}\n{"".join(rows[name])}', len(rows[name]))
        for name, sequence in batch.sequences.items()
      )
    )


def _paired_rows(text: str, sequences: Mapping[str, str], source: str) -> dict[str, list[str]]:
  """A3M records of each chain, in equal numbers, none of them a query.

  Args:
    text: of the server's file.
    sequences: of the chains, by the names under which they were sent.
    source: where the file came from, for messages.

  Raises:
    SearchError: a chain is missing or is another, or their numbers of rows differ.
  """
  rows: dict[str, list[str]] = {name: [] for name in sequences}
  blocks = _blocks(text, sequences, source)
  counts = {name: len(of_chain) for name, of_chain in blocks.items()}
  if missing := [name for name, count in counts.items() if count < max(counts.values())]:
    raise SearchError(
      f'{source}: {len(missing)} of {len(sequences)} chains are missing, such as {sequences[missing[0]][:30]}...; try '
      'again, or report it to the operators of the server'
    )
  for of_database in zip(*blocks.values(), strict=True):
    depths = {len(block) for block in of_database}
    if len(depths) > 1:
      shown = ', '.join(f'{len(block) - 1} for {name[:12]}...' for name, block in zip(sequences.values(), of_database))
      raise SearchError(
        f'{source}: paired rows in unequal numbers ({shown}), so that none has a sure partner; try again, or report it '
        'to the operators of the server'
      )
    for name, block in zip(sequences, of_database):
      rows[name] += answers.rows_of(block, sequences[name], source)
  return rows


def _blocks(text: str, sequences: Mapping[str, str], source: str) -> dict[str, list[list[FastaRecord]]]:
  """The blocks of each chain, one for each database; none where nothing was found at all.

  A block begins where a record has the name of a chain. The NUL bytes that servers put between blocks are not relied
  on: programs that pass on such files lose or move them.
  """
  blocks: dict[str, list[list[FastaRecord]]] = {name: [] for name in sequences}
  block: list[FastaRecord] | None = None
  text = text.replace('\0', '\n')
  for record in answers.records_of(text, source) if text.strip() else ():
    if record.id in blocks:
      block = []
      blocks[record.id].append(block)
    if block is None:
      raise SearchError(
        f'{source}: row {record.id!r} stands before the first chain; try again, or report it to the operators of the '
        'server'
      )
    block.append(record)
  return blocks
