# SPDX-License-Identifier: Apache-2.0
"""One training chain as arrays, and as the bytes of its record in the cache.

The bytes are a JSON line with names, types and shapes, then the arrays one after another:

* alignment tokens and deletion counts in one byte each; counts above 255 become 255, since the network sees
  2/pi arctan(count/3), which hardly grows any more
* coordinates of the atoms that exist, in thousandths of an Å, the precision of the file formats: each residue's first
  atom in 4 bytes per axis, the others as offsets from it in 2, low and high bytes apart, since high bytes compress well
* the profile of the whole alignment in 16 bits; where there is only the sequence, it is computed
* couplings, where they were asked for, as levels of one byte (coevolution/inputs.py): each pair of residues once
"""

import dataclasses
import json
from typing import Any

import numpy as np

from alphafold_jax.data.structures import Chain
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_PER_ANGSTROM = 1000
_MAX_OFFSET = 32.0  # Å from a residue's first atom: no residue is larger, and 2 bytes hold it
_BONDED = 2.5  # Å between C and the next N; a peptide bond has 1.33
_MAX_COUNT = 255
_PROFILE_STEPS = np.float32(65535)
_TOKENS = np.eye(22, dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class ChainRecord:
  """One chain, its structure and its alignment, which without homologues is the sequence alone."""

  id: str
  sequence: str  # one letter per residue, X where unknown
  residue_index: np.ndarray  # [num_res] int32, from 0; jumps where the chain does
  atom_positions: np.ndarray  # [num_res, 37, 3] float32, Å; 0 where there is no atom
  atom_mask: np.ndarray  # [num_res, 37] float32
  tokens: np.ndarray  # [num_seq, num_res] uint8; row 0 is the sequence
  deletions: np.ndarray  # [num_seq, num_res] uint8
  profile: np.ndarray  # [num_res, 22] float32, token frequencies in the whole alignment, gaps included
  resolution: float = 0.0  # Å; 0: unknown
  confidence: np.ndarray | None = None  # [num_res] float32, pLDDT 0-100 of a predicted structure; None: experimental
  couplings: np.ndarray | None = None  # [num_res, num_res] uint8, levels of `coevolution.levels`; None: there are none
  neff: float = 0.0  # effective number of rows of the whole alignment, where there are couplings

  __repr__ = one_line


def pack(record: ChainRecord) -> bytes:
  """The record as bytes.

  Raises:
    InputError: two atoms of a residue are more than 32 Å apart.
  """
  present = record.atom_mask > 0
  of_residue = np.nonzero(present)[0]  # residue of each atom
  milli = np.rint(record.atom_positions[present] * np.float64(_PER_ANGSTROM)).astype(np.int32)  # [num_atom, 3]
  starts = np.flatnonzero(np.diff(of_residue, prepend=-1))
  origins = milli[starts]
  offsets = milli - np.repeat(origins, np.diff(np.append(starts, len(milli))), axis=0)
  if offsets.size and (far := np.abs(offsets).max()) > _MAX_OFFSET * _PER_ANGSTROM:
    residue = int(of_residue[np.abs(offsets).max(axis=1).argmax()])
    raise InputError(f'two atoms of residue {residue + 1} are {far / _PER_ANGSTROM:.0f} Å apart; the file is damaged')
  arrays = {
    'index_steps': np.diff(record.residue_index, prepend=0).astype(np.int32),
    'atoms': np.packbits(present, axis=1),  # [num_res, 5]
    'origins': origins,
    'offsets': np.ascontiguousarray(offsets.astype('<i2').view(np.uint8).reshape(-1, 2).T),  # [2, num_atom * 3]
    'tokens': record.tokens.astype(np.uint8),
    'deletions': np.minimum(record.deletions, _MAX_COUNT).astype(np.uint8),
  }
  if len(record.tokens) > 1:
    arrays['profile'] = np.rint(record.profile * _PROFILE_STEPS).astype('<u2')
  if record.confidence is not None:
    arrays['confidence'] = np.asarray(record.confidence, np.float32)
  if record.couplings is not None:
    arrays['couplings'] = record.couplings[np.triu_indices(len(record.sequence))]
  header = {
    'id': record.id,
    'sequence': record.sequence,
    'resolution': record.resolution,
    'arrays': [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
  }
  if record.couplings is not None:
    header['neff'] = record.neff
  line = json.dumps(header).encode() + b'\n'
  return line + b''.join(array.tobytes() for array in arrays.values())


def unpack(content: bytes) -> ChainRecord:
  """The record that `pack` made these bytes of; its alignment is a view of the bytes."""
  end = content.index(b'\n') + 1
  header: dict[str, Any] = json.loads(content[:end])
  arrays: dict[str, np.ndarray] = {}
  for name, dtype, shape in header['arrays']:
    count = int(np.prod(shape))
    arrays[name] = np.frombuffer(content, dtype, count, end).reshape(shape)
    end += arrays[name].nbytes
  present = np.unpackbits(arrays['atoms'], axis=1, count=37).astype(bool)
  num_atoms = present.sum(axis=1)
  offsets = np.ascontiguousarray(arrays['offsets'].T).view('<i2').reshape(-1, 3)
  milli = np.repeat(arrays['origins'], num_atoms[num_atoms > 0], axis=0) + offsets
  profile = arrays['profile'] / _PROFILE_STEPS if 'profile' in arrays else single_profile(arrays['tokens'][0])
  positions = np.zeros((*present.shape, 3), np.float32)
  positions[present] = milli / np.float64(_PER_ANGSTROM)
  return ChainRecord(
    id=header['id'],
    sequence=header['sequence'],
    residue_index=np.cumsum(arrays['index_steps'], dtype=np.int32),
    atom_positions=positions,
    atom_mask=present.astype(np.float32),
    tokens=arrays['tokens'],
    deletions=arrays['deletions'],
    profile=profile,
    resolution=header['resolution'],
    confidence=arrays.get('confidence'),
    couplings=_square(arrays['couplings'], len(present)) if 'couplings' in arrays else None,
    neff=header.get('neff', 0.0),
  )


def _square(triangle: np.ndarray, num_res: int) -> np.ndarray:  # [num_res, num_res]
  """A symmetric matrix of its upper triangle."""
  square = np.empty((num_res, num_res), triangle.dtype)
  rows, columns = np.triu_indices(num_res)
  square[rows, columns] = square[columns, rows] = triangle
  return square


def add_couplings(content: bytes, levels: np.ndarray, neff: float) -> bytes:
  """A record's bytes with couplings: levels [num_res, num_res] uint8, and the effective number of rows."""
  return pack(dataclasses.replace(unpack(content), couplings=levels, neff=neff))


def single_profile(tokens: np.ndarray) -> np.ndarray:  # [num_res] -> [num_res, 22] float32
  """The profile of a sequence alone."""
  return _TOKENS[tokens]


def residue_index(chain: Chain) -> np.ndarray:  # [num_res] int32
  """The position of each residue in its chain, from 0.

  The index grows by one per residue, except where two residues are not bonded and the authors' numbers jump, as in
  files that do not give the full sequence: there it jumps as much.
  """
  steps = np.ones(len(chain.sequence), np.int32)
  steps[0] = 0
  jumps = np.diff(np.array(chain.numbers, np.float64))  # NaN beside an unknown number
  n, c = chain.atom_positions[1:, 0], chain.atom_positions[:-1, 2]
  both = (chain.atom_mask[1:, 0] > 0) & (chain.atom_mask[:-1, 2] > 0)
  apart = both & (np.linalg.norm(n - c, axis=-1) > _BONDED) & (jumps > 1)
  steps[1:][apart] = jumps[apart]
  return np.cumsum(steps, dtype=np.int32)


def without_alignment(record: ChainRecord) -> ChainRecord:
  """The same chain without homologues."""
  tokens, deletions = record.tokens[:1], record.deletions[:1]
  profile = single_profile(tokens[0])
  return dataclasses.replace(record, tokens=tokens, deletions=deletions, profile=profile, couplings=None)
