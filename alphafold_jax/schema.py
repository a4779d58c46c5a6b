# SPDX-License-Identifier: Apache-2.0
"""The data that travels through the program: frozen pytrees whose fields know their axes.

Each array field carries `axes` (names of sizes that vary, or fixed integers), its dtype and the value that fills
padding, so that padding, cropping and saving are one function over the type and never list fields by hand.

Axes: num_res residues, num_seq rows of the alignment, num_templ templates, 37 atom types ("atom37").
A monomer is an assembly of one chain, hence asym_id, entity_id and sym_id on every batch.
"""

import dataclasses
import typing
from typing import Any, TypeVar

import jax
import jax.export
import numpy as np

from alphafold_jax import fields
from alphafold_jax.constants.couplings import NUM_CHANNELS
from alphafold_jax.one_line import one_line

if typing.TYPE_CHECKING:
  Array = Any  # numpy at rest, jax.Array under jit: which of the two, no type checker can know
else:
  Array = jax.Array | np.ndarray
T = TypeVar('T')


def array(*axes: str | int, dtype: str = 'float32', fill: float = 0, default: Any = dataclasses.MISSING) -> Any:
  """Declares an array field with its axes, dtype and padding value; one whose default is None may be absent."""
  return dataclasses.field(default=default, metadata={'axes': axes, 'dtype': dtype, 'fill': fill})


def _sizes(tree: Any) -> str:
  """The `__repr__` of a schema object: its name and the sizes of its axes, such as 'Msa(num_seq=12, num_res=84)'."""
  sizes: dict[str, int] = {}
  for _, field, value in fields.leaves(tree):
    axes, shape = field.metadata.get('axes', ()), getattr(value, 'shape', ())
    sizes |= {axis: size for axis, size in zip(axes, shape, strict=False) if isinstance(axis, str)}
  return (
    f'{type(tree).__name__}({", ".join(f"{axis}={size}" for axis, size in sizes.items())})' if sizes else one_line(tree)
  )


@typing.dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(array,))
def pytree(cls: type[T]) -> type[T]:
  """Makes a class a frozen, keyword-only dataclass and a JAX pytree that `jax.export` can write to disk."""
  cls.__repr__ = _sizes  # type: ignore[method-assign]
  cls = jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))
  jax.export.register_pytree_node_serialization(
    cls,
    serialized_name=f'{cls.__module__}.{cls.__qualname__}',
    serialize_auxdata=lambda _: b'',
    deserialize_auxdata=lambda _: (),
  )
  return cls


@pytree
class Msa:
  """An alignment to the query; the network samples clusters and extra rows from it on every pass (Suppl. 1.2.7).

  Tokens 0..19 are the residue types, 20 is unknown, 21 a gap. Row 0 is the query.
  """

  tokens: Array = array('num_seq', 'num_res', dtype='int32', fill=21)
  deletions: Array = array('num_seq', 'num_res')  # residues left out just before this column
  mask: Array = array('num_seq', 'num_res')
  pinned: Array = array('num_seq')  # 1: sampling keeps this row in front (the query)
  profile: Array = array('num_res', 22)  # token frequencies over all rows, gaps included


@pytree
class Templates:
  """Raw template structures placed on the query's residues; frames and torsions are derived under jit."""

  aatype: Array = array('num_templ', 'num_res', dtype='int32', fill=21)  # 21: no residue aligned
  atom_positions: Array = array('num_templ', 'num_res', 37, 3)  # Å
  atom_mask: Array = array('num_templ', 'num_res', 37)
  mask: Array = array('num_templ')  # 0: an empty slot
  # Residues of one number are of one structure, whose coordinates they share; None: each chain is of its own.
  structure_id: Array | None = array('num_templ', 'num_res', dtype='int32', default=None)


@pytree
class Targets:
  """The experimental structure of a training example; for prediction every atom is masked."""

  atom_positions: Array = array('num_res', 37, 3)  # Å
  atom_mask: Array = array('num_res', 37)
  resolution: Array = array()  # Å; 0: unknown
  use_clamped_fape: Array = array()  # 1: clamp the backbone FAPE of this example
  is_distillation: Array = array()  # 1: the target is itself a prediction
  # Of a complex the structure of every copy of the residue's chain, by sym_id from 1: equal chains have no order, and
  # which is compared with which depends on the prediction (losses/permutation.py). Then asym_id is at most num_copies.
  copy_positions: Array | None = array('num_copies', 'num_res', 37, 3, default=None)  # Å
  copy_mask: Array | None = array('num_copies', 'num_res', 37, default=None)


@pytree
class Batch:
  """The network's input: everything that is known of one assembly."""

  aatype: Array = array('num_res', dtype='int32', fill=20)  # 0..19, 20: unknown
  # one_hot(aatype), or probabilities: gradients to the sequence enter here. Not to be replaced alone: the profile and
  # row 0 of the alignment hold the sequence too, and `afj.with_sequence` changes all of them.
  soft_sequence: Array = array('num_res', 21)
  seq_mask: Array = array('num_res')
  residue_index: Array = array('num_res', dtype='int32')  # position in the chain, from 0
  asym_id: Array = array('num_res', dtype='int32')  # from 1; one number per chain
  entity_id: Array = array('num_res', dtype='int32')  # from 1; one number per distinct sequence
  sym_id: Array = array('num_res', dtype='int32')  # from 1; which copy of its entity
  msa: Msa
  templates: Templates
  targets: Targets
  # Of each pair, from all rows of the alignment (constants/couplings.py); None and zeros say that there are none.
  couplings: Array | None = array('num_res', 'num_res', NUM_CHANNELS, default=None)


@pytree
class Recycled:
  """The outputs of one pass that the next takes as input (Alg. 30, 32); zeros before the first."""

  msa_first_row: Array = array('num_res', 'c_m')
  pair: Array = array('num_res', 'num_res', 'c_z')
  atom_positions: Array = array('num_res', 37, 3)  # Å


@pytree
class Structure:
  """The structure module's output (Alg. 20): the last layer's atoms and every layer's frames and angles."""

  atom_positions: Array = array('num_res', 37, 3)  # Å; 0 where the atom does not exist
  atom_mask: Array = array('num_res', 37)
  frame_rotations: Array = array('num_layer', 'num_res', 3, 3)
  frame_translations: Array = array('num_layer', 'num_res', 3)  # Å
  angles: Array = array('num_layer', 'num_res', 7, 2)  # (sin, cos) of pre-omega, phi, psi, chi1..4
  unnormalized_angles: Array = array('num_layer', 'num_res', 7, 2)
  group_rotations: Array = array('num_res', 8, 3, 3)  # rigid groups of the last layer
  group_translations: Array = array('num_res', 8, 3)  # Å
  atom14_positions: Array = array('num_res', 14, 3)  # Å


@pytree
class Representations:
  """The trunk's last activations."""

  msa: Array = array('num_msa', 'num_res', 'c_m')
  single: Array = array('num_res', 'c_s')
  pair: Array = array('num_res', 'num_res', 'c_z')
  structure_module: Array = array('num_res', 'c_s')


@pytree
class Logits:
  """The heads' outputs before softmax (Suppl. 1.9); `pae` is None for models without that head."""

  distogram: Array = array('num_res', 'num_res', 64)
  masked_msa: Array = array('num_msa', 'num_res', 23)  # 22 in networks of complexes, which never predict the last
  plddt: Array = array('num_res', 50)
  experimentally_resolved: Array = array('num_res', 37)
  pae: Array | None = array('num_res', 'num_res', 64)


@pytree
class MaskedMsa:
  """The target of the masked-MSA loss: the cluster rows of one pass before masking, and where they were masked."""

  tokens: Array = array('num_msa', 'num_res', dtype='int32')
  mask: Array = array('num_msa', 'num_res')


@pytree
class Outputs:
  """The outputs of one pass of the network."""

  structure: Structure
  logits: Logits
  representations: Representations
  masked_msa: MaskedMsa
  recycled: Recycled
