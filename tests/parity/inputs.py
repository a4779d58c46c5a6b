# SPDX-License-Identifier: Apache-2.0
"""What the compared modules read, and the two configurations they are built from.

Both sides run under `hk.transform` on the same Inputs with the same random parameters, each in its own layout.
"""

import dataclasses
import functools

import jax
import numpy as np
import oracle
from scipy.spatial import transform

from alphafold_jax import schema
from alphafold_jax.geometry.rigid import Rigid
from alphafold_jax.model import alphafold

PARAMETER_SET = 'model_1_ptm'  # has every module there is
MASKS = ('full', 'ragged')

_NUM_RES, _NUM_SEQ, _NUM_EXTRA = 13, 7, 9
_CLUSTERS, _REST = 5, 4  # rows of the batch that become clusters, and extra rows

OURS = oracle.our_configuration(
  PARAMETER_SET, 1, sampling__num_msa=_CLUSTERS, sampling__num_extra=_REST, sampling__masked_fraction=0.0
)
SPEC = alphafold.make_spec(OURS)
THEIRS = oracle.configuration(PARAMETER_SET, 1).model


@schema.pytree
class Inputs:
  """What modules read; every case takes what it needs."""

  m: jax.Array  # [N_seq, N_res, 256]
  extra: jax.Array  # [N_extra, N_res, 64]
  z: jax.Array  # [N_res, N_res, 128]
  t: jax.Array  # [N_templ, N_res, N_res, 64]
  features: jax.Array  # [N_res, N_res, 88]
  single: jax.Array  # [N_res, 384]
  s: jax.Array  # [N_res, 384]
  seq_mask: jax.Array  # [N_res]
  msa_mask: jax.Array  # [N_seq, N_res]
  extra_mask: jax.Array  # [N_extra, N_res]
  pair_mask: jax.Array  # [N_res, N_res]
  quaternion: jax.Array  # [N_res, 4]
  frames: Rigid  # [N_res], turned by the quaternions
  batch: schema.Batch
  previous: schema.Recycled
  official: dict[str, jax.Array]  # the oracle's features of the batch, and its recycled values


@functools.cache
def make_inputs(masks: str, seed: int = 0) -> Inputs:
  """Random activations; `masks` is 'full', or 'ragged': residues, single cells, whole rows and a template missing."""
  rng = np.random.default_rng(seed)
  num_res = _NUM_RES

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  def ragged(*shape):
    cells = (rng.random(shape) < 0.7).astype(np.float32)
    cells[-2:] = 0  # rows without any residue
    return cells * seq_mask

  is_full = masks == 'full'
  seq_mask = np.ones(num_res, np.float32) if is_full else np.float32(rng.permutation(num_res) > 2)
  turns = transform.Rotation.random(num_res, random_state=seed)
  frames = Rigid(rotation=turns.as_matrix().astype(np.float32), translation=normal(num_res, 3))
  batch = oracle.random_batch(num_res, _CLUSTERS + _REST, num_templates=3, seed=seed)
  given = dataclasses.replace(batch.templates, mask=np.ones(3, np.float32) if is_full else batch.templates.mask)
  batch = dataclasses.replace(batch, seq_mask=seq_mask, templates=given)
  atom_positions = (5 * normal(num_res, 1, 3) + normal(num_res, 37, 3)).astype(np.float32)
  previous = schema.Recycled(
    msa_first_row=normal(num_res, 256), pair=normal(num_res, num_res, 128), atom_positions=atom_positions
  )
  return Inputs(
    m=normal(_NUM_SEQ, num_res, 256),
    extra=normal(_NUM_EXTRA, num_res, 64),
    z=normal(num_res, num_res, 128),
    t=normal(len(batch.templates.mask), num_res, num_res, 64),
    features=normal(num_res, num_res, 88),
    single=normal(num_res, 384),
    s=normal(num_res, 384),
    seq_mask=seq_mask,
    msa_mask=np.ones((_NUM_SEQ, num_res), np.float32) if is_full else ragged(_NUM_SEQ, num_res),
    extra_mask=np.ones((_NUM_EXTRA, num_res), np.float32) if is_full else ragged(_NUM_EXTRA, num_res),
    pair_mask=np.ones((num_res, num_res), np.float32) if is_full else ragged(num_res, num_res),
    quaternion=turns.as_quat(scalar_first=True).astype(np.float32),
    frames=frames,
    batch=batch,
    previous=previous,
    official=oracle.make_features(batch, _CLUSTERS, _REST) | oracle.recycled(previous),
  )
