# SPDX-License-Identifier: Apache-2.0
"""The one alignment over all residues that is made of the alignments of a complex's chains.

Paired rows stand on top and span all chains; below them each distinct chain has its unpaired rows, with gaps in the
others (a block diagonal). Copies of a chain have the same row side by side, so that the alignment of a homomer is
dense. Cells off the blocks are gaps like any other: they count in the profile and may be masked.

    all      paired rows: A | B | A
    A        unpaired:    A | - | A
    B                     - | B | -

Copies count as one chain where rows are counted; a complex of copies alone has no paired rows.
"""

import dataclasses

import numpy as np

from alphafold_jax.arguments import is_whole, wrong
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import MAX_ROWS, Alignment, encode
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes.alignments import ComplexAlignment, rows_of
from alphafold_jax.errors import InputError
from alphafold_jax.naming import listed


@dataclasses.dataclass(frozen=True)
class Merging:
  """Which rows of a complex's alignments are taken."""

  drop_repeats: bool | None = None  # unpaired rows that a paired row of the chain repeats, taken or not, are left out;
  # None: if the alignments say so
  max_paired: int = 1024  # the first ones; AlphaFold's MSA_CROP_SIZE / 2
  max_rows: int = 2048  # of one chain, paired and unpaired together; AlphaFold's MSA_CROP_SIZE
  dense: bool = True  # copies of a chain share its unpaired rows; else each copy has them alone, one below the other

  def __post_init__(self) -> None:
    for name in ('max_paired', 'max_rows'):
      if not is_whole(getattr(self, name), 1):
        raise wrong(name, getattr(self, name), 'must be a whole number, 1 or more')


COLABFOLD = Merging()  # rows as they are given: the chains stand again above their unpaired rows
DEEPMIND = Merging(drop_repeats=True)
FOR_MONOMER_MODELS = Merging(drop_repeats=False, max_paired=10**9, max_rows=10**9, dense=False)  # as ColabFold has it


def merge(alignment: ComplexAlignment, chains: Chains, merging: Merging = COLABFOLD) -> Alignment:
  """The alignment of all chains, in their order; row 0 is the chains themselves.

  Args:
    alignment: of the distinct chains, in any order.
    chains: the complex.
    merging: which rows are taken.

  Raises:
    InputError: the alignments are of other chains.
  """
  if merging.drop_repeats is None:
    merging = dataclasses.replace(merging, drop_repeats=alignment.drop_repeats)
  order = _order(alignment, chains)
  pairs = [alignment.paired[i] for i in order]
  blocks = [alignment.unpaired[i] for i in order]
  num_pairs = _num_pairs(pairs, chains, merging)
  kept = [_unpaired(block, pair, num_pairs, merging) for block, pair in zip(blocks, pairs, strict=True)]
  pairs = [rows_of(pair, slice(num_pairs)) for pair in pairs]
  groups = _groups(chains, merging.dense)
  if num_pairs + sum(len(kept[entity].tokens) for entity, _ in groups) > MAX_ROWS:  # each chain has its share
    most = max(1, (MAX_ROWS - num_pairs) // len(groups))
    kept = [rows_of(block, slice(most)) for block in kept]
  starts = np.cumsum([num_pairs, *(len(kept[entity].tokens) for entity, _ in groups)]).tolist()
  tokens = np.full((starts[-1], chains.num_res), residues.GAP, np.int32)
  deletions = np.zeros_like(tokens)
  for entity, span in zip(chains.entities, chains.spans, strict=True):
    pair = pairs[entity - 1]
    tokens[:num_pairs, span], deletions[:num_pairs, span] = pair.tokens, pair.deletions
  for (entity, spans), start, end in zip(groups, starts[:-1], starts[1:], strict=True):
    for span in spans:
      tokens[start:end, span], deletions[start:end, span] = kept[entity].tokens, kept[entity].deletions
  paired_names = ('\t'.join(name.split('\t')[0] for name in names) for names in zip(*(pair.names for pair in pairs)))
  return Alignment(
    names=(*paired_names, *(name for entity, _ in groups for name in kept[entity].names)),
    tokens=tokens,
    deletions=deletions,
    query=chains.sequence,
    notes=tuple(dict.fromkeys([*alignment.notes, *(note for block in blocks for note in block.notes)])),
    lengths=chains.lengths if len(chains) > 1 else (),
  )


def _num_pairs(pairs: list[Alignment], chains: Chains, merging: Merging) -> int:
  """How many paired rows are taken, with that of the chains themselves; none where their unpaired rows are dense."""
  if len(pairs) == 1:
    return 0 if merging.dense or len(chains) == 1 else 1
  return min(len(pairs[0].tokens), merging.max_paired)


def _groups(chains: Chains, dense: bool) -> list[tuple[int, list[slice]]]:
  """Which chains share unpaired rows: the place of an entity from 0, and where they stand."""
  of_entities = [
    (entity - 1, [span for own, span in zip(chains.entities, chains.spans, strict=True) if own == entity])
    for entity in range(1, len(chains.distinct) + 1)
  ]
  return of_entities if dense else [(entity, [span]) for entity, spans in of_entities for span in spans]


def _order(alignment: ComplexAlignment, chains: Chains) -> list[int]:
  """Which alignment is that of each entity."""
  place = {_key(query): index for index, query in enumerate(alignment.queries)}
  named = zip(chains.names, chains.sequences, strict=True)
  missing = [name for name, sequence in named if _key(sequence) not in place]
  if missing or len(place) > len(chains.distinct):
    lacking = f'no alignment of chain {listed(missing)}' if missing else 'alignments of chains that the complex lacks'
    raise InputError(
      f'{lacking}; it has chains of {listed(map(str, map(len, chains.distinct)), 8)} residues, and the alignments are '
      f'of {listed(map(str, map(len, alignment.queries)), 8)}: their first rows must be the chains'
    )
  return [place[_key(sequence)] for sequence in chains.distinct]


def _key(sequence: str) -> bytes:
  """What tells a chain from the others: its residue types."""
  return encode(sequence).tobytes()


def _unpaired(block: Alignment, pair: Alignment, num_pairs: int, merging: Merging) -> Alignment:
  """The rows of a chain that go below the first `num_pairs` paired ones."""
  if num_pairs and merging.drop_repeats:
    there = set(_keys(pair.tokens))
    block = rows_of(block, [i for i, key in enumerate(_keys(block.tokens)) if key not in there])
  with_residue = int(np.any(pair.tokens[:num_pairs] != residues.GAP, axis=1).sum())
  return rows_of(block, slice(max(merging.max_rows - with_residue, 0)))


def _keys(tokens: np.ndarray) -> list[bytes]:  # [num_seq, num_res]
  """What tells each row from the others."""
  return [row.tobytes() for row in np.ascontiguousarray(tokens, np.int32)]
