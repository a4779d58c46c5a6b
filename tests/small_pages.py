# SPDX-License-Identifier: Apache-2.0
"""Reports of small proteins for tests of pages: recorded predictions, and complexes made up at random."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from random_complexes import prediction_of

from alphafold_jax.constants import residues
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Origin, Pass, Report, tag

_RECORDED = Path(__file__).parent / 'data' / 'reference_predictions'
HOSTILE = '</title></script><script>alert(1)</script><img src=x onerror=alert(2)>"\''
NOTE = 'RANDOM WEIGHTS: NOT A PREDICTION'


@functools.cache
def recorded(name: str = '6A5J', seed: int = 0) -> Prediction:
  """A recorded prediction; of another seed it is turned, and trusted less."""
  with np.load(_RECORDED / f'{name}.npz') as arrays:
    positions, plddt = arrays['structure_module/final_atom_positions'], arrays['plddt']
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    return Prediction(
      name=name,
      job=name,
      model_name='model_1_ptm',
      seed=seed,
      mean_plddt=float(plddt.mean()) - seed,
      ptm=0.5,
      passes=(Pass(0, 50.0, 0.5, 1.0, 2.0), Pass(1, 60.0, 0.5, 1.0, 2.0)),
      arrays={
        'aatype': arrays['aatype'],
        'atom_positions': (positions @ turn + 7).astype(np.float32),
        'atom_mask': arrays['structure_module/final_atom_mask'],
        'plddt': np.clip(plddt - 20 * seed, 0, 100),
        'residue_index': arrays['residue_index'],
        'asym_id': np.ones(len(plddt), int),
        'pae': arrays['predicted_aligned_error'],
      },
    )


def of_single(**changes) -> Report:
  """Two predictions of a small protein, with an alignment."""
  found = [recorded(), recorded(seed=1)]
  rng = np.random.default_rng(0)
  query = np.asarray(found[0].aatype)
  rows = np.where(rng.random((40, len(query))) < 0.7, query, rng.integers(0, 22, (40, len(query))))
  tokens = np.concatenate([query[None], rows])
  return dataclasses.replace(_report(found), msa_tokens=tokens, **changes)


def of_complex(name: str = 'A2B') -> Report:
  """A complex of three chains; its second prediction is the first, named otherwise and without PAE."""
  best = prediction_of(name)
  bare = {key: array for key, array in best.arrays.items() if key not in ('pae', 'chain_tm')}
  other = dataclasses.replace(best, seed=8, mean_plddt=best.mean_plddt - 1, arrays=bare, ptm=None, iptm=None)
  return _report([best, other])


def of_length(num_res: int, count: int = 1) -> Report:
  """As many predictions of a chain made up at random."""
  rng = np.random.default_rng(0)
  aatype = rng.integers(0, 20, num_res)
  mask = np.asarray(residues.ATOM37_MASK)[aatype]
  steps = rng.normal(size=(num_res, 3))
  alpha = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
  arrays = {
    'aatype': aatype,
    'atom_positions': (alpha[:, None] + rng.normal(scale=1.5, size=(num_res, 37, 3))).astype(np.float32),
    'atom_mask': mask,
    'plddt': np.clip(70 + np.cumsum(rng.normal(size=num_res)), 20, 99),
    'residue_index': np.arange(num_res),
    'asym_id': np.ones(num_res, int),
    'pae': _errors(num_res, rng),
  }
  first = dataclasses.replace(recorded(), name='long', job='long', arrays=arrays)
  return _report([dataclasses.replace(first, seed=seed) for seed in range(count)])


def _errors(num_res, rng):
  apart = np.abs(np.arange(num_res)[:, None] - np.arange(num_res))
  return np.clip(2 + 6 * np.log1p(apart / 20) + rng.normal(size=apart.shape), 0.25, 31.5).astype(np.float32)


def _report(predictions) -> Report:
  tags = [tag(one.model_name, one.seed, rank) for rank, one in enumerate(predictions, 1)]
  return Report(predictions[0].job, predictions, tags, files=[Path(f'x_{one}.pdb') for one in tags])


def hostile() -> Report:
  """A protein whose every text tries to be markup."""
  found = [dataclasses.replace(one, name=HOSTILE, notes=(HOSTILE,)) for one in of_complex().predictions]
  found = [dataclasses.replace(one, chain_names=(HOSTILE, '<b>', "B' onclick='x")) for one in found]
  origin = Origin({HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}, HOSTILE, (HOSTILE, 'javascript:alert(3)'), HOSTILE)
  return dataclasses.replace(
    _report(found), files=[Path('javascript:alert(4).pdb'), Path('a#b?c%d.cif')], origin=origin
  )
