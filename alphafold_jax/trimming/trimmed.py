# SPDX-License-Identifier: Apache-2.0
"""What is kept of a prediction, and why: residues of sufficient pLDDT, in stretches and domains that are not too small.

The steps are those of phenix.process_predicted_model: residues up to the threshold are left out, then stretches of few
residues, then domains of which few are left.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alphafold_jax.arguments import is_number, is_whole, wrong
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.screen import number
from alphafold_jax.trimming import bfactors
from alphafold_jax.trimming.domains import RULES, DomainRules, find_domains, merged
from alphafold_jax.trimming.predicted import PredictedModel

NONE = 'none'  # in place of rules: no domains are looked for
KEPT, NO_CA, LOW, SHORT, SMALL = (
  'kept',
  'no CA atom',
  'pLDDT not above the threshold',
  'in a stretch of too few residues',
  'in a domain of too few residues',
)
MIN_REMOVED = 15  # residues of a removed stretch whose sequence is written (Phenix, minimum_remainder_sequence_length)
_ONE_CHAIN_ONE_DOMAIN = 'each chain is one domain'


@dataclasses.dataclass(frozen=True)
class TrimSettings:
  """What a person may choose."""

  min_plddt: float = 70.0  # residues must be above; Phenix, where it is an error of 1.5 Å
  b_factors: str = 'phenix'  # a formula of bfactors.FORMULAS
  domains: str = 'phenix'  # a set of domains.RULES, or 'none'
  max_domains: int = 0  # more are merged; 0: as many as there are, as Phenix does where it has a PAE
  min_fragment: int | None = None  # residues; None: as the rules of domains have it
  min_domain: int | None = None  # residues; None: as the rules have it

  def __post_init__(self) -> None:
    if not is_number(self.min_plddt, 0, 100):
      raise wrong('min_plddt', self.min_plddt, 'must be a number from 0 to 100')
    for name, known in (('b_factors', tuple(bfactors.FORMULAS)), ('domains', (*RULES, NONE))):
      if getattr(self, name) not in known:
        raise wrong(name, getattr(self, name), f'choose one of {", ".join(known)}')
    if not is_whole(self.max_domains, 0):
      raise wrong('max_domains', self.max_domains, 'must be a whole number, 0 (no limit) or more')
    for name in ('min_fragment', 'min_domain'):
      value = getattr(self, name)
      if value is not None and not is_whole(value, 1):
        raise wrong(name, value, 'must be a whole number from 1')

  @property
  def rules(self) -> DomainRules:
    """The set of rules with the least sizes that are used; without domains those of Phenix."""
    rules = RULES.get(self.domains, RULES['phenix'])
    sizes: dict[str, Any] = {'min_fragment': self.min_fragment, 'min_domain': self.min_domain}
    return dataclasses.replace(rules, **{name: size for name, size in sizes.items() if size is not None})


class ResidueFate(NamedTuple):
  """A residue, and what became of it."""

  chain: str
  number: str  # the authors'; '' where it has no atoms
  letter: str
  plddt: float | None  # 0..100; None without a CA atom
  b_factor: float | None  # Å²; pLDDT where it is kept
  domain: int  # from 1; 0 where it is left out
  why: str  # KEPT, or the first reason against it


class Stretch(NamedTuple):
  """Residues of a chain that follow one another."""

  chain: str
  first: str  # number
  last: str
  sequence: str

  def __str__(self) -> str:
    return f'{self.chain} {self.first}-{self.last}'


@dataclasses.dataclass(frozen=True, eq=False)
class TrimmedDomain:
  """A part of a prediction that is kept together."""

  number: int  # from 1
  residues: np.ndarray  # their indices in the prediction, from 0
  stretches: tuple[Stretch, ...]
  mean_plddt: float
  vrms: float  # Å, for Phaser

  __repr__ = one_line


@dataclasses.dataclass(frozen=True, eq=False)
class TrimmedModel:
  """A prediction without what is not to be relied on, and the account of it."""

  name: str  # of its files
  model: PredictedModel
  settings: TrimSettings
  pae: np.ndarray | None  # [num_res, num_res] Å, as it was predicted
  pae_file: Path | None
  residues: tuple[ResidueFate, ...]
  domains: tuple[TrimmedDomain, ...]
  removed: tuple[Stretch, ...]  # those of MIN_REMOVED residues or more
  notes: tuple[str, ...]
  files: tuple[Path, ...] = ()  # that were written

  __repr__ = one_line

  @property
  def num_kept(self) -> int:
    """The number of residues that are kept."""
    return sum(len(domain.residues) for domain in self.domains)


def trimmed(
  name: str, model: PredictedModel, pae: np.ndarray | None, pae_file: Path | None, settings: TrimSettings
) -> TrimmedModel:
  """Decides on every residue.

  Args:
    name: of the files.
    model: the prediction.
    pae: [num_res, num_res] Å, or None.
    pae_file: where it was read.
    settings: what was chosen.

  Raises:
    InputError: nothing is left.
  """
  rules, follows = settings.rules, _follows(model)
  has_ca = np.isfinite(model.plddt)
  why = np.where(has_ca, KEPT, NO_CA).astype(object)
  why[has_ca & ~(np.nan_to_num(model.plddt) > settings.min_plddt)] = LOW
  for stretch in stretches(why == KEPT, follows):
    if len(stretch) < rules.min_fragment:
      why[stretch] = SHORT
  groups, notes = _groups(model, pae, settings)
  left = []
  for group in groups:
    kept = group[why[group] == KEPT]
    if len(kept) < rules.min_domain:
      why[kept] = SMALL
    else:
      left.append(kept)
  if not left:
    raise InputError(_nothing_left(model, pae, settings))
  if pae is not None and settings.domains != NONE and settings.max_domains and len(left) > settings.max_domains:
    before = len(left)
    left, between = merged(left, pae, settings.max_domains)
    means = ', '.join(f'{mean:.1f} Å' for mean in between)
    notes.append(
      f'{before} domains were merged to {settings.max_domains}, those of smallest PAE between them ({means}); '
      'a larger --max-domains keeps them apart'
    )
  return _account(TrimmedModel(name, model, settings, pae, pae_file, (), (), (), tuple(notes)), why, left, follows)


def _account(start: TrimmedModel, why: np.ndarray, left: Sequence[np.ndarray], follows: np.ndarray) -> TrimmedModel:
  """Fills in residues, domains and what was removed."""
  model = start.model
  domain_of, letters = np.zeros(len(why), int), model.letters
  for i, group in enumerate(left, start=1):
    domain_of[group] = i
  b_factors = bfactors.FORMULAS[start.settings.b_factors](np.nan_to_num(model.plddt))
  fates = []
  for i, (chain, residue, letter) in enumerate(zip(model.chain_of, model.numbering, letters, strict=True)):
    known = why[i] != NO_CA
    plddt, b_factor = (round(float(values[i]), 2) if known else None for values in (model.plddt, b_factors))
    fates.append(ResidueFate(chain, residue, letter, plddt, b_factor, int(domain_of[i]), why[i]))

  def named(found: np.ndarray) -> Stretch:
    numbers = [fates[i].number for i in found if fates[i].number]
    first, last = (numbers[0], numbers[-1]) if numbers else ('?', '?')
    return Stretch(fates[found[0]].chain, first, last, ''.join(letters[i] for i in found))

  domains = [
    TrimmedDomain(
      number=i,
      residues=group,
      stretches=tuple(map(named, stretches(domain_of == i, follows))),
      mean_plddt=float(np.mean(model.plddt[group])),
      vrms=bfactors.vrms(model.plddt[group]),
    )
    for i, group in enumerate(left, start=1)
  ]
  gone = [found for found in stretches(domain_of == 0, follows) if len(found) >= MIN_REMOVED]
  return dataclasses.replace(start, residues=tuple(fates), domains=tuple(domains), removed=tuple(map(named, gone)))


def stretches(chosen: np.ndarray, follows: np.ndarray) -> list[np.ndarray]:
  """The chosen residues in runs of neighbours.

  Args:
    chosen: [num_res] bool.
    follows: [num_res] bool, whether a residue is the next one of the one before it.

  Returns:
    the indices of each run's residues.
  """
  index = np.flatnonzero(chosen)
  if not len(index):
    return []
  breaks = (np.diff(index) != 1) | ~follows[index[1:]]
  return np.split(index, np.flatnonzero(breaks) + 1)


def _follows(model: PredictedModel) -> np.ndarray:  # [num_res] bool
  """Whether residues are of one chain, and no number is left out between them."""
  found = []
  for chain in model.chains:
    pairs = zip(chain.numbers, chain.numbers[1:])
    found += [False, *(one is None or other is None or 0 <= other - one <= 1 for one, other in pairs)]
  return np.array(found)


def _groups(
  model: PredictedModel, pae: np.ndarray | None, settings: TrimSettings
) -> tuple[list[np.ndarray], list[str]]:
  """All residues by domain, and what is to be said of it."""
  if pae is not None and settings.domains != NONE:
    return find_domains(pae, settings.rules), []
  ends = np.cumsum([len(chain.sequence) for chain in model.chains])
  groups = np.split(np.arange(ends[-1]), ends[:-1])
  if settings.domains == NONE:
    return groups, []
  return groups, [f'no PAE, so no domains were looked for: {_ONE_CHAIN_ONE_DOMAIN}; --pae FILE names the PAE file']


def _nothing_left(model: PredictedModel, pae: np.ndarray | None, settings: TrimSettings) -> str:
  """The message where no residue is kept."""
  known = model.plddt[np.isfinite(model.plddt)]
  above, rules = int(np.sum(known > settings.min_plddt)), settings.rules
  by_pae = pae is not None and settings.domains != NONE
  remedy = ', or --domains none, which looks for no domains in the PAE' if by_pae and above >= rules.min_domain else ''
  return (
    f'{model.path}: nothing is left: {above} of {number(len(model.plddt), "residue")} have a pLDDT above '
    f'{settings.min_plddt:g} (the highest is {known.max():.1f}), and there is no domain of {rules.min_domain} of them '
    f'in stretches of {rules.min_fragment} or more; choose a lower --min-plddt{remedy}'
  )
