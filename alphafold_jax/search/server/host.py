# SPDX-License-Identifier: Apache-2.0
"""A server and how to use it."""

import dataclasses
from pathlib import Path

from alphafold_jax.errors import InputError
from alphafold_jax.search.server.client import Credentials


@dataclasses.dataclass(frozen=True)
class Host:
  """A server and how to use it.

  Raises:
    InputError: a number that must be greater than 0 is not.
  """

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

  def __post_init__(self) -> None:
    if self.batch < 1 or self.deadline <= 0 or self.timeout <= 0:
      raise InputError(
        f'{self.url}: batch ({self.batch}), deadline ({self.deadline:g} s) and timeout '
        f'({self.timeout:g} s) must be greater than 0'
      )
