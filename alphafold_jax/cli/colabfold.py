# SPDX-License-Identifier: Apache-2.0
"""The flags of `colabfold_batch` that `predict` does not have: accepted where they change no result, else refused.

All others of its flags mean here what they mean there (version 1.6.3).
"""

import argparse
import dataclasses
from typing import Any

from alphafold_jax.cli.flags import CommandParser
from alphafold_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ForeignFlag:
  """One flag: how many values it takes, and what becomes of it."""

  said: str  # why it changes nothing; or what is missing, and our way
  refused: bool = False
  takes: bool = True  # a value


_SPEED = 'concerns the speed there; kernels are chosen by --kernels here, by default the fastest'
_MEMORY = 'concerns the memory there; what fits is planned here before anything runs'
_CONTACTS = 'actifpTM of counted contacts is not part of this version; here they are weighted by their probability'
_PROFILE = 'hiding the profiles of clusters from the models of complexes is not part of this version; leave it out'
_HITS = (
  'reading template hits from a file is not part of this version; search with --templates, or give the structures with '
  '--template-map or --custom-template-path'
)
_JSON = (
  'writing the input of AlphaFold 3 is not part of this version; alignments as A3M, which it takes as unpairedMsaPath, '
  'are written by `alphafold-jax msa`'
)
FOREIGN = {
  '--calc-extra-ptm': ForeignFlag('the files of complexes always have these scores here', takes=False),
  '--no-use-probs-extra': ForeignFlag(_CONTACTS, refused=True, takes=False),
  '--disable-cluster-profile': ForeignFlag(_PROFILE, refused=True, takes=False),
  '--pdb-hit-file': ForeignFlag(_HITS, refused=True),
  '--custom-template-cache-path': ForeignFlag('templates need no cache here'),
  '--af3-json': ForeignFlag(_JSON, refused=True, takes=False),
  '--use-fast-kernels': ForeignFlag(_SPEED, takes=False),
  '--kernel-backend': ForeignFlag(_SPEED),
  '--compile-mode': ForeignFlag('concerns the speed of compiling there; programs are compiled once and kept here'),
  '--recompile-padding': ForeignFlag('concerns the speed there; sequences are padded to common sizes here'),
  '--disable-unified-memory': ForeignFlag(_MEMORY, takes=False),
}
_VALUES = {  # of flags that both have: values that only colabfold_batch takes
  ('--model-type', 'deepfold_v1'): 'the models of DeepFold are not part of this version; choose alphafold2_ptm',
}


def add_to(parser: CommandParser) -> None:
  """Lets a parser take these flags, which its --help does not list, and explain the values of others."""
  for flag, foreign in FOREIGN.items():
    how: dict[str, Any] = {'nargs': '?', 'const': ''} if foreign.takes else {'action': 'store_true', 'default': None}
    parser.add_argument(flag, help=argparse.SUPPRESS, **how)
  parser.silent = tuple(FOREIGN)
  parser.advice = lambda flag, value: _VALUES.get((flag, value))


def notes(given: argparse.Namespace) -> list[str]:
  """What to say about those that were given and change nothing.

  Raises:
    InputError: one of them would change the results.
  """
  said = []
  for flag, foreign in FOREIGN.items():
    value = getattr(given, flag.removeprefix('--').replace('-', '_'))
    if value is None:
      continue
    if foreign.refused:
      raise InputError(f'{flag}: {foreign.said}')
    said.append(f'{flag}: {foreign.said}; no result changes')
  return said
