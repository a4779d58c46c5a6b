# SPDX-License-Identifier: Apache-2.0
"""The record of one prediction, and what files are made from: its arrays, its chains, their residues and atoms.

Shapes: N_res residues of all chains; arrays of the host, without padding.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from alphafold_jax import choices, config, errors
from alphafold_jax.constants import residues
from alphafold_jax.interfaces import PAE_CUTOFF, Interfaces
from alphafold_jax.naming import chain_name as chain_name
from alphafold_jax.one_line import cut, one_line
from alphafold_jax.output.provenance import Provenance

ARRAYS = ('aatype', 'residue_index', 'asym_id', 'atom_positions', 'atom_mask', 'plddt')  # of every prediction
PASS_ARRAYS = ('pass_positions', 'pass_plddt')  # the structures after each pass, stacked
OF_CHAINS = ('chain_tm',)  # of predictions of several chains with a PAE, see interfaces/expected.py
REPRESENTATIONS = ('single', 'pair')
OF_SINGLE_CHAINS = 'MODEL OF SINGLE CHAINS: never trained on complexes'  # what files of complexes by these say


class _Array:
  """An attribute that is one of a record's arrays."""

  def __set_name__(self, owner: type, name: str) -> None:
    self._name = name

  def __get__(self, record: 'PredictionRecord', owner: type) -> np.ndarray:
    return record.arrays[self._name]


@dataclasses.dataclass(frozen=True)
class Pass:
  """One recycling pass as it went."""

  index: int  # 0: the first
  mean_plddt: float
  ptm: float | None
  change: float  # Å, against the pass before
  seconds: float
  iptm: float | None = None  # of several chains


class KeptRepresentations(NamedTuple):
  """The representations that may leave the device."""

  single: np.ndarray  # [N_res, c_s]
  pair: np.ndarray  # [N_res, N_res, c_z]

  def __repr__(self) -> str:
    return one_line(self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PredictionRecord:
  """One protein as one model and seed predict it."""

  name: str  # of the protein, as it was given
  job: str  # the same, safe for file names
  model_name: str  # such as 'model_1_ptm'
  seed: int
  mean_plddt: float  # 0..100
  ptm: float | None  # 0..1; None where the model has no such head
  passes: tuple[Pass, ...]
  arrays: Mapping[str, np.ndarray]  # by name: in memory, or on disk until one is asked for
  notes: tuple[str, ...] = ()  # such as 'RANDOM WEIGHTS: NOT A PREDICTION'; every format shows them
  iptm: float | None = None  # 0..1; None for a single chain, and where the model has no PAE
  chain_names: tuple[str, ...] = ()  # as they were given; none: A, B, ...

  aatype = _Array()  # [N_res] 0..19, 20: unknown
  residue_index = _Array()  # [N_res] position in the chain, from 0; files count from 1
  asym_id = _Array()  # [N_res] one number per chain
  atom_positions = _Array()  # [N_res, 37, 3] Å
  atom_mask = _Array()  # [N_res, 37]
  plddt = _Array()  # [N_res] 0..100

  @property
  def pae(self) -> np.ndarray | None:  # [N_res, N_res] Å
    """Error of residue j when aligned on residue i; None where the model has no such head."""
    return self.arrays.get('pae')

  @property
  def contact_probability(self) -> np.ndarray | None:  # [N_res, N_res]
    """Probability of C-beta atoms within 8 Å; None if it was not kept."""
    return self.arrays.get('contact_probability')

  @property
  def chains(self) -> tuple[str, ...]:
    """The names of the chains, in the order in which they were given."""
    return self.chain_names or tuple(map(chain_name, range(len(np.unique(self.asym_id)))))

  @property
  def ranking_confidence(self) -> float:  # 0..100
    """What predictions are ranked by: 80 ipTM + 20 pTM of several chains, mean pLDDT of one."""
    return choices.ranking_score('auto', self)

  @functools.cached_property
  def interfaces(self) -> dict[str, dict[str, float]]:
    """The scores of each pair of chains, such as {'A-B': {'iptm': 0.81, 'ipsae': 0.67, ...}}; {} for a single chain.

    `interfaces.SCORES` has all of them; of scores that differ with the direction it is the value for both.
    """
    scored = self.interface_scores()
    return scored.by_pair(self.chains) if scored is not None else {}

  def interface_scores(self, pae_cutoff: float = PAE_CUTOFF) -> Interfaces | None:
    """The scores of the interfaces as matrices; None for a single chain, and where the model has no PAE.

    Args:
      pae_cutoff: Å, of ipSAE.
    """
    arrays = self.arrays
    if not {'pae', *OF_CHAINS} <= set(arrays):
      return None
    return Interfaces(
      asym_id=self.asym_id,
      residue_index=self.residue_index,
      positions=self.atom_positions,
      atom_mask=self.atom_mask,
      plddt=self.plddt,
      pae=arrays['pae'],
      chain_tm=arrays['chain_tm'],
      cutoff=pae_cutoff,
    )

  @property
  def distogram(self) -> np.ndarray | None:  # [N_res, N_res, 64] float16
    """Logarithms of the probabilities of the C-beta distance bins; None if it was not kept.

    `confidence.expected_distance` and `contact_probability` take them; the edges are `confidence.distogram_edges()`.
    """
    return self.arrays.get('distogram')

  @property
  def representations(self) -> KeptRepresentations | None:
    """The trunk's representations; None if they were not kept."""
    if not set(REPRESENTATIONS) <= set(self.arrays):
      return None
    return KeptRepresentations(*(self.arrays[name] for name in REPRESENTATIONS))

  @property
  def sequence(self) -> str:
    """The residues as letters, X where unknown."""
    return ''.join(residues.MSA_ALPHABET[i] for i in self.aatype)

  @property
  def tag(self) -> str:
    """The part of file names that identifies this prediction among those of its protein."""
    return tag(self.model_name, self.seed)

  @property
  def seconds(self) -> float:
    """The time that all passes took."""
    return sum(one.seconds for one in self.passes)

  def in_memory(self) -> Self:
    """The same record with all its arrays read."""
    return dataclasses.replace(self, arrays=dict(self.arrays))

  def alone(self, names: Iterable[str]) -> 'PredictionRecord':
    """A bare record with only these arrays, of those that it has, in memory."""
    fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(PredictionRecord)}
    arrays = {name: np.asarray(self.arrays[name]) for name in names if name in self.arrays}
    return PredictionRecord(**fields | {'arrays': arrays})

  def after_pass(self, index: int) -> Self:
    """The record as it was after a pass whose structure was kept, without what is known of the last pass only."""
    positions, plddt = (self.arrays[name][index] for name in PASS_ARRAYS)
    same = {name: self.arrays[name] for name in ARRAYS}
    done = self.passes[: index + 1]
    return dataclasses.replace(
      self,
      passes=done,
      mean_plddt=done[-1].mean_plddt,
      ptm=done[-1].ptm,
      iptm=done[-1].iptm,
      arrays=same | {'atom_positions': positions, 'plddt': plddt},
    )

  def __repr__(self) -> str:
    ptm = '' if self.ptm is None else f', pTM {self.ptm:.2f}'
    iptm = '' if self.iptm is None else f', ipTM {self.iptm:.2f}'
    num_passes = len(self.passes)
    what = f'{cut(self.name)!r}, {self.model_name}, seed {self.seed}, {num_passes} pass{"es" * (num_passes != 1)}'
    return f'{type(self).__name__}({what}: pLDDT {self.mean_plddt:.1f}{ptm}{iptm})'


@dataclasses.dataclass(frozen=True)
class Origin:
  """What a page says of the run that made the predictions: texts, and names of files beside the page."""

  settings: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by name, as a person would write them
  versions: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of programs
  citations: str = ''  # BibTeX
  beside: tuple[str, ...] = ()  # files of the whole run
  overview: str | None = None  # the page over all proteins
  viewer: str | None = None  # of structures, where many pages share one; None: the page has its own


@dataclasses.dataclass(frozen=True)
class Report:
  """What a file is made from: predictions of one protein, best first, and what belongs to the protein."""

  job: str  # the first part of file names
  predictions: Sequence[PredictionRecord]
  tags: Sequence[str]  # one for each prediction
  msa_tokens: np.ndarray | None = None  # [N_seq, N_res] row 0 the query
  alignment: Callable[[], str] | None = None  # makes the alignment as A3M text
  files: Sequence[Path] = ()  # of the protein that are written already, for its page and archive
  pae_cutoff: float = PAE_CUTOFF  # Å, of ipSAE
  origin: Origin = Origin()
  naming: str = choices.COLABFOLD_NAMES  # of choices.NAMINGS
  provenance: Provenance | None = None  # None: nothing is known beside the predictions

  __repr__ = one_line

  @property
  def best(self) -> PredictionRecord:
    return self.predictions[0]

  @property
  def title(self) -> str:
    """The heading of a picture: the notes, then the protein's name."""
    return '\n'.join([*(self.best.notes if self.predictions else ()), self.job])


def tag(model_name: str, seed: int, rank: int | None = None) -> str:
  """The part of file names that identifies a prediction: rank_001_alphafold2_ptm_model_3_seed_000.

  Before ranking it has no rank. The structure after recycle k has `.r{k}` appended.
  """
  ranked = '' if rank is None else f'rank_{rank:03d}_'
  return f'{ranked}{config.model_type(model_name)}_model_{config.model_number(model_name)}_seed_{seed:03d}'


# ------------------------------------------------------------------------------------------ chains and atoms


@dataclasses.dataclass(frozen=True)
class Atom:
  """An atom as files hold it."""

  name: str
  element: str
  position: tuple[float, float, float]  # Å


@dataclasses.dataclass(frozen=True)
class Residue:
  """A residue as files hold it."""

  name: str  # three letters
  number: int  # from 1
  plddt: float  # rounded to the two decimals that files hold
  atoms: tuple[Atom, ...]  # none for an unknown residue


def chains(prediction: PredictionRecord) -> list[list[Residue]]:
  """The residues of each chain, chains in order of first appearance.

  Raises:
    NumericalError: a coordinate or score that would be written is NaN or infinite.
    InputError: there is no atom to write.
  """
  check_finite(prediction)
  arrays = {name: np.asarray(prediction.arrays[name]) for name in ARRAYS}
  if not np.any(arrays['atom_mask'] > 0.5):
    raise errors.InputError(
      'the prediction has no atoms to write: every residue is of unknown type (X); give the real residue types'
    )
  asym_ids = arrays['asym_id']
  first = sorted(np.unique(asym_ids, return_index=True)[1])
  return [[_residue(arrays, i) for i in np.flatnonzero(asym_ids == asym_ids[start])] for start in first]


def check_finite(prediction: PredictionRecord) -> None:
  """Refuses NaN and infinity: NumericalError names the residue, and the atom where there is one."""
  positions, mask = np.asarray(prediction.atom_positions), np.asarray(prediction.atom_mask)
  bad_atoms = np.argwhere((mask > 0.5) & ~np.isfinite(positions).all(-1) | ~np.isfinite(mask))
  if len(bad_atoms):
    residue, atom = bad_atoms[0]
    raise _not_finite(prediction, residue, f'atom {residues.ATOM_TYPES[atom]}', positions[residue, atom].tolist())
  _check_scores(prediction, 'pLDDT', prediction.plddt)
  for name in ('pae', 'ptm', 'iptm'):
    _check_scores(prediction, name, getattr(prediction, name))


def _residue(arrays: Mapping[str, np.ndarray], i: Any) -> Residue:
  aatype = int(arrays['aatype'][i])
  name = 'UNK' if aatype >= residues.UNKNOWN else residues.RESTYPE_1TO3[residues.RESTYPES[aatype]]
  return Residue(
    name,
    int(arrays['residue_index'][i]) + 1,
    round(float(arrays['plddt'][i]), 2),
    tuple(_atoms(arrays['atom_positions'][i], arrays['atom_mask'][i])),
  )


def _atoms(positions: np.ndarray, mask: np.ndarray) -> Iterator[Atom]:
  for atom in np.flatnonzero(mask > 0.5):
    x, y, z = map(float, positions[atom])
    name = residues.ATOM_TYPES[atom]
    yield Atom(name, name[0], (x, y, z))  # elements of the 37: C, N, O, S


def _check_scores(prediction: PredictionRecord, name: str, values: Any) -> None:
  if values is None:
    return
  values = np.asarray(values)
  bad = np.argwhere(~np.isfinite(values.astype(np.float64)))
  if not len(bad):
    return
  value = values[tuple(bad[0])]
  if not bad.shape[1]:
    raise errors.NumericalError(f'{name} is {value}: nothing was written; run again in float32')
  raise _not_finite(prediction, bad[0][0], name, value)


def _not_finite(prediction: PredictionRecord, i: Any, what: str, value: Any) -> errors.NumericalError:
  asym_id = np.asarray(prediction.asym_id).tolist()
  chain = prediction.chains[list(dict.fromkeys(asym_id)).index(asym_id[i])]
  return errors.NumericalError(
    f'residue {int(prediction.residue_index[i]) + 1} of chain {chain}: {what} is {value}, not a finite number; nothing '
    'was written; run again in float32'
  )
