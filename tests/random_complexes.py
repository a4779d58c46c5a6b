# SPDX-License-Identifier: Apache-2.0
"""Complexes made up at random, with logits, for the scores of their interfaces; and what other programs make of them.

In an environment of its own, since these programs need other versions of NumPy and JAX than the tests:

  python -m venv colabfold && colabfold/bin/pip install alphafold-colabfold==2.3.20 jax==0.4.38 'numpy<2.3' dm-haiku \
    pandas scipy 'importlib_metadata<9' appdirs requests tqdm && colabfold/bin/pip install --no-deps colabfold==1.6.3
  python -m venv foldmetrics && foldmetrics/bin/pip install foldmetrics==0.2.0

  colabfold/bin/python tests/random_complexes.py colabfold > tests/data/interfaces_colabfold.json
  python tests/random_complexes.py files FOLDER
  foldmetrics/bin/python tests/random_complexes.py foldmetrics FOLDER > tests/data/interfaces_foldmetrics.json
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BREAKS = np.linspace(0, 31, 63)
CASES = {'A2B': (40, 31, 40), 'two': (35, 28), 'many short': (9, 12, 7, 10, 15)}  # residues of each chain
CUTOFFS = (15.0, 10.0)
_GLYCINE = 7
_CA, _CB = 1, 3  # of the 37 atoms


class RandomComplex(NamedTuple):
  """What a prediction of a complex consists of."""

  asym_id: np.ndarray  # [N_res] from 1
  residue_index: np.ndarray  # [N_res]
  aatype: np.ndarray  # [N_res]
  positions: np.ndarray  # [N_res, 37, 3] Å
  atom_mask: np.ndarray  # [N_res, 37]
  plddt: np.ndarray  # [N_res]
  pae_logits: np.ndarray  # [N_res, N_res, 64]
  distogram_logits: np.ndarray  # [N_res, N_res, 64]

  @property
  def pae(self) -> np.ndarray:  # [N_res, N_res] Å
    return np.sum(softmax(self.pae_logits) * centres(), axis=-1).astype(np.float32)

  def tm(self, num_res: int | None = None) -> np.ndarray:  # [N_res, N_res]
    """Expected TM terms, d0 of so many residues, by default all."""
    d0 = 1.24 * np.cbrt(max(num_res or len(self.aatype), 19) - 15.0) - 1.8
    return np.sum(softmax(self.pae_logits) / (1 + np.square(centres() / d0)), axis=-1)

  @property
  def contact(self) -> np.ndarray:  # [N_res, N_res]
    """Probability of the twenty nearest bins, to 8.25 Å."""
    return softmax(self.distogram_logits)[..., :20].sum(-1)

  @property
  def own_tm(self) -> np.ndarray:  # [N_res]
    """Mean term of each residue over its own chain, d0 of the chain."""
    sizes = {chain: int(np.sum(self.asym_id == chain)) for chain in np.unique(self.asym_id)}
    of_chain = {chain: self.tm(size)[:, self.asym_id == chain].mean(-1) for chain, size in sizes.items()}
    return np.array([of_chain[chain][i] for i, chain in enumerate(self.asym_id)])


def softmax(logits: np.ndarray) -> np.ndarray:
  exponentials = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
  return exponentials / exponentials.sum(-1, keepdims=True)


def centres() -> np.ndarray:
  return np.append(BREAKS, 31.5) + 0.25


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
    pae_logits=_peaked(rng, error, centres(), 3.0),
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


def write_files(folder: Path) -> None:
  """Writes what `foldmetrics` reads, by our own writers; coordinates, pLDDT and PAE are rounded there."""
  from test_interfaces import prediction_of

  for name in CASES:
    prediction_of(name).save(folder / name.replace(' ', '_'), formats=['pdb', 'scores'])


def of_foldmetrics(folder: Path) -> dict[str, Any]:
  """The scores that foldmetrics gives for these files."""
  from foldmetrics import evaluate_interfaces

  return {name: evaluate_interfaces([str(folder / name.replace(' ', '_'))]) for name in CASES}


def main(which: str, *folder: str) -> None:
  if which == 'files':
    return write_files(Path(*folder))
  found = {name: of_colabfold(made_up(name)) for name in CASES} if which == 'colabfold' else of_foldmetrics(*map(Path, folder))
  print(json.dumps(found, indent=1, default=str))


if __name__ == '__main__':
  main(*sys.argv[1:])
