# SPDX-License-Identifier: Apache-2.0
"""Which training chains resemble each chain of a cache: the file templates.npz, from which templates are drawn.

template_finding.py makes it. Its arrays are those of `TemplateHits`; an entry of JSON tells format, version and cache.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

FILE = 'templates.npz'
_FORMAT, _VERSION, _HEADER = 'alphafold_jax template hits', 1, '__format__'
_TYPES = {'starts': 'int64', 'chains': 'int32', 'scores': 'int32', 'identities': 'float32', 'coverages': 'float32'}


class ChainHit(NamedTuple):
  """A training chain that resembles another chain."""

  chain: int  # index in the cache
  score: int  # of the alignment of the two sequences
  identity: float  # share of the aligned residues that are the same
  coverage: float  # share of the other chain's residues that are aligned


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateHits:
  """The hits of all chains of a cache, one chain's behind another's, each chain's in the order of their scores."""

  starts: np.ndarray  # [num_chain + 1] int64: chain i has the hits starts[i] ... starts[i + 1] - 1
  chains: np.ndarray  # [num_hit] int32, index in the cache
  scores: np.ndarray  # [num_hit] int32
  identities: np.ndarray  # [num_hit] float32
  coverages: np.ndarray  # [num_hit] float32

  __repr__ = one_line

  def of(self, index: int, max_identity: float = 1.0) -> list[int]:
    """The chains that resemble a chain, the best score first; those above an identity are left out."""
    own = slice(self.starts[index], self.starts[index + 1])
    return self.chains[own][self.identities[own] <= np.float32(max_identity)].tolist()

  def counts(self) -> np.ndarray:  # [num_chain]
    """How many hits each chain has."""
    return np.diff(self.starts)


def joined(hits: Sequence[Sequence[ChainHit]]) -> TemplateHits:
  """The hits of each chain in turn as one table."""
  columns = list(zip(*(hit for own in hits for hit in own), strict=True)) or [()] * len(ChainHit._fields)
  arrays = [np.cumsum([0, *map(len, hits)]), *columns]
  return TemplateHits(*(np.array(array, dtype) for array, dtype in zip(arrays, _TYPES.values(), strict=True)))


def write(path: Path, hits: TemplateHits, ids: Sequence[str]) -> None:
  """Writes the hits of a cache whose chains have these ids, whole or not at all.

  Raises:
    ResourceError, InputError: the disk is full, or the place cannot be written.
  """
  arrays: dict[str, Any] = {name: getattr(hits, name) for name in _TYPES}
  arrays[_HEADER] = np.frombuffer(json.dumps(_header(ids)).encode(), np.uint8)
  with atomic.replacing(path) as file:
    np.savez_compressed(file, **arrays)


def read(path: Path, ids: Sequence[str]) -> TemplateHits | None:
  """The hits of the cache whose chains have these ids; None where there is no such file.

  Raises:
    InputError: the file is damaged, of another version or of another cache.
  """
  again = f'make it again with `alphafold-jax dataset {path.parent} --templates`'
  try:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
      header = untrusted.from_json(archive[_HEADER].tobytes())
      hits = TemplateHits(**{name: np.asarray(archive[name], dtype) for name, dtype in _TYPES.items()})
  except FileNotFoundError:
    return None
  except Exception as error:  # numpy and zipfile raise whatever a damaged byte leads to
    raise InputError(f'{path}: damaged ({type(error).__name__}: {error}); {again}') from None
  if header != _header(ids) or not _fits(hits, len(ids)):
    raise InputError(f'{path}: of another cache or another version of this program; {again}')
  return hits


def _header(ids: Sequence[str]) -> dict[str, Any]:
  digest = hashlib.sha256('\n'.join(ids).encode()).hexdigest()
  return {'format': _FORMAT, 'version': _VERSION, 'chains': digest}


def _fits(hits: TemplateHits, num_chains: int) -> bool:
  """Whether all numbers point into the tables that they belong to."""
  lengths = {len(getattr(hits, name)) for name in _TYPES if name != 'starts'}
  starts, chains = hits.starts, hits.chains
  return (
    len(starts) == num_chains + 1
    and lengths == {int(starts[-1])}
    and starts[0] == 0
    and bool(np.all(np.diff(starts) >= 0) and np.all((chains >= 0) & (chains < num_chains)))
  )
