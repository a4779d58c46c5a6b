# SPDX-License-Identifier: Apache-2.0
"""Tickets of a search server, kept so that a later run can ask for them if this one is killed."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from alphafold_jax import atomic, untrusted

_TICKET = re.compile(r'[A-Za-z0-9_-]{1,200}')


def is_ticket(text: object) -> bool:
  """Whether a value can be a ticket, which becomes part of addresses."""
  return isinstance(text, str) and _TICKET.fullmatch(text) is not None


@dataclasses.dataclass(frozen=True)
class Tickets:
  """A folder with one small file per ticket; without a folder nothing is kept."""

  folder: Path | None

  def key(self, url: str, mode: str, sequences: Sequence[str]) -> str:
    """The name under which a ticket is kept: a digest of the server, the mode and the sequences."""
    return hashlib.sha256('\n'.join((url, mode, *sequences)).encode()).hexdigest()[:32]

  def read(self, key: str) -> str | None:
    """The ticket that is kept under a name, if there is one."""
    if self.folder is None:
      return None
    try:
      ticket = untrusted.from_json((self.folder / f'{key}.json').read_text(encoding='utf-8'))['ticket']
    except (OSError, ValueError, KeyError, TypeError):
      return None
    return ticket if is_ticket(ticket) else None

  def keep(self, key: str, ticket: str) -> None:
    """Keeps a ticket under a name."""
    if self.folder is not None:
      atomic.write_text(atomic.make_folder(self.folder) / f'{key}.json', json.dumps({'ticket': ticket}) + '\n')

  def forget(self, key: str) -> None:
    """Removes a ticket, if there is one."""
    if self.folder is not None:
      (self.folder / f'{key}.json').unlink(missing_ok=True)
