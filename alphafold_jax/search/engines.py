# SPDX-License-Identifier: Apache-2.0
"""The engines, by the name a person chooses them with; an engine is anything with these three members."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.search.found import Found

Watch = Callable[[float, str], None]  # told how far a search has come, 0 to 1, and with what


class Engine(Protocol):
  """Finds homologues of sequences."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON: program version, settings, identities of the databases."""

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[tuple[int, Found | AlphaFoldError]]:
    """Searches for all sequences; each result as soon as it is there, with the sequence's index.

    Args:
      sequences: upper-case letters, each different from the others.
      watch: is told how far it has come.

    Raises:
      SearchError, InputError, ResourceError: nothing more can be found; what was yielded stands.
    """
