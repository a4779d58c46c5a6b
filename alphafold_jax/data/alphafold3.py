# SPDX-License-Identifier: Apache-2.0
"""The JSON input of AlphaFold 3 and of AlphaFold Server, as far as AlphaFold 2 can follow it: one protein chain.

    {"name": "x", "modelSeeds": [1], "dialect": "alphafold3", "version": 1, "sequences": [{"protein":
       {"id": "A", "sequence": "MKT...", "unpairedMsa": ">q\\nMKT...", "templates": [{"mmcif": ..., ...}]}}]}
    [{"name": "x", "sequences": [{"proteinChain": {"sequence": "MKT...", "count": 1}}], "dialect": "alphafoldserver"}]

Keys and their meaning are those of AlphaFold 3's docs/input.md.
"""

import json
from typing import Any

from alphafold_jax.errors import InputError

_MARK = '"sequences"'
_PROTEINS = ('protein', 'proteinChain')
_OTHERS = {  # what else has braces: by a key of its own
  'plddt': 'the scores of a prediction',
  'predicted_aligned_error': 'the predicted aligned errors of a prediction',
  'max_predicted_aligned_error': 'the predicted aligned errors of a prediction',
  'structure': 'a template map, which is given with --template-map',
  'queries': 'the input of OpenFold 3',
  'chain_pair_iptm': 'the confidences of AlphaFold 3',
  'atom_plddts': 'the confidences of AlphaFold 3',
  'order': 'the ranking of AlphaFold 2',
}
_ONE_CHAIN = 'this version predicts one protein chain alone, complexes are a later feature; give each chain a file'


def is_json(text: str) -> bool:
  """Whether a text can only be JSON."""
  return text.lstrip()[:1] in ('{', '[')


def may_be_input(text: str) -> bool:
  """Whether a text is the input of AlphaFold 3, perhaps a damaged one, and no other JSON."""
  return is_json(text) and _MARK in text


def read_jobs(text: str, source: str) -> list[dict[str, Any]]:
  """The jobs of a file.

  Raises:
    InputError: it is no JSON, or another one; the message says what, and names `source`.
  """
  try:
    content = json.loads(text)
  except json.JSONDecodeError as error:
    raise InputError(f'{source}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})') from None
  except (RecursionError, ValueError) as error:
    raise InputError(f'{source}: JSON that cannot be read ({error})') from None
  jobs = content if isinstance(content, list) else [content]
  for job in jobs:
    if not (isinstance(job, dict) and isinstance(job.get('sequences'), list)):
      keys = set(job) if isinstance(job, dict) else set()
      what = next((f'; this is {what}' for key, what in _OTHERS.items() if key in keys), '')
      raise InputError(f'{source}: JSON, but not the input of AlphaFold 3, which has a list "sequences"{what}')
  if not jobs:
    raise InputError(f'{source}: an empty list; expected jobs, [{{"name": ..., "sequences": [...]}}, ...]')
  return jobs


def only_protein(job: dict[str, Any], source: str) -> dict[str, Any]:
  """The one protein chain of a job.

  Raises:
    InputError: it is not alone, or has bonds or glycans.
  """
  entries = job['sequences']
  kinds = [next(iter(entry), '') if isinstance(entry, dict) else '' for entry in entries]
  if wrong := [kind for kind in kinds if kind not in _PROTEINS]:
    if not wrong[0]:
      raise InputError(f'{source}: an entry of "sequences" is not {{"protein": {{...}}}}')
    raise InputError(f'{source}: holds "{wrong[0]}"; {_ONE_CHAIN}, without ligands, DNA or RNA')
  if len(kinds) != 1:
    raise InputError(f'{source}: holds {len(kinds)} protein chains; {_ONE_CHAIN}')
  protein = entries[0][kinds[0]]
  if not isinstance(protein, dict) or not isinstance(protein.get('sequence'), str):
    raise InputError(f'{source}: the protein has no "sequence", a text of one-letter codes')
  names, count = protein.get('id', 'A'), protein.get('count', 1)
  if (isinstance(names, list) and len(names) > 1) or count != 1:
    copies = len(names) if isinstance(names, list) and len(names) > 1 else count
    raise InputError(f'{source}: {copies} copies of the protein; {_ONE_CHAIN}')
  for holder, key in ((protein, 'glycans'), (job, 'bondedAtomPairs')):
    if holder.get(key):
      raise InputError(f'{source}: "{key}" cannot be followed by AlphaFold 2; remove it to predict the protein alone')
  return protein


def text_of(protein: dict[str, Any], key: str, source: str) -> str | None:
  """A text, or null, in an entry."""
  value = protein.get(key)
  if not (value is None or isinstance(value, str)):
    raise InputError(f'{source}: "{key}" is {json.dumps(value)[:40]}; expected a text, or null')
  return value and value.encode('utf-8', 'replace').decode()  # JSON can hold halves of characters


def unpaired_msa(text: str, source: str) -> str:
  """The alignment inside a file of one job, as A3M text.

  Raises:
    InputError: there is none.
  """
  jobs = read_jobs(text, source)
  alignment = text_of(only_protein(jobs[0], source), 'unpairedMsa', source) if len(jobs) == 1 else None
  if not alignment:
    raise InputError(f'{source}: holds no alignment ("unpairedMsa") of a single protein')
  return alignment
