# SPDX-License-Identifier: Apache-2.0
"""The alignments in the input of AlphaFold 3: those of a single protein, or of each chain of a complex.

AlphaFold 3 pairs the rows of "pairedMsa" by the species in their names, and so they are here.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from alphafold_jax.data import alphafold3, complexes
from alphafold_jax.data.alphafold3 import JobProtein
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes import ChainTexts
from alphafold_jax.errors import InputError

_KEYS = ('unpairedMsa', 'pairedMsa')


def as_a3m(text: str, source: str) -> str:
  """The alignment inside a file of one job, as A3M text.

  Raises:
    InputError: there is none.
  """
  jobs = alphafold3.read_jobs(text, source)
  proteins = alphafold3.proteins(jobs[0], source) if len(jobs) == 1 else []
  if len(proteins) == 1 and proteins[0].copies == 1:
    found = alphafold3.text_of(proteins[0].entry, 'unpairedMsa', source)
  else:
    of_chains = complexes.of_texts(chain_texts(proteins, source))
    chains = [protein.letters for protein in proteins for _ in range(protein.copies)]
    found = None if of_chains is None else complexes.as_text(of_chains, Chains(tuple(chains)))
  if not found:
    raise InputError(f'{source}: holds no alignment ("unpairedMsa") of a protein or complex')
  return found


def chain_texts(proteins: Sequence[JobProtein], source: str) -> list[ChainTexts]:
  """What a job says of the alignment of each chain, as texts.

  Raises:
    InputError: what should be a text is none.
  """
  return [
    ChainTexts(
      protein.letters,
      protein.copies,
      f'{source}, {protein.place}',
      *(alphafold3.text_of(protein.entry, key, source) for key in _KEYS),
    )
    for protein in proteins
  ]


def files_of(protein: JobProtein, folder: Path, source: str) -> dict[str, Path]:
  """The files that a job names in place of texts, by the key of the text.

  Raises:
    InputError: there is no such file, or both are given.
  """
  found = {}
  for key in _KEYS:
    path = alphafold3.text_of(protein.entry, f'{key}Path', source)
    if path and alphafold3.text_of(protein.entry, key, source):
      raise InputError(f'{source}: both "{key}" and "{key}Path"; give one of them')
    if path:
      found[key] = folder / path
      if not os.path.lexists(found[key]):
        raise InputError(f'{source}: its "{key}Path" {found[key]} does not exist; correct it')
  return found
