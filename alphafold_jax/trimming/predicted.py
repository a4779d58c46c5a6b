# SPDX-License-Identifier: Apache-2.0
"""A predicted structure of any program, with its pLDDT; what is no prediction is refused.

pLDDT is the B-factor of CA atoms, 0 to 100. B-factors of an experiment look much the same, and with them all that
follows would keep the wrong residues, so a file is refused that says it is an experiment, or whose values rise from CA
atoms to the ends of side chains: what is mobile has a high B-factor and a low pLDDT.
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data import atom_records
from alphafold_jax.data.atom_records import AtomRecord
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain, read_structure
from alphafold_jax.errors import InputError
from alphafold_jax.one_line import one_line
from alphafold_jax.output.record import OF_SINGLE_CHAINS
from alphafold_jax.weights import store

MADE = 'B-factors made from pLDDT by alphafold_jax'  # in the files of an earlier trimming
_CA = residues.ATOM_INDEX['CA']
_EXPERIMENT = re.compile(
  r'^(?:EXPDTA +(?P<pdb>.*\S)|_exptl\.method[ \t]+(?P<mmcif>\S.*?)[ \t]*$'
  r'|_refine\.ls_d_res_high[ \t]+(?P<resolution>\d\S*))',
  re.MULTILINE | re.IGNORECASE,
)
_THEORY = re.compile('theoretical|predicted|computational', re.IGNORECASE)
_ENDS = {'LYS': 'NZ', 'ARG': 'CZ', 'GLU': 'CD', 'GLN': 'CD', 'MET': 'CE'}  # far atoms of long side chains
_FEWEST_ENDS = 5
_RISE = 1.0  # of 100, from CA atoms to these; that of a prediction is 0 or less
_LABELS = re.compile(
  '|'.join(
    [
      re.escape(store.RANDOM.text),
      re.escape(store.MINI.text),
      re.escape(OF_SINGLE_CHAINS),
      re.escape(store.own_parameters('FILE').text).replace('FILE', r'[^\n:]{1,100}'),
    ]
  )
)  # what must be said of some predictions, wherever they go


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedModel:
  """The residues of a prediction, of all chains in the file's order."""

  path: Path
  chains: tuple[Chain, ...]
  plddt: np.ndarray  # [num_res] 0..100; NaN where there is no CA atom
  labels: tuple[str, ...]  # such as 'MINI MODEL: ...', which its files carry on
  warnings: tuple[str, ...]  # how the file was read

  __repr__ = one_line

  @property
  def letters(self) -> str:
    """The sequences of all chains, joined."""
    return ''.join(chain.sequence for chain in self.chains)

  @property
  def numbering(self) -> list[str]:
    """The authors' residue numbers, '' where a residue has no atoms."""
    return [number for chain in self.chains for number in chain.numbering]

  @property
  def chain_of(self) -> list[str]:
    """The name of each residue's chain."""
    return [chain.id for chain in self.chains for _ in chain.sequence]


def read_predicted(path: str | Path) -> PredictedModel:
  """A predicted structure from a PDB or mmCIF file (also .gz).

  Raises:
    InputError: it cannot be read, has no protein, or is no prediction with pLDDT as its B-factors.
  """
  text = read_text(path)
  _refuse_experiment(text, path)
  content = read_structure(path)
  chains = tuple(content.chains.values())
  values = np.concatenate([chain.b_factors for chain in chains]).astype(np.float64)
  has_ca = np.concatenate([chain.atom_mask[:, _CA] for chain in chains]) > 0
  scale = _scale(values[has_ca], path)
  _refuse_mobility(atom_records.read_atoms(text).atoms, scale, path)
  warnings = list(content.warnings)
  if scale != 1:
    warnings.append(f'pLDDT runs from 0 to 1 in this file and was read as 0 to 100 (largest: {values[has_ca].max():g})')
  plddt = np.where(has_ca, scale * values, np.nan)
  return PredictedModel(Path(path), chains, plddt, labels_in(text), tuple(warnings))


def labels_in(text: str) -> tuple[str, ...]:
  """What a structure file of this program says that must go wherever the prediction goes: 'MINI MODEL: ...'."""
  return tuple(dict.fromkeys(found[0] for found in _LABELS.finditer(text)))


def _refuse_experiment(text: str, path: str | Path) -> None:
  """Refuses a file that says that it is an experiment, or that it was trimmed before."""
  if MADE in text:
    raise InputError(f'{path}: was trimmed before, and holds no pLDDT any more; give the prediction it was made from')
  for found in _EXPERIMENT.finditer(text):
    method = (found['pdb'] or found['mmcif'] or '').strip(' \'"')
    if found['resolution'] or (method not in ('?', '.') and not _THEORY.search(method)):
      what = f'method: {method}' if method else f'resolution: {found["resolution"]} Å'
      raise InputError(f'{path}: is an experiment ({what}), whose B-factors are no pLDDT; give a prediction')


def _scale(values: np.ndarray, path: str | Path) -> float:
  """What B-factors of CA atoms are to be multiplied by to be 0 to 100, or InputError where they are no pLDDT."""
  low, high = float(values.min()), float(values.max())
  if low < 0 or high > 100:
    raise InputError(
      f'{path}: B-factors from {low:g} to {high:g} are no pLDDT, which is from 0 to 100; give a prediction as its '
      'program wrote it'
    )
  if low == high and len(values) > 1:
    raise InputError(
      f'{path}: all B-factors are {low:g}, so they are no pLDDT; give a prediction as its program wrote it'
    )
  return 100.0 if high <= 1 else 1.0


def _refuse_mobility(atoms: Iterable[AtomRecord], scale: float, path: str | Path) -> None:
  """Refuses values that rise towards the ends of side chains."""
  found: dict[tuple[str, ...], dict[str, float]] = {}
  for atom in atoms:
    if atom.name in ('CA', _ENDS.get(atom.residue)):
      place = (atom.chain, atom.part, atom.asym, atom.number, atom.insertion)
      found.setdefault(place, {}).setdefault(atom.name, atom.b_factor)
  rises = [value - one['CA'] for one in found.values() if 'CA' in one for name, value in one.items() if name != 'CA']
  if len(rises) >= _FEWEST_ENDS and (rise := scale * float(np.mean(rises))) > _RISE:
    raise InputError(
      f'{path}: B-factors rise by {rise:.1f} from CA atoms to the ends of side chains, as in experiments; pLDDT does '
      'not; give a prediction as its program wrote it'
    )
