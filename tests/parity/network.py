# SPDX-License-Identifier: Apache-2.0
"""The whole network beside the oracle's, pass by pass, and both programs from an alignment file to a structure.

Recycling is teacher-forced: every pass of both is given what the oracle recycled. The recycled distances are binned
with hard edges, so a difference of a billionth could else become one of a whole bin.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracle
from alphafold.common import confidence as official_confidence

from alphafold_jax import confidence, prediction
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.model import alphafold
from alphafold_jax.weights import official
from alphafold_jax.weights.random import random_official
from parity.case import relative_error

TOLERANCE = 1e-4  # of the largest output value
PARAMETER_SETS = tuple(f'model_{number}{suffix}' for suffix in ('', '_ptm') for number in range(1, 6))
_NUM_MSA, _NUM_EXTRA = 5, 6


class Variant(NamedTuple):
  """Sizes of the random batch; no depth of the network means the published one."""

  num_block: int | None
  num_res: int
  depth: int


VARIANTS = {
  'two blocks': Variant(2, 17, 12),
  'two blocks, single sequence': Variant(2, 17, 1),  # no extra MSA at all
  'full depth': Variant(None, 12, 12),
}


class Output(NamedTuple):
  """Where a result lies on both sides."""

  ours: Callable[[Any], Any]
  theirs: Callable[[Mapping[str, Any]], Any]


def _their_pae(result: Mapping[str, Any]) -> np.ndarray:
  head = result['predicted_aligned_error']
  return official_confidence.compute_predicted_aligned_error(np.asarray(head['logits']), np.asarray(head['breaks']))[
    'predicted_aligned_error'
  ]


OUTPUTS = {
  'positions': Output(lambda o: o.structure.atom_positions, lambda r: r['structure_module']['final_atom_positions']),
  'pLDDT logits': Output(lambda o: o.logits.plddt, lambda r: r['predicted_lddt']['logits']),
  'pLDDT': Output(
    lambda o: confidence.plddt(o.logits.plddt),
    lambda r: official_confidence.compute_plddt(np.asarray(r['predicted_lddt']['logits'])),
  ),
  'PAE logits': Output(lambda o: o.logits.pae, lambda r: r['predicted_aligned_error']['logits']),
  'PAE': Output(lambda o: confidence.pae(o.logits.pae), _their_pae),
  'distogram': Output(lambda o: o.logits.distogram, lambda r: r['distogram']['logits']),
  'masked MSA': Output(lambda o: o.logits.masked_msa, lambda r: r['masked_msa']['logits']),
  'experimentally resolved': Output(
    lambda o: o.logits.experimentally_resolved, lambda r: r['experimentally_resolved']['logits']
  ),
  'MSA representation': Output(lambda o: o.representations.msa, lambda r: r['representations']['msa']),
  'pair representation': Output(lambda o: o.representations.pair, lambda r: r['representations']['pair']),
  'single representation': Output(lambda o: o.representations.single, lambda r: r['representations']['single']),
}
_PAE_ONLY = ('PAE logits', 'PAE')


def errors(name: str, variant: str, num_pass: int = 3) -> list[dict[str, float]]:
  """For each pass of a parameter set, the error of each output."""
  num_block, num_res, depth = VARIANTS[variant]
  ours = oracle.our_configuration(
    name, num_block, sampling__num_msa=_NUM_MSA, sampling__num_extra=_NUM_EXTRA, sampling__masked_fraction=0.0
  )
  theirs = oracle.configuration(name, num_block)
  batch = oracle.random_batch(num_res, depth)
  fields = oracle.make_features(batch, _NUM_MSA, min(_NUM_EXTRA, depth))
  arrays = random_official(ours, seed=PARAMETER_SETS.index(name))
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, ours))
  their_params = oracle.pass_params(arrays)

  prepare, iterate = compiled(alphafold.make_spec(ours), optimised=num_block is None)
  batch = jax.tree.map(jnp.asarray, batch)
  context = prepare(params, None, batch)
  previous = alphafold.network(alphafold.make_spec(ours)).initial(num_res)
  found = []
  for index in range(num_pass):
    outputs = iterate(params, jax.random.key(index), batch, context, previous)
    result = oracle.run_pass(theirs, their_params, fields | oracle.recycled(previous))
    found.append(
      {
        output: relative_error(where.ours(outputs), where.theirs(result))
        for output, where in OUTPUTS.items()
        if ours.heads.num_pae_bins or output not in _PAE_ONLY
      }
    )
    previous = oracle.next_recycled(result)
  return found


@functools.cache
def compiled(spec: alphafold.AlphaFoldSpec, optimised: bool) -> tuple[Callable, Callable]:
  """Our two functions, compiled once per spec and shapes."""
  network, options = alphafold.network(spec), oracle.AS_USERS if optimised else oracle.FAST
  return jax.jit(network.prepare, compiler_options=options), jax.jit(network.iterate, compiler_options=options)


def errors_from_a3m(name: str, text: str) -> dict[str, float]:
  """Both programs from the text of an alignment to a structure: two blocks, nothing masked, one pass."""
  ours = prediction.load_model(name, 'random', evoformer__num_block=2, extra_msa__num_block=2)
  arrays = official.to_official(ours.params, ours.config)
  predicted = prediction.predict(ours, parse_a3m(text, 'a3m'), num_recycle=0, masked_msa_fraction=0.0, dtype='float32')

  config = oracle.configuration(name, 2)
  fields = oracle.features_of_a3m(text, config, num_extra=1)
  previous = ours.initial(len(predicted.sequence))
  result = oracle.run_pass(config, oracle.pass_params(arrays), fields | oracle.recycled(previous))
  head = result['predicted_aligned_error']
  their_ptm = official_confidence.predicted_tm_score(np.asarray(head['logits']), np.asarray(head['breaks']))
  return {
    'positions': relative_error(predicted.atom_positions, OUTPUTS['positions'].theirs(result)),
    'pLDDT': relative_error(predicted.plddt, OUTPUTS['pLDDT'].theirs(result)),
    'PAE': relative_error(predicted.pae, _their_pae(result)),
    'pTM': relative_error(predicted.ptm, their_ptm),
  }
