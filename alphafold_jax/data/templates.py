# SPDX-License-Identifier: Apache-2.0
"""Template features: a known structure placed on the query's residues (Suppl. 1.2.3).

The residue map assigns residues of the template to residues of the query. It is given, read from an alignment of two
rows, or made here by aligning the two sequences; no database and no external aligner take part.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax import schema
from alphafold_jax.arguments import wrong
from alphafold_jax.choices import MAX_TEMPLATES
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import align, canonical, checked, encode, identical, paired
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.features import empty_templates
from alphafold_jax.data.query import OwnTemplate
from alphafold_jax.data.records import NO_ALIGNMENT_SYMBOL, read_text, split_records
from alphafold_jax.data.structures import Chain, read_chain, read_chains
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line

_log = logging.getLogger(__name__)
_MIN_ALIGNED = 10  # residues with a CA atom
_MIN_SAME = 0.9  # identity at which the sequence in an alignment and that in the file are one protein
MIN_IDENTITY = 0.25  # below, an alignment by sequence alone is a guess, and given pairs may be shifted
MIN_COVERAGE = 0.1  # of the query, by a structure that is aligned by sequence alone
_MAX_CA_STEP = 150.0  # Å between consecutive residues, as in AlphaFold: beyond, the file is nonsense
ResidueMap = Mapping[int, int] | Sequence[tuple[int, int]]  # query index and index in the chain's sequence, from 0


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
  """One structure on the query's residues."""

  name: str  # file stem and chain
  aatype: np.ndarray  # [num_res] int32, 21 where nothing is aligned
  atom_positions: np.ndarray  # [num_res, 37, 3] float32, Å
  atom_mask: np.ndarray  # [num_res, 37] float32
  residue_map: dict[int, int]  # query index -> index in the chain's sequence, both from 0
  identity: float  # of the aligned residues
  coverage: float  # share of the query's residues that have a CA atom in the template
  notes: tuple[str, ...] = ()  # reasons to doubt it

  __repr__ = one_line


def template_from_structure(
  query_sequence: str,
  path: str | Path,
  chain: str | None = None,
  *,
  residue_map: ResidueMap | None = None,
  alignment: str | Path | None = None,
) -> Template:
  """A template from a PDB or mmCIF file.

  Args:
    query_sequence: one-letter codes.
    path: the structure, also .gz.
    chain: the authors' name; by default the only chain or, without a map, the one that aligns best.
    residue_map: pairs (query index, template index) from 0; the template index counts in the chain's sequence.
    alignment: file of two rows, query and template, as gapped FASTA or as A3M; instead of a map.

  Raises:
    InputError: a file cannot be read, or the structure cannot be placed on the query.
  """
  query_sequence = checked(query_sequence)
  if residue_map is not None and alignment is not None:
    raise InputError(f'{path}: give a residue map or an alignment, not both')
  pairs: ResidueMap
  if alignment is not None:
    found = read_chain(path, chain)
    pairs = map_from_alignment(alignment, query_sequence, found.sequence)
  elif residue_map is not None:
    found, pairs = read_chain(path, chain), residue_map
  else:
    found, pairs = _best_chain(query_sequence, path, chain)
  name = f'{Path(path).name.split(".")[0]}_{found.id}'
  template = template_from_chain(query_sequence, found, pairs, name=name, source=str(path))
  if template.identity < MIN_IDENTITY:
    is_given = residue_map is not None or alignment is not None
    advice = 'check that its indices count from 0 in the sequence of the chain' if is_given else 'give an alignment'
    what = 'residues given for' if is_given else 'residues aligned to'
    note = f'only {template.identity:.0%} of the {what} {name} are identical; {advice}'
    return dataclasses.replace(template, notes=(note,))
  return template


def template_from_chain(
  query_sequence: str,
  chain: Chain,
  residue_map: ResidueMap,
  *,
  name: str,
  source: str,
  min_resolved: int = _MIN_ALIGNED,
) -> Template:
  """A template from the mapped residues of a chain.

  Args:
    query_sequence: one-letter codes.
    chain: the structure.
    residue_map: pairs (query index, index in the chain's sequence) from 0.
    name: of the template.
    source: names the structure in messages.
    min_resolved: aligned residues that must have coordinates; of shorter queries half.

  Raises:
    InputError: the map does not fit, or too few residues have coordinates.
  """
  num_res = len(query_sequence)
  residue_map = _checked_map(residue_map, num_res, len(chain.sequence), source)
  _check_steps(chain, source)
  to, at = np.array(list(residue_map), int), np.array(list(residue_map.values()), int)
  aatype = np.full(num_res, residues.GAP, np.int32)
  positions = np.zeros((num_res, 37, 3), np.float32)
  mask = np.zeros((num_res, 37), np.float32)
  aatype[to] = encode(chain.sequence)[at]
  positions[to], mask[to] = chain.atom_positions[at], chain.atom_mask[at]
  resolved = int(mask[:, residues.ATOM_INDEX['CA']].sum())
  if resolved < (needed := min(min_resolved, max(1, num_res // 2))):
    raise InputError(
      f'{source}: only {resolved} residues of chain {chain.id!r} with coordinates align to the query, '
      f'at least {needed} are needed; use another template or give the residue map'
    )
  return Template(
    name=name,
    aatype=aatype,
    atom_positions=positions,
    atom_mask=mask,
    residue_map=residue_map,
    identity=identical(query_sequence, chain.sequence, residue_map) / len(residue_map),
    coverage=resolved / num_res,
  )


def place_own(own: Sequence[OwnTemplate], query_sequence: str, name: str) -> list[Template]:
  """The templates that came with a protein, on its residues: at most four; more are left out with a warning.

  Args:
    own: such as those of the input of AlphaFold 3.
    query_sequence: one-letter codes.
    name: of the protein.

  Raises:
    InputError: one of them cannot be placed.
  """
  _check_own(own, name)
  if len(own) > MAX_TEMPLATES:
    _log.warning('%s: only the first %d of its %d templates are used', name, MAX_TEMPLATES, len(own))
  return [template.place(query_sequence) for template in own[:MAX_TEMPLATES]]


def stack_templates(templates: Sequence[Template], num_templates: int = MAX_TEMPLATES) -> schema.Templates:
  """The batch's field: the templates in order, then empty slots. Notes on the templates go to the log.

  Raises:
    InputError: there are none or too many, or they are for queries of different lengths.
  """
  if not 1 <= len(templates) <= num_templates:
    raise InputError(f'{len(templates)} templates given; the model takes 1 to {num_templates}, give the best ones')
  if len(lengths := {len(template.aatype) for template in templates}) > 1:
    raise InputError(f'the templates are for queries of different lengths: {sorted(lengths)}')
  stacked = empty_templates(num_templates, lengths.pop())
  for slot, template in enumerate(templates):
    for note in template.notes:
      _log.warning('template %s: %s', template.name, note)
    stacked.aatype[slot] = template.aatype
    stacked.atom_positions[slot] = template.atom_positions
    stacked.atom_mask[slot] = template.atom_mask
    stacked.mask[slot] = 1
  return stacked


def own_templates(own: Sequence[OwnTemplate], chains: Chains, name: str) -> schema.Templates:
  """The templates that came with a protein or complex, each on its chain, as `joined` puts them together.

  Raises:
    InputError: one of them cannot be placed.
  """
  placed = place_on_chains(own, chains, name)
  return joined(chains, placed) if len(chains) > 1 else stack_templates(placed[0])


def place_on_chains(own: Sequence[OwnTemplate], chains: Chains, name: str) -> list[list[Template]]:
  """The templates that came with a protein or complex, for each of its chains.

  Raises:
    InputError: one of them cannot be placed.
  """
  _check_own(own, name)
  places = [getattr(template, 'chain', 0) for template in own]  # the chain of a complex that it is for, from 0
  if stray := [place for place in places if not 0 <= place < len(chains)]:
    raise wrong('templates', own, f'of {name!r}: one is for chain {stray[0]}, from 0; there are {len(chains)}')
  of_chains = [
    [template for template, place in zip(own, places, strict=True) if place == index] for index in range(len(chains))
  ]
  return [
    place_own(of_chain, sequence, name if len(chains) == 1 else f'{name}, chain {chain}')
    for of_chain, sequence, chain in zip(of_chains, chains.sequences, chains.names, strict=True)
  ]


def _check_own(own: Sequence[OwnTemplate], name: str) -> None:
  """Refuses what does not come with a protein."""
  if not all(isinstance(template, OwnTemplate) for template in own):
    raise wrong('templates', own, f'of {name!r}: must be from afj.read_queries; else give them to afj.predict')


def joined(
  chains: Chains, per_chain: Sequence[Sequence[Template]], num_templates: int = MAX_TEMPLATES
) -> schema.Templates:
  """The batch's field of a complex: the k-th templates of all chains side by side in slot k, then empty slots.

  What a template says of residues of two chains is not used by the network, so that the chains of a slot may be of
  different structures. Where a slot is filled for some chains only, the others are alanine without atoms in it, as
  AlphaFold pads them.

  Args:
    chains: the complex.
    per_chain: the templates of each chain, best first, on its residues.
    num_templates: slots.

  Raises:
    InputError: not one list for each chain, a template is for another length, or there are none or too many.
  """
  if len(per_chain) != len(chains):
    raise InputError(f'templates of {len(per_chain)} chains; give a list for each of the {len(chains)}')
  stacked = empty_templates(num_templates, chains.num_res)
  for name, sequence, span, templates in zip(chains.names, chains.sequences, chains.spans, per_chain, strict=True):
    if not templates:
      continue
    if len(templates[0].aatype) != len(sequence):
      raise InputError(
        f'chain {name}: its templates are for {len(templates[0].aatype)} residues, the chain has {len(sequence)}'
      )
    of_chain = stack_templates(templates, num_templates)
    for field in ('aatype', 'atom_positions', 'atom_mask'):
      getattr(stacked, field)[: len(templates), span] = getattr(of_chain, field)[: len(templates)]
    stacked.mask[: len(templates)] = 1
  if not stacked.mask.any():
    raise InputError('no template for any chain; leave the templates out')
  for span, templates in zip(chains.spans, per_chain, strict=True):
    stacked.aatype[len(templates) : int(stacked.mask.sum()), span] = residues.RESTYPE_INDEX['A']
  return stacked


def _best_chain(query: str, path: str | Path, chain: str | None) -> tuple[Chain, dict[int, int]]:
  """The chain with most residues identical to the query's, and its alignment."""
  candidates = [read_chain(path, chain)] if chain is not None else list(read_chains(path).values())
  aligned = [(candidate, align(query, candidate.sequence)) for candidate in candidates]
  return max(aligned, key=lambda item: identical(query, item[0].sequence, item[1]))


def map_from_alignment(path: str | Path, query_sequence: str, template_sequence: str) -> dict[int, int]:
  """Query index -> template index, both from 0, from a file whose first two rows are query and template.

  Either row may hold a part of its sequence. A row that is not literally in its sequence (another version of the entry,
  a tag) is aligned to it and must be 90% identical.

  Raises:
    InputError: there is no such alignment, or a row is of another sequence.
  """
  records, _ = split_records(read_text(path), str(path))
  if len(records) < 2:
    raise InputError(f'{path}: one row; a template alignment has two, the query and the template')
  for record in records[:2]:
    record.refuse(NO_ALIGNMENT_SYMBOL, str(path), "is no residue or gap; an alignment holds letters, '-' and '.' only")
  query_row, template_row = (record.text.replace('.', '') for record in records[:2])
  to_query = _locate(query_row.replace('-', '').upper(), query_sequence, f'{path}: the query row')
  to_template = _locate(template_row.replace('-', '').upper(), template_sequence, f'{path}: the template row')
  if any(letter.islower() for letter in template_row):  # A3M: columns of the query, insertions in lower case
    query_row, template_row = _open_insertions(query_row, template_row)
  if len(query_row) != len(template_row):
    raise InputError(f'{path}: the rows have {len(query_row)} and {len(template_row)} columns; they must be aligned')
  pairs = paired(query_row, template_row)
  return {to_query[q]: to_template[t] for q, t in pairs if q in to_query and t in to_template}


def _open_insertions(query_row: str, template_row: str) -> tuple[str, str]:
  """Two rows of equal length from those of an A3M."""
  columns, opened = iter(query_row), []
  for letter in template_row:
    opened.append('-' if letter.islower() else next(columns, ''))
  return ''.join(opened) + ''.join(columns), template_row


def _locate(part: str, whole: str, what: str) -> dict[int, int]:
  """Index in the part -> index in the whole."""
  if part and (start := canonical(whole).find(canonical(part))) >= 0:
    return {i: start + i for i in range(len(part))}
  pairs = align(part, whole) if part else {}
  if identical(part, whole, pairs) < _MIN_SAME * len(part) or not pairs:
    raise InputError(f'{what} ({part[:30]}...) does not belong to the sequence {whole[:30]}...; check file and chain')
  return pairs


def _checked_map(residue_map: ResidueMap, num_res: int, num_template: int, source: str) -> dict[int, int]:
  """The map as a dict; refuses indices outside the sequences and residues used twice."""
  pairs = [(int(q), int(t)) for q, t in (residue_map.items() if isinstance(residue_map, Mapping) else residue_map)]
  if not pairs:
    raise InputError(f'{source}: no residue of the template is aligned to the query; give another residue map')
  for q, t in pairs:
    if not (0 <= q < num_res and 0 <= t < num_template):
      raise InputError(
        f'{source}: the residue map holds ({q}, {t}), the query has residues 0..{num_res - 1}, '
        f'the template 0..{num_template - 1}'
      )
  for side, name in enumerate(('query', 'template')):
    if len({pair[side] for pair in pairs}) < len(pairs):
      raise InputError(f'{source}: the residue map uses a residue of the {name} twice')
  return dict(pairs)


def _check_steps(chain: Chain, source: str) -> None:
  """Refuses coordinates in which consecutive residues lie impossibly far apart."""
  ca = residues.ATOM_INDEX['CA']
  known = chain.atom_mask[:, ca] > 0
  steps = np.linalg.norm(np.diff(chain.atom_positions[:, ca], axis=0), axis=-1)
  if (far := np.flatnonzero((steps > _MAX_CA_STEP) & known[1:] & known[:-1])).size:
    i = int(far[0])
    raise InputError(
      f'{source}: chain {chain.id!r} has {steps[i]:.0f} Å between the CA atoms of residues {chain.numbering[i]} and '
      f'{chain.numbering[i + 1]}; the file is damaged'
    )
