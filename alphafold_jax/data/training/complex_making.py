# SPDX-License-Identifier: Apache-2.0
"""Making the list of a cache's complexes from assemblies: chains by name, equal chains, cluster and split.

Chains are copies of one entity if they have one sequence, which in mmCIF is the declared one (SEQRES); where a file
does not tell it, and copies differ in what was observed, if they align as an alignment's query must with a chain
(placement.py).

A complex is as far from training as the chain that is furthest: with a chain of the split `test` it is of that split.
"""

from collections.abc import Iterable, Sequence

from alphafold_jax.data.training import complexes
from alphafold_jax.data.training.assembled import corresponding
from alphafold_jax.data.training.assemblies import ChainAssembly
from alphafold_jax.data.training.assemblies import read_table as read_table
from alphafold_jax.data.training.cache import TrainingCache
from alphafold_jax.data.training.complexes import ComplexEntry
from alphafold_jax.data.training.source_table import SPLITS
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, did_you_mean, listed


def add_complexes(
  cache: TrainingCache, found: Sequence[ChainAssembly], known: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[ComplexEntry, ...], list[tuple[str, str]]]:
  """Writes the complexes of a cache.

  Args:
    cache: of the chains.
    found: the assemblies.
    known: (file, reason) of what was left out before, for the message where nothing is left.

  Returns:
    the complexes, and (source, reason) of what was left out.

  Raises:
    InputError: none is left.
  """
  made, skipped = make_complexes(cache, found)
  if not made:
    reasons = ''.join(f'\n  {name}: {reason}' for name, reason in (*skipped, *known)[:5])
    first = f'; the first reasons:{reasons}' if reasons else '; the structures hold single chains only'
    raise InputError(f'--complexes: no complex can be made of these chains{first}')
  complexes.write(cache.path / complexes.FILE, made)
  return made, skipped


def make_complexes(
  cache: TrainingCache, found: Iterable[ChainAssembly]
) -> tuple[tuple[ComplexEntry, ...], list[tuple[str, str]]]:
  """The complexes that assemblies make of a cache's chains, and (source, reason) of what was left out."""
  places = cache.places
  names = Names(places)
  sequences: dict[str, str] = {}
  made: dict[str, ComplexEntry] = {}
  skipped: list[tuple[str, str]] = []
  for one in found:
    meant = [names.meant(name) for name in one.chains]
    missing = [*one.missing, *(name for name, id in zip(one.chains, meant, strict=True) if id is None)]
    kept = [(id, motion) for id, motion in zip(meant, one.motions, strict=True) if id is not None]
    if missing:
      rest = 'taken without' if len(kept) > 1 else 'left out'
      skipped.append((one.source, f'complex {one.id}: {rest}: this set has no chain {listed(dict.fromkeys(missing))}'))
    if len(kept) < 2:
      continue
    if one.id in made:
      skipped.append((one.source, f'complex {one.id} was taken already'))
      continue
    chains, motions = (tuple(part) for part in zip(*kept, strict=True))
    for id in chains:
      sequences[id] = sequences.get(id) or cache[places[id]].sequence
    made[one.id] = ComplexEntry(
      id=one.id,
      chains=chains,
      motions=motions,
      entities=_entities([sequences[id] for id in chains]),
      cluster=one.cluster or '+'.join(sorted({cache.entries[places[id]].cluster for id in chains})),
      split=_split(one, [cache.entries[places[id]].split for id in chains]),
    )
  return tuple(made.values()), skipped


def _entities(sequences: Sequence[str]) -> tuple[int, ...]:
  """The number of each chain's entity, from 1 by first appearance."""
  first: list[str] = []
  found: dict[str, int] = {}
  for sequence in sequences:
    if sequence not in found:
      found[sequence] = next((i for i, other in enumerate(first, start=1) if _are_copies(sequence, other)), 0)
      if not found[sequence]:
        first.append(sequence)
        found[sequence] = len(first)
  return tuple(found[sequence] for sequence in sequences)


def _are_copies(sequence: str, other: str) -> bool:
  return bool((corresponding(sequence, other) >= 0).any())


def _split(one: ChainAssembly, of_chains: Sequence[str]) -> str:
  """The split of a complex; InputError where its line names none."""
  if one.split and one.split not in SPLITS:
    expected = f'expected {", ".join(SPLITS[:-1])} or {SPLITS[-1]}{did_you_mean(one.split, SPLITS)}'
    raise InputError(f'{one.source}: the split is {one.split!r}; {expected}')
  return max([*of_chains, *([one.split] if one.split else [])], key=SPLITS.index)
