# SPDX-License-Identifier: Apache-2.0
"""What a run knows of how a protein came to be predicted, beside the prediction itself."""

import dataclasses
from typing import Literal

from alphafold_jax.choices import NATURAL


@dataclasses.dataclass(frozen=True)
class UsedDatabase:
  """A database that was searched, as far as it is known."""

  name: str
  version: str | None = None
  url: str | None = None  # where its publisher offers it


@dataclasses.dataclass(frozen=True)
class EarlierStep:
  """What was done before a structure was predicted."""

  gives: Literal['alignment', 'templates']
  details: str
  program: str | None = None
  version: str | None = None  # of the program
  location: str | None = None  # of a server
  databases: tuple[UsedDatabase, ...] = ()


@dataclasses.dataclass(frozen=True)
class Provenance:
  """Where a protein is from, and what was done with it."""

  headers: tuple[str, ...] = ()  # of its sequence, or of that of each chain, as they were read
  steps: tuple[EarlierStep, ...] = ()  # in order
  origin: str = NATURAL  # of choices.ORIGINS
