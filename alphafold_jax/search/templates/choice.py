# SPDX-License-Identifier: Apache-2.0
"""Which hits become templates, and how a hit is placed on the query.

The rules are AlphaFold's (AlphaFold 2.3.2: data/templates.py). Hits are tried best first until the model has as many
templates as it takes; each hit that is left out has its reason. A hit's letters are looked up in the structure's file,
which decides where its residues are; if the two differ they are aligned by kalign.
"""

import dataclasses
import datetime
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from alphafold_jax import installed
from alphafold_jax.arguments import wrong
from alphafold_jax.data.alignment import encode, paired
from alphafold_jax.data.structures import Chain, read_chains
from alphafold_jax.data.templates import Template, template_from_chain
from alphafold_jax.errors import InputError
from alphafold_jax.search.found import TemplateHit
from alphafold_jax.search.templates.library import StructureFolder, release_date

_MIN_ATOMS = 5  # of all aligned residues together
_MIN_SAME = 0.9  # identity to call the sequence of a hit and that of its file one protein
_READ_AT_ONCE = 4  # files kept while hits of the same entry follow one another
_DATE = re.compile(r'\d{4}-\d\d-\d\d')


@dataclasses.dataclass(frozen=True)
class TemplateLimits:
  """What a hit must be to become a template."""

  max_templates: int = 4  # Suppl. 1.2.3
  max_date: str | None = None  # YYYY-MM-DD; structures released later, or nobody knows when, are left out
  min_aligned: float = 0.1  # share of the query's residues that must be exceeded
  max_subsequence: float = 0.95  # a stretch of the query itself, longer than this share of it, is no template
  min_residues: int = 10

  def __post_init__(self) -> None:
    if self.max_date is not None:
      try:
        datetime.date.fromisoformat(self.max_date if _DATE.fullmatch(self.max_date) else '')
      except ValueError:
        raise wrong('max_template_date', self.max_date, 'write a date as YYYY-MM-DD') from None


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
  """Templates for one query, and a line on each hit that was tried."""

  templates: tuple[Template, ...]  # best first
  accepted: tuple[str, ...]  # a line for each template
  skipped: tuple[str, ...]  # a line for each hit that was tried and left out: its name and the reason


def choose(
  query_sequence: str,
  hits: Sequence[TemplateHit],
  library: StructureFolder,
  settings: TemplateLimits = TemplateLimits(),
) -> Chosen:
  """Makes templates of the best hits; one that cannot be a template is skipped, with the reason.

  Args:
    query_sequence: one-letter codes.
    hits: in the order of the search; those with a sum of probabilities are ranked by it.
    library: the structures.
    settings: limits.
  """
  templates: list[Template] = []
  accepted: list[str] = []
  skipped: list[str] = []
  # pdb_seqres names every chain of every entry, so that many hits show the same residues; pdb70 does not, and there
  # AlphaFold takes what comes.
  ranked = bool(hits) and hits[0].probability_sum is not None
  seen: set[bytes] = set()
  read = functools.lru_cache(maxsize=_READ_AT_ONCE)(read_chains)
  for hit in sorted(hits, key=lambda hit: -(hit.probability_sum or 0)) if ranked else hits:
    if len(templates) == settings.max_templates:
      break
    try:
      _check_hit(query_sequence, hit, settings)
      _check_new(_aligned_letters(query_sequence, hit), seen)
      template, line = _place(query_sequence, hit, library, settings.max_date, read)
      _check_new(template.aatype.tobytes(), seen)
    except InputError as error:
      skipped.append(f'{hit.name}: {error}')
      continue
    if not ranked:
      seen |= {_aligned_letters(query_sequence, hit), template.aatype.tobytes()}
    templates.append(template)
    accepted.append(line)
  return Chosen(tuple(templates), tuple(accepted), tuple(skipped))


def _check_hit(query: str, hit: TemplateHit, settings: TemplateLimits) -> None:
  """Refuses a hit by its own alignment and length, before its structure is read."""
  aligned, length = len(hit.pairs) / len(query), len(hit.sequence)
  if aligned <= settings.min_aligned:
    raise InputError(f'aligned to {aligned:.0%} of the query, more than {settings.min_aligned:.0%} are needed')
  if hit.sequence in query and length / len(query) > settings.max_subsequence:
    raise InputError(f'the query itself, {length} of its {len(query)} residues')
  if length < settings.min_residues:
    raise InputError(f'{length} residues long, {settings.min_residues} are needed')
  if hit.pairs[-1][0] >= len(query) or hit.pairs[-1][1] >= length:
    raise InputError('found for another query: it is aligned to residues that this one does not have')


def _aligned_letters(query: str, hit: TemplateHit) -> bytes:
  """The residue types that a hit puts on the query, as in Template.aatype."""
  letters = ['-'] * len(query)
  for q, t in hit.pairs:
    letters[q] = hit.sequence[t]
  return encode(''.join(letters)).tobytes()


def _check_new(aligned: bytes, seen: set[bytes]) -> None:
  if aligned in seen:
    raise InputError('shows the same residues as a template before it')


def _place(
  query: str,
  hit: TemplateHit,
  library: StructureFolder,
  max_date: str | None,
  read: Callable[[Path], Mapping[str, Chain]],
) -> tuple[Template, str]:
  """The template of a hit, and a line on it."""
  entry = library.current(hit.entry)
  path = library.find(entry, hit.chain)
  released = release_date(path)
  if max_date is not None:
    if released is None:
      raise InputError(f'{path}: does not say when it was released, so it may be younger than {max_date}')
    if released > max_date:
      raise InputError(f'released on {released}, later than {max_date}')
  chain, places, note = _find_in(read(path), hit)
  pairs = [(q, places[t]) for q, t in hit.pairs if t in places]
  template = template_from_chain(query, chain, pairs, name=f'{entry}_{chain.id}', source=str(path), min_resolved=0)
  if (atoms := int(template.atom_mask.sum())) < _MIN_ATOMS:
    raise InputError(f'{path}: {atoms} atoms of chain {chain.id} align to the query, {_MIN_ATOMS} are needed')
  line = (
    f'{template.name}: {template.identity:.0%} identical, covers {template.coverage:.0%}, '
    f'{f"released {released}" if released else "release date unknown"}'
  )
  return template, line + (f'; {note}' if note else '')


def _find_in(chains: Mapping[str, Chain], hit: TemplateHit) -> tuple[Chain, dict[int, int], str]:
  """The chain that has a hit's residues, the place there of each of them, and how it was found.

  The named chain comes first, then any other that has the same letters, then those where X stands for any letter; at
  last the letters are aligned to the named or only chain.
  """
  named = [chains[hit.chain]] if hit.chain in chains else []
  for pattern in (re.escape(hit.sequence), ''.join('.' if a == 'X' else f'[{a}X]' for a in hit.sequence)):
    for chain in (*named, *chains.values()):
      if (start := _start(pattern, chain.sequence, hit.start)) is not None:
        note = '' if chain in named else f'its chain {chain.id} has the residues of {hit.name}'
        return chain, {i: start + i for i in range(len(hit.sequence))}, note
  if not named and len(chains) > 1:
    raise InputError(f'no chain {hit.chain!r} in the file, which has {", ".join(chains)}')
  chain = next(iter(named or chains.values()))
  return chain, _realigned(hit.sequence, chain.sequence), 'aligned to the sequence in the file, which differs'


def _start(pattern: str, sequence: str, expected: int) -> int | None:
  """Where a pattern begins in a sequence: at the expected place, which matters in repeats, else at the first."""
  compiled = re.compile(pattern)
  found = compiled.match(sequence, expected) or compiled.search(sequence)
  return found and found.start()


def _realigned(part: str, whole: str) -> dict[int, int]:
  """Residue of a hit's letters -> residue of the chain's, both from 0, by kalign.

  Departs from AlphaFold: a residue without a partner is left out; there it becomes the chain's last residue.
  """
  if min(len(part), len(whole)) < 6:
    raise InputError(f'the file has another sequence ({whole})')
  rows = installed.module('kalign').align([part, whole], seq_type='protein')
  same = sum(a == b != '-' for a, b in zip(*rows, strict=True))
  identity = same / min(len(part), len(whole))
  if identity < _MIN_SAME:
    raise InputError(
      f'the sequence in the file is only {identity:.0%} identical to that of the hit, {_MIN_SAME:.0%} are needed'
    )
  return dict(paired(*rows))
