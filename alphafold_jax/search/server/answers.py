# SPDX-License-Identifier: Apache-2.0
"""What a server's answers say: the state of a ticket, and the rows of an alignment."""

from collections.abc import Sequence

from alphafold_jax import untrusted
from alphafold_jax.data.alignment import in_columns
from alphafold_jax.data.records import FastaRecord, split_records
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search.server.client import PassingError

WAITING = {
  'PENDING': 'waiting in the queue',
  'RUNNING': 'searching',
  'RATELIMIT': 'waiting: too many requests',
  'MAINTENANCE': 'waiting: the server is under maintenance',
}
_STATES = (*WAITING, 'UNKNOWN', 'COMPLETE', 'ERROR')
_REWRITTEN = frozenset('BJOUXZ')  # letters that MMseqs2 may give back as others


def state_of(answer: bytes) -> tuple[str, str | None]:
  """State and ticket in an answer about a ticket.

  Raises:
    PassingError: there is no state in it.
  """
  try:
    content = untrusted.from_json(answer)
    state, ticket = content['status'], content.get('id')
  except (ValueError, KeyError, TypeError, AttributeError):
    raise PassingError('the answer is not that of an MMseqs2 server, but perhaps the page of a proxy') from None
  if state not in _STATES:
    raise PassingError(f'the server answered with a state that this program does not know, {str(state)[:40]!r}')
  return state, ticket


def records_of(text: str, source: str) -> list[FastaRecord]:
  """The records of an alignment file.

  Raises:
    SearchError: there are none; the message names `source`.
  """
  try:
    return split_records(text, source)[0]
  except InputError as error:
    raise SearchError(str(error)) from None


def rows_of(records: Sequence[FastaRecord], sequence: str, source: str) -> list[str]:
  """The rows of an alignment without its query, each as an A3M record.

  Args:
    records: the query, then the rows.
    sequence: that was sent.
    source: where the alignment came from, for messages.

  Raises:
    SearchError: it is not an alignment of this sequence.
  """
  query = records[0].text.upper()
  if len(query) != len(sequence) or any(a != b and a not in _REWRITTEN for a, b in zip(sequence, query, strict=True)):
    raise SearchError(f'{source}: the alignment of {sequence[:30]}... is that of another sequence, {query[:30]}...')
  for record in records:
    if len(in_columns(record.text)) != len(sequence):
      raise SearchError(
        f'{source}: row {record.id!r} of the alignment of {sequence[:30]}... has another number of '
        f'columns than the {len(sequence)} of the query'
      )
  return [f'>{record.name}\n{record.text}\n' for record in records[1:]]
