# SPDX-License-Identifier: Apache-2.0
"""The network's input from a sequence and its alignment (Suppl. 1.2), and a file format for it.

Only what does not depend on chance is made here; clusters, masking and extra rows are drawn on the device from the
raw alignment. A batch is of numpy arrays, unpadded, of one chain or of all chains of a complex in their order.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic, fields, schema
from alphafold_jax.arguments import wrong
from alphafold_jax.constants import residues
from alphafold_jax.data import complexes
from alphafold_jax.data.alignment import Alignment, profile, single_sequence
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.records import read_bytes
from alphafold_jax.errors import InputError

_FORMAT = 'alphafold_jax features'
_VERSION = 1
_HEADER = '__format__'  # JSON as bytes
_OF_CHAINS = '__chains__.'  # before the names of what a complex's alignment over all residues was made of


def make_batch(
  query: str | Alignment,
  *,
  templates: schema.Templates | None = None,
  num_templates: int = 4,
  max_rows: int | None = None,
) -> schema.Batch:
  """The unpadded input for a protein or complex; a bare sequence is an alignment of one row.

  Args:
    query: sequence, of a complex 'AAA:BBB', or alignment; its `lengths` are those of the chains.
    templates: from `templates.stack_templates`; None gives empty slots.
    num_templates: how many empty slots; ignored with templates.
    max_rows: keep only that many rows; the profile is still that of all.

  Raises:
    InputError: the templates are for a query of another length, or the chains for another alignment.
  """
  if not isinstance(query, str | Alignment):
    raise wrong('query', query, 'must be a sequence as text, or an Alignment')
  alignment = single_sequence(query) if isinstance(query, str) else query
  _check_alignment(alignment)
  num_seq, num_res = alignment.tokens.shape
  aatype = np.array(alignment.tokens[0], np.int32)
  if templates is None:
    templates = empty_templates(num_templates, num_res)
  elif not isinstance(templates, schema.Templates):
    raise wrong('templates', templates, 'must be from data.templates.stack_templates')
  elif templates.aatype.shape[1] != num_res:
    raise InputError(f'the templates are for {templates.aatype.shape[1]} residues, the query has {num_res}')
  chains = _chains(alignment, num_res)
  return schema.Batch(
    aatype=aatype,
    soft_sequence=np.eye(21, dtype=np.float32)[aatype],
    seq_mask=np.ones(num_res, np.float32),
    residue_index=chains.residue_index,
    asym_id=chains.asym_id,
    entity_id=chains.entity_id,
    sym_id=chains.sym_id,
    msa=_msa(alignment, num_seq if max_rows is None else max(1, min(max_rows, num_seq))),
    templates=templates,
    targets=empty_targets(num_res),
  )


def _chains(alignment: Alignment, num_res: int) -> Chains:
  """The chains that an alignment spans; a single one is whatever it was called."""
  if not alignment.lengths:
    return Chains(('X' * num_res,))
  if len(alignment.query) != num_res or sum(alignment.lengths) != num_res:
    raise InputError(
      f'alignment of {num_res} columns: its query has {len(alignment.query)} residues, its chains '
      f'{sum(alignment.lengths)}; all must be one number'
    )
  return Chains.cut(alignment.query, alignment.lengths)


def _check_alignment(alignment: Alignment) -> None:
  """Refuses what no reader gives: arrays put together by hand."""
  tokens, deletions = np.asarray(alignment.tokens), np.asarray(alignment.deletions)
  if tokens.ndim != 2 or not tokens.size or tokens.shape != deletions.shape:
    shapes = f'tokens of shape {tokens.shape} and deletions of shape {deletions.shape}'
    raise InputError(f'alignment: {shapes}; both must be [rows, residues], the query first')
  least, most, of_query = tokens.min(), tokens.max(), tokens[0].max()
  if tokens.dtype.kind not in 'iu' or least < 0 or most > residues.GAP or of_query > residues.UNKNOWN:
    raise InputError(
      f'alignment: tokens {least} to {most}, in the query to {of_query}; must be integers from 0 to 21, 21 a gap'
    )


def _msa(alignment: Alignment, num_rows: int) -> schema.Msa:
  """The first rows of the alignment with the profile of all."""
  tokens = np.asarray(alignment.tokens[:num_rows], np.int32)
  return schema.Msa(
    tokens=tokens,
    deletions=np.asarray(alignment.deletions[:num_rows], np.float32),
    mask=np.ones(tokens.shape, np.float32),
    pinned=np.eye(1, num_rows, dtype=np.float32)[0],
    profile=profile(alignment.tokens),
  )


def empty_templates(num_templates: int, num_res: int) -> schema.Templates:
  """Slots without a template: all masked."""
  return fields.filled(schema.Templates, {'num_templ': num_templates, 'num_res': num_res})


def empty_targets(num_res: int) -> schema.Targets:
  """No known structure: all masked."""
  return fields.filled(schema.Targets, {'num_res': num_res})


def save_features(
  path: str | Path,
  batch: schema.Batch,
  metadata: dict[str, Any] | None = None,
  of_chains: complexes.ComplexAlignment | None = None,
) -> None:
  """Writes a batch as compressed .npz, whole or not at all; arrays stand under names like 'msa.tokens'.

  Args:
    path: the file; an existing one is replaced.
    batch: unpadded.
    metadata: anything JSON can hold (name, sequence, source); `load_features` returns it.
    of_chains: the alignments that a complex's was made of, for models that take other rows of them; `load_chains`
      returns it.

  Raises:
    ResourceError: the disk is full.
    InputError: the place cannot be written.
  """
  header = json.dumps({'format': _FORMAT, 'version': _VERSION, 'metadata': metadata or {}})
  arrays: dict[str, Any] = {name: np.asarray(value) for name, _, value in fields.leaves(batch)}
  arrays[_HEADER] = np.frombuffer(header.encode(), np.uint8)
  if of_chains is not None:
    arrays |= {f'{_OF_CHAINS}{name}': array for name, array in complexes.to_arrays(of_chains).items()}
  with atomic.replacing(path) as file:
    np.savez_compressed(file, **arrays)


def load_features(path: str | Path, content: bytes | None = None) -> tuple[schema.Batch, dict[str, Any]]:
  """Reads what `save_features` wrote: the batch and its metadata.

  Args:
    path: the file, perhaps gzipped.
    content: what is in it, if it was read before, decompressed.

  Raises:
    InputError: the file is not such a one, or is damaged; the message names the array.
  """
  arrays = _read_npz(path, read_bytes(path) if content is None else content)
  metadata = _check_header(arrays.pop(_HEADER, None), path)
  batch = fields.from_leaves(schema.Batch, arrays, str(path))
  for name, field, value in fields.leaves(batch):
    if value.dtype != field.metadata['dtype']:
      raise InputError(f'{path}: array {name!r} has type {value.dtype}, expected {field.metadata["dtype"]}')
  check_batch(batch, str(path))
  return batch, metadata


def load_chains(path: str | Path, content: bytes | None = None) -> complexes.ComplexAlignment | None:
  """The alignments of a complex's chains in what `save_features` wrote; None if it was given none.

  Args:
    path: the file, perhaps gzipped.
    content: what is in it, if it was read before, decompressed.

  Raises:
    InputError: the file is not such a one, or is damaged.
  """
  arrays = _read_npz(path, read_bytes(path) if content is None else content, _OF_CHAINS)
  found = {name.removeprefix(_OF_CHAINS): array for name, array in arrays.items()}
  return complexes.from_arrays(found, str(path)) if found else None


def check_batch(batch: schema.Batch, source: str) -> None:
  """Checks that arrays fit one another and hold what they may, which nothing on the device would notice.

  Raises:
    InputError: with the source, names the array that is wrong.
  """
  _check_whole(batch, source)
  sizes = fields.axis_sizes(batch, source)
  for axis in ('num_res', 'num_seq'):
    if not sizes[axis]:
      raise InputError(f'{source}: {axis} is 0; there must be at least one residue, and the query as a row')
  for name, field, value in fields.leaves(batch):
    array, expected = np.asarray(value), np.dtype(field.metadata['dtype'])
    if array.dtype.kind != expected.kind:
      raise InputError(f'{source}: array {name!r} has type {array.dtype}, expected {expected}')
    if expected.kind == 'f' and not np.isfinite(array).all():
      raise InputError(f'{source}: array {name!r} of shape {array.shape} holds NaN or infinity')
  _check_tokens(batch, source)
  _check_masks(batch, source)
  _check_one_sequence(batch, source)


def _read_npz(path: str | Path, content: bytes, prefix: str = '') -> dict[str, np.ndarray]:
  """The arrays of the archive whose names begin so, by name; InputError names the one that cannot be read."""
  arrays, name = {}, None
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
      for name in [name for name in archive.files if name.startswith(prefix)]:
        arrays[name] = np.asarray(archive[name])  # bytes where a member is no .npy file
  except Exception as error:  # numpy and zipfile raise whatever a damaged byte leads to
    what = f'array {name!r} cannot be read ({error})' if name else 'not an .npz archive, or a truncated one'
    raise InputError(f'{path}: {what}; make the features again') from None
  return arrays


def _check_header(header: np.ndarray | None, path: str | Path) -> dict[str, Any]:
  """The metadata, once format and version are right."""
  try:
    content = json.loads(np.asarray(header).tobytes()) if header is not None else {}
    kind, version, metadata = content.get('format'), content.get('version'), content.get('metadata')
  except (ValueError, AttributeError, RecursionError):
    kind = version = metadata = None
  if kind != _FORMAT or not isinstance(metadata, dict):
    raise InputError(f'{path}: no features of alphafold_jax (entry {_HEADER!r} is missing or of another program)')
  if version != _VERSION:
    raise InputError(f'{path}: features of format version {version}, this program reads {_VERSION}; make them again')
  return metadata


def _check_tokens(batch: schema.Batch, source: str) -> None:
  """Refuses residue types and tokens beyond their tables, which would not be noticed on the device."""
  limits = {'aatype': (batch.aatype, 20), 'msa.tokens': (batch.msa.tokens, 21)}
  limits['templates.aatype'] = (batch.templates.aatype, 21)
  for name, (array, largest) in limits.items():
    value = np.asarray(array)
    if value.size and not 0 <= value.min() <= value.max() <= largest:
      raise InputError(f'{source}: array {name!r} holds {value.min()}..{value.max()}, expected 0..{largest}')


def _check_whole(batch: schema.Batch, source: str) -> None:
  """Refuses a batch without one of its arrays."""
  there = {name for name, _, _ in fields.leaves(batch)}
  if lacking := [name for name in fields.names(schema.Batch) if name not in there]:
    raise InputError(f'{source}: without the array {lacking[0]!r}; afj.make_batch gives a whole batch')


def _check_masks(batch: schema.Batch, source: str) -> None:
  """Refuses masks that are none or hide all, and deletions that cannot be counted."""
  limits = {name: (value, 1.0) for name, _, value in fields.leaves(batch) if name.endswith('mask')}
  for name, (array, largest) in {**limits, 'msa.deletions': (batch.msa.deletions, np.inf)}.items():
    value = np.asarray(array)
    if value.size and not 0 <= value.min() <= value.max() <= largest:
      expected = '0..1' if largest == 1 else '0 or more'
      raise InputError(f'{source}: array {name!r} holds {value.min():g}..{value.max():g}, expected {expected}')
  for name, value in {'seq_mask': batch.seq_mask, 'msa.mask': np.asarray(batch.msa.mask)[0]}.items():
    if not np.any(value):
      raise InputError(f'{source}: array {name!r} shows no residue of the protein; set it to 1 where one is')


def _check_one_sequence(batch: schema.Batch, source: str) -> None:
  """Refuses a batch in which the arrays that hold the query hold different ones."""
  shown = np.asarray(batch.seq_mask) > 0
  others = {'soft_sequence': np.argmax(batch.soft_sequence, axis=-1), 'row 0 of msa.tokens': batch.msa.tokens[0]}
  for name, value in others.items():
    differ = np.flatnonzero((np.asarray(value) != np.asarray(batch.aatype)) & shown)
    if differ.size:
      raise InputError(
        f'{source}: {name} holds another sequence than aatype, first at residue {differ[0] + 1}; afj.with_sequence '
        'changes all that holds it'
      )
