# SPDX-License-Identifier: Apache-2.0
"""From the heads' logits to numbers a person can use: pLDDT, PAE, pTM, ipTM and contacts.

Algorithm 29 "predictPerResidueLDDT" (its last line) and Suppl. 1.9.6-1.9.8. Everything runs under jit, so that
the large logits are reduced where they are; host arrays may be given as well. Padding is chosen away, never multiplied
away: whatever stands there, NaN included, changes nothing.

Shapes: num_res residues; pair quantities are [i, j], residue j scored when aligned on residue i. Where devices share a
protein each has its rows i.
"""

import jax
import jax.numpy as jnp
import numpy as np

from alphafold_jax import ops, schema
from alphafold_jax.arguments import wrong
from alphafold_jax.constants.distogram import distogram_edges
from alphafold_jax.schema import Array

PAE_MAX_BIN = 31.0  # Å, the last edge of the aligned-error bins, Suppl. 1.9.7
CONTACT_CUTOFF = 8.0  # Å between C-beta atoms (C-alpha for glycine)
INTERFACE_CUTOFF = 8.25  # Å, of the bins that begin below 8 Å: those that actifpTM counts as contact, Varga et al. 2025


@schema.pytree
class Confidence:
  """How far one prediction is to be trusted; `pae`, `ptm`, `iptm` are None where the model has no such head, and
  `distogram` where it was not asked for."""

  plddt: Array = schema.array('num_res')  # 0..100
  mean_plddt: Array = schema.array()  # 0..100, over unmasked residues
  pae: Array | None = schema.array('num_res', 'num_res')  # Å
  ptm: Array | None = schema.array()  # 0..1
  iptm: Array | None = schema.array()  # 0..1; also None when no chains were distinguished
  contact_probability: Array = schema.array('num_res', 'num_res')
  distogram: Array | None = schema.array('num_res', 'num_res', 64, dtype='float16')  # on request: `log_distogram`
  # Of several chains, from the PAE head, for the scores of interfaces (interfaces/expected.py):
  tm: Array | None = schema.array('num_res', 'num_res', default=None)  # expected TM term, d0 of the whole complex
  interface_contact: Array | None = schema.array('num_res', 'num_res', default=None)  # probability of at most 8.25 Å
  own_chain_tm: Array | None = schema.array('num_res', default=None)  # mean term over the own chain, d0 of the chain
  finite: Array = schema.array(dtype='bool')  # False: a NaN or infinity in positions or scores of an unmasked residue


# ------------------------------------------------------------------------------------------ single quantities


def plddt(logits: Array) -> jax.Array:
  """Expected lDDT-C-alpha of each residue, 0 to 100. Algorithm 29, last line."""
  num_bins = _num_bins(logits)
  return 100 * _expectation(logits, (np.arange(num_bins) + 0.5) / num_bins)  # [N_res]


def pae_bin_centres(num_bins: int = 64, max_bin: float = PAE_MAX_BIN) -> np.ndarray:
  """Centres of the aligned-error bins; the last bin, open above, counts as one step further."""
  edges = np.linspace(0, max_bin, num_bins - 1)
  return np.append(edges, edges[-1] + edges[1]) + edges[1] / 2  # [num_bins] Å


def pae(logits: Array, max_bin: float = PAE_MAX_BIN) -> jax.Array:
  """Expected position error of residue j when the structures are aligned on residue i. Suppl. 1.9.7."""
  return _expectation(logits, pae_bin_centres(_num_bins(logits), max_bin))  # [N_res, N_res] Å


def ptm(logits: Array, mask: Array, max_bin: float = PAE_MAX_BIN) -> jax.Array:
  """Predicted TM-score: the best alignment's expected TM-score over the unmasked residues. Suppl. 1.9.7."""
  return _best_alignment(_expected_tm(logits, mask, max_bin), mask, counted=True)  # []


def iptm(logits: Array, mask: Array, asym_id: Array, max_bin: float = PAE_MAX_BIN) -> jax.Array:
  """Predicted TM-score between chains: only residues of other chains than the aligned one count; 0 for one chain."""
  return _best_alignment(_expected_tm(logits, mask, max_bin), mask, _between(asym_id))  # []


def log_distogram(logits: Array) -> jax.Array:
  """The logarithms of the probabilities of the distance bins, in half precision.

  They are logits too, and take half precision best: where a bin is likely its logarithm is near 0, and so exact.
  """
  _num_bins(logits)
  return jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1).astype(jnp.float16)  # [N_res, N_res, 64]


def expected_distance(logits: Array) -> jax.Array:
  """Mean distance between C-beta atoms; the open bins at both ends count half a step beyond their edge."""
  edges = distogram_edges(_num_bins(logits))
  step = edges[1] - edges[0]
  return _expectation(logits, np.append(edges - step / 2, edges[-1] + step / 2))  # [N_res, N_res] Å


def contact_probability(logits: Array, cutoff: float = CONTACT_CUTOFF) -> jax.Array:
  """Probability of the distance bins that end at or below the cutoff (for 8 Å the last such edge is 7.94 Å)."""
  upper_edges = np.append(distogram_edges(_num_bins(logits)), np.inf)
  return _expectation(logits, upper_edges <= cutoff)  # [N_res, N_res]


# ------------------------------------------------------------------------------------------ the summary


def summarise(outputs: schema.Outputs, seq_mask: Array, asym_id: Array | None = None) -> Confidence:
  """Reduces one pass's logits to what is kept of them; `asym_id` asks for ipTM too (complexes)."""
  logits = outputs.logits
  pairs = of_pairs(logits.distogram, logits.pae, seq_mask, has_chains=asym_id is not None)
  own = None
  if asym_id is not None and logits.pae is not None:
    own = own_chain_tm(logits.pae, asym_id, asym_id, seq_mask)
  return of_summaries(logits.plddt, pairs, outputs.structure.atom_positions, seq_mask, asym_id, own_tm=own)


def of_pairs(
  distogram: Array,
  pae_logits: Array | None,
  seq_mask: Array,
  max_bin: float = PAE_MAX_BIN,
  has_chains: bool = False,
) -> jax.Array:
  """What is kept of the logits of some pairs [..., 64]: contact probability, and with a PAE head error and TM term.

  Of several chains also the probability of contact as actifpTM has it.

  Each pair for itself, so that long proteins can be summed up a few rows at a time.

  Returns:
    [..., 1], [..., 3] or, of several chains, [..., 4].
  """
  kept = [contact_probability(distogram)]
  if pae_logits is not None:
    kept += [pae(pae_logits, max_bin), _expected_tm(pae_logits, seq_mask, max_bin)]
    kept += [contact_probability(distogram, INTERFACE_CUTOFF)] if has_chains else []
  return jnp.stack(kept, axis=-1)


def of_summaries(
  plddt_logits: Array,
  pairs: Array,
  atom_positions: Array,
  seq_mask: Array,
  asym_id: Array | None = None,
  distogram: Array | None = None,
  own_tm: Array | None = None,
) -> Confidence:
  """The confidence of a structure from what `of_pairs` kept of all pairs [N_res, N_res, 1, 3 or 4].

  With a distogram from `log_distogram` that is kept too; so are the terms of pairs with `own_tm` from `own_chain_tm`.
  """
  valid = jnp.asarray(seq_mask) > 0  # [N_res]
  residues = plddt(plddt_logits)
  contact, *scores = jnp.moveaxis(pairs, -1, 0)
  errors_ij, tm, *near = scores or (None, None)
  return Confidence(
    plddt=residues,
    mean_plddt=masked_mean(residues, valid),
    pae=errors_ij,
    ptm=_best_alignment(tm, valid, counted=True) if scores else None,
    iptm=_best_alignment(tm, valid, _between(asym_id)) if scores and asym_id is not None else None,
    contact_probability=contact,
    distogram=distogram,
    tm=tm if near else None,
    interface_contact=near[0] if near else None,
    own_chain_tm=own_tm,
    finite=_all_finite(atom_positions, residues, errors_ij, valid),
  )


def own_chain_tm(
  pae_logits: Array, asym_id: Array, all_asym_id: Array, seq_mask: Array, max_bin: float = PAE_MAX_BIN
) -> jax.Array:
  """Mean expected TM term of some residues' alignment over their own chain, d0 that of the chain: for its pTM.

  Args:
    pae_logits: [b, N_res, 64], of the residues and all others.
    asym_id: [b], of the residues.
    all_asym_id: [N_res]
    seq_mask: [N_res]
    max_bin: Å

  Returns:
    [b]
  """
  same = (jnp.asarray(asym_id)[:, None] == all_asym_id) & (jnp.asarray(seq_mask) > 0)  # [b, N_res]
  size = jnp.sum(same, axis=-1)
  d0 = 1.24 * jnp.cbrt(jnp.maximum(size, 19) - 15.0) - 1.8  # Å
  tm = _tm_term(pae_logits, d0[:, None, None], max_bin)
  return jnp.sum(jnp.where(same, tm, 0), axis=-1) / jnp.maximum(size, 1)


def masked_mean(values: Array, mask: Array) -> jax.Array:
  """Mean over unmasked residues."""
  valid = jnp.asarray(mask) > 0
  return jnp.sum(jnp.where(valid, values, 0)) / jnp.maximum(jnp.sum(valid), 1)  # []


def _all_finite(positions, residues, errors_ij, valid):
  """Whether every number that would be written for an unmasked residue is finite."""
  finite = jnp.isfinite(residues) & jnp.all(jnp.isfinite(positions), axis=(-2, -1))  # [N_res]
  result = jnp.all(finite | ~valid)
  if errors_ij is not None:
    rows = jnp.all(jnp.isfinite(errors_ij) | ~_pairs(valid), axis=-1)
    result &= jnp.all(ops.all_residues(rows))
  return result  # []


def _pairs(valid):
  """[N_res, N_res]: which pairs are of unmasked residues."""
  return ops.pairwise(jnp.logical_and, valid)


def _num_bins(logits: Array) -> int:
  """The size of the last axis; InputError if these are no logits."""
  shape = getattr(logits, 'shape', ())
  if not shape or shape[-1] < 3:
    raise wrong('logits', logits, 'must be an array whose last axis holds the bins, such as [num_res, num_res, 64]')
  return shape[-1]


def _expectation(logits, values):
  """Mean of a value per bin under softmax(logits), in float32 whatever the logits are."""
  probs = jax.nn.softmax(jnp.asarray(logits, jnp.float32), axis=-1)
  return jnp.sum(probs * jnp.asarray(values, jnp.float32), axis=-1)


def _expected_tm(logits, mask, max_bin):
  """Expected TM-score term of every pair; its length scale d0 grows with the number of unmasked residues."""
  num_res = jnp.maximum(jnp.sum(jnp.asarray(mask) > 0), 19)  # below 19 residues the root is not meaningful
  return _tm_term(logits, 1.24 * jnp.cbrt(num_res - 15.0) - 1.8, max_bin)  # [N_res, N_res]


def _tm_term(logits, d0, max_bin):
  """Expected TM-score term of every pair; d0 in Å."""
  centres = jnp.asarray(pae_bin_centres(_num_bins(logits), max_bin), jnp.float32)
  return _expectation(logits, 1 / (1 + jnp.square(centres / d0)))


def _between(asym_id):
  """[N_res, N_res]: which pairs are of two chains."""
  return ops.pairwise(jnp.not_equal, jnp.asarray(asym_id))


def _best_alignment(tm, mask, counted):
  """Largest row mean over the pairs that are counted."""
  valid = jnp.asarray(mask) > 0
  pairs = _pairs(valid) & counted  # [N_res, N_res]
  means = jnp.sum(jnp.where(pairs, tm, 0), axis=-1) / (1e-8 + jnp.sum(pairs, axis=-1))
  return jnp.max(ops.all_residues(means))  # []
