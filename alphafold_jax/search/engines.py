# SPDX-License-Identifier: Apache-2.0
"""What an engine is: anything that has a name and these methods. One kind finds homologues, another templates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.search.found import Found

Watch = Callable[[float, str], None]  # called with the share of a search that is done, 0 to 1, and what is done now
Result = tuple[int, Found | AlphaFoldError]  # index of a sequence, and what was found for it or why nothing was


class Engine(Protocol):
  """Finds homologues of sequences."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON: program version, settings, identities of the databases."""

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """Searches for all sequences; each result as soon as it is there.

    Args:
      sequences: upper-case letters, each different from the others.
      watch: called now and then with the progress.

    Raises:
      SearchError, InputError, ResourceError: nothing more can be found; what was yielded stands.
    """


class TemplateEngine(Protocol):
  """Finds known structures by the alignment of a sequence."""

  name: str

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found, as JSON."""

  def search(self, sequence: str, found: Found, watch: Watch) -> Found:
    """The hits for one sequence whose homologues were found, and no rows; the same errors as of `Engine`."""
