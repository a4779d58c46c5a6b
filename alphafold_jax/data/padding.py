# SPDX-License-Identifier: Apache-2.0
"""Padding and cropping of any schema object, and the sizes to pad to.

A program compiled for one shape serves every batch padded to it. Fewer sizes mean fewer compilations and more work
on padding: pair operations cost between the square and the cube of the length, so from 64 residues on a step is at most
one eighth of it.
"""

import bisect
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from alphafold_jax.errors import InputError
from alphafold_jax.fields import axis_sizes, map_leaves

__all__ = ['axis_sizes', 'best_lengths', 'crop', 'msa_depth_bucket', 'pad_batch', 'padded_depth', 'residue_bucket']

_MSA_DEPTHS = (1, 16, 64, 128, 256, 512, 1536, 5632)
_FEW = 96  # rows of a pass that are not worth further programs


def pad_batch(batch: Any, sizes: dict[str, int]) -> Any:
  """Grows the named axes at their end with each field's fill value; masks are 0 there.

  Args:
    batch: any schema object of numpy arrays.
    sizes: new size per axis name; axes not named stay as they are.

  Raises:
    InputError: an axis would shrink.
  """
  have = axis_sizes(batch)
  for axis, size in sizes.items():
    if size < have.get(axis, 0):
      raise InputError(f'cannot pad axis {axis} from {have[axis]} to {size}: it would have to shrink')

  def pad(field: dataclasses.Field, value: Any) -> np.ndarray:
    value = np.asarray(value)
    shape = [sizes.get(axis, n) for axis, n in zip(field.metadata['axes'], value.shape, strict=True)]
    padded = np.full(shape, field.metadata['fill'], value.dtype)
    padded[tuple(slice(n) for n in value.shape)] = value
    return padded

  return map_leaves(pad, batch)


def crop(tree: Any, sizes: dict[str, int]) -> Any:
  """Cuts the named axes to their first entries, as numpy arrays: undoes `pad_batch`, also on outputs."""

  def cut(field: dataclasses.Field, value: Any) -> np.ndarray:
    return np.asarray(value)[tuple(slice(sizes.get(axis)) for axis in field.metadata['axes'])]

  return map_leaves(cut, tree)


def residue_bucket(num_res: int, num_devices: int = 1) -> int:
  """The padded length: 16, then multiples of 8 to 128, then eight steps per doubling.

  Args:
    num_res: residues.
    num_devices: the length is rounded up to a multiple, so that they can split it evenly.
  """
  step = 16 if num_res <= 16 else max(8, 2 ** ((num_res - 1).bit_length() - 4))
  return _multiple(num_devices, _multiple(step, num_res))


def best_lengths(
  proteins: Mapping[int, int], pass_cost: Callable[[int], float], program_cost: float
) -> tuple[int, ...]:
  """The padded lengths that many proteins are cheapest to compute at: programs to compile against work on padding.

  Each protein goes to the next length that holds it, so each length serves a run of the sorted ones, and the best cuts
  up to a length are the best up to the cut before it and one more program: found exactly, in the square of the number
  of lengths.

  Args:
    proteins: how many passes there are at each length that they have by themselves, such as `residue_bucket`.
    pass_cost: of a pass at a padded length; must not fall with it.
    program_cost: of one compilation, in the same unit.

  Returns:
    the lengths, ascending, all of them among those of `proteins`; of equally cheap ones the fewest.
  """
  lengths = sorted(proteins)
  best: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, ())]  # of the first so many lengths
  for end, length in enumerate(lengths, 1):
    one, passes, found = pass_cost(length), 0, []
    for start in reversed(range(end)):
      passes += proteins[lengths[start]]
      cost, count, before = best[start]
      found.append((cost + program_cost + passes * one, count + 1, (*before, length)))
    best.append(min(found))
  return best[-1][2]


def _multiple(step: int, least: int) -> int:
  return -(-least // step) * step


def msa_depth_bucket(num_seq: int) -> int:
  """The padded number of rows: 1 (no homologues), 16, 64, 128, 256, 512, 1536, 5632, then doubling.

  Reckoned for a published model on two cores, where a program takes 6 to 12 s to compile. At 128 residues the pair
  operations of a block cost as much as its alignment operations on about 75 rows. Up to 16 rows, padding is then at
  most a fifth of a pass, hence one bucket; from 64 on a step of two wastes a quarter of a pass in the mean, 1 to 3 s
  times four passes, which is about a program; a step of four would waste three times that. Beyond 512, further rows
  are extra rows, which only 4 of 52 blocks see: the steps are what the models take. Of still deeper alignments a pass
  sees as many rows, and only the small program that draws them is compiled again, for 1 to 2 s. A single sequence, the
  commonest depth of all, is not padded.
  """
  if num_seq <= _MSA_DEPTHS[-1]:
    return _MSA_DEPTHS[bisect.bisect_left(_MSA_DEPTHS, num_seq)]
  return _MSA_DEPTHS[-1] * 2 ** (-(-num_seq // _MSA_DEPTHS[-1]) - 1).bit_length()


def padded_depth(num_seq: int, num_taken: int) -> int:
  """The padded depth of an alignment of which a pass takes so many rows, clusters and extra ones together.

  What is not deeper is never padded beyond that; what is deeper always fills it, so that it is one program for all.
  A pass of no more than 96 rows, as mini's, has all of them or one: at 128 residues mini's pair operations cost
  as much as its alignment operations on about 250 rows, so that padding is at most a third of a pass of half a second.
  """
  if 1 < num_seq <= num_taken <= _FEW:
    return num_taken
  return (min if num_seq <= num_taken else max)(num_taken, msa_depth_bucket(num_seq))
