# SPDX-License-Identifier: Apache-2.0
"""The network of complexes beside the oracle's, pass by pass, with the recycled values that the oracle gave."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import oracle_complexes
from ml_collections import config_dict

from alphafold_jax import confidence, schema
from alphafold_jax import config as configs
from alphafold_jax.model import alphafold, recycling
from alphafold_jax.weights import official
from alphafold_jax.weights.random import random_official
from parity import network
from parity.case import relative_error

TOLERANCE = network.TOLERANCE
_NUM_MSA, _NUM_EXTRA, _DEPTH, _NUM_TEMPLATES = 5, 4, 12, 4
# Entities and lengths of chains: of one length in all, so that one program computes each.
ASSEMBLIES = {
  'heterodimer': (('A', 13), ('B', 11)),
  'A2B': (('A', 8), ('B', 8), ('A', 8)),
  'homodimer': (('A', 12), ('A', 12)),
  'monomer': (('A', 24),),
}


class Case(NamedTuple):
  """What both networks are given."""

  model: str
  assembly: str
  has_templates: bool
  has_extra_rows: bool
  num_block: int | None = 2  # of the network; None: as published

  @property
  def inputs(self) -> str:
    """For people."""
    templates = 'templates' if self.has_templates else 'no templates'
    return f'{self.assembly}, {templates}{"" if self.has_extra_rows else ", no extra rows"}'


CASES = (
  Case('model_1_multimer_v3', 'heterodimer', True, True),
  Case('model_2_multimer_v3', 'A2B', True, False),
  Case('model_3_multimer_v3', 'homodimer', False, True),
  Case('model_4_multimer_v3', 'monomer', False, False),
  Case('model_1_multimer_v2', 'heterodimer', True, True),
  Case('model_2_multimer_v2', 'A2B', False, False),
  Case('model_1_multimer', 'homodimer', True, False),
  Case('model_2_multimer', 'monomer', True, True),
)
FULL_DEPTH = (Case('model_1_multimer_v3', 'heterodimer', True, True, None),)


def _own(outputs: schema.Outputs, previous: schema.Recycled, batch: schema.Batch) -> dict[str, Any]:
  """What comes of the logits of one pass, by the names of the oracle."""
  logits, mask = outputs.logits, batch.seq_mask
  ptm, iptm = confidence.ptm(logits.pae, mask), confidence.iptm(logits.pae, mask, batch.asym_id)
  positions = outputs.structure.atom_positions
  return {
    'predicted_aligned_error': confidence.pae(logits.pae),
    'ptm': ptm,
    'iptm': iptm,
    'ranking_confidence': 80 * iptm + 20 * ptm,
    'mean_plddt': confidence.masked_mean(confidence.plddt(logits.plddt), mask),
    'tol': recycling.distance_change(previous.atom_positions, positions, mask),
  }


OUTPUTS = {name: where for name, where in network.OUTPUTS.items() if not name.startswith('PAE')}
SCORES = {
  'PAE': 'predicted_aligned_error',
  'pTM': 'ptm',
  'ipTM': 'iptm',
  'ranking': 'ranking_confidence',
  'mean pLDDT': 'mean_plddt',
  'change': 'tol',
}


def make_batch(case: Case) -> schema.Batch:
  """Random rows and templates; in the second slot of several chains the last chain has no template."""
  batch = oracle.random_batch(depth=_DEPTH, num_templates=_NUM_TEMPLATES, chains=ASSEMBLIES[case.assembly])
  msa, templates = batch.msa, batch.templates
  if not case.has_extra_rows:
    there = (np.arange(_DEPTH) < _NUM_MSA)[:, None]
    msa = dataclasses.replace(msa, mask=msa.mask * there, profile=_profile(msa.tokens[:_NUM_MSA]))
  if case.has_templates:
    without = np.zeros(templates.aatype.shape, bool)
    without[1] = (batch.asym_id == np.max(batch.asym_id)) & (np.max(batch.asym_id) > 1)
    without[3] = True
  else:
    without = np.ones(templates.aatype.shape, bool)
  templates = dataclasses.replace(
    templates,
    aatype=np.where(without, 21, templates.aatype).astype(np.int32),
    atom_mask=np.where(without[..., None], 0, templates.atom_mask).astype(np.float32),
    atom_positions=np.where(without[..., None, None], 0, templates.atom_positions).astype(np.float32),
    mask=np.any(~without, axis=1).astype(np.float32),
  )
  return dataclasses.replace(batch, msa=msa, templates=templates)


def _profile(tokens: np.ndarray) -> np.ndarray:
  return np.eye(22, dtype=np.float32)[tokens].mean(axis=0)


def our_configuration(case: Case) -> config_dict.ConfigDict:
  """Ours of a case, which masks nothing."""
  sizes = {'sampling__num_msa': _NUM_MSA, 'sampling__num_extra': _NUM_EXTRA, 'sampling__masked_fraction': 0.0}
  return oracle.our_configuration(case.model, case.num_block, **sizes)


def errors(case: Case, num_pass: int = 3) -> list[dict[str, float]]:
  """For each pass the error of each output, with random parameters."""
  arrays = _arrays(case.model, case.num_block)
  params = official.from_official(arrays, our_configuration(case), strict=True)
  return errors_with(case, params, oracle.haiku_params(arrays, ''), num_pass)


def errors_with(
  case: Case, params: alphafold.Params, their_params: Mapping[str, Any], num_pass: int
) -> list[dict[str, float]]:
  """For each pass the error of each output with these parameters, ours and those of the oracle."""
  ours = our_configuration(case)
  theirs = oracle_complexes.configuration(case.model, case.num_block, _NUM_MSA, _NUM_EXTRA)
  params = jax.tree.map(jnp.asarray, params)
  batch = make_batch(case)
  fields = oracle_complexes.make_features(batch)
  batch = jax.tree.map(jnp.asarray, batch)
  spec = alphafold.make_spec(ours)
  prepare, iterate = network.compiled(spec, optimised=case.num_block is None)
  context = prepare(params, None, batch)
  previous = alphafold.network(spec).initial(len(batch.aatype))
  found = []
  for index in range(num_pass):
    outputs = iterate(params, jax.random.key(index), batch, context, previous)
    result = oracle_complexes.run_pass(theirs, their_params, fields, previous)
    own = _own(outputs, previous, batch)
    found.append(_compared(outputs, own, result))
    previous = oracle.next_recycled(result)
  return found


def _compared(outputs: schema.Outputs, own: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, float]:
  named = {name: (where.ours(outputs), where.theirs(result)) for name, where in OUTPUTS.items()}
  named['PAE logits'] = outputs.logits.pae, result['pae_matrix_with_logits']['logits']
  named |= {name: (own[key], result[key]) for name, key in SCORES.items()}
  return {name: relative_error(*both) for name, both in named.items()}


@functools.lru_cache(maxsize=1)
def _arrays(model: str, num_block: int | None) -> dict[str, np.ndarray]:
  return random_official(oracle.our_configuration(model, num_block), seed=configs.model_number(model))
