# SPDX-License-Identifier: Apache-2.0
"""The JSON input of AlphaFold 3 and of AlphaFold Server, as far as AlphaFold 2 can follow it: proteins and complexes.

    {"name": "x", "modelSeeds": [1], "dialect": "alphafold3", "version": 1, "sequences": [{"protein":
       {"id": "A", "sequence": "MKT...", "unpairedMsa": ">q\\nMKT...", "templates": [{"mmcif": ..., ...}]}}]}
    [{"name": "x", "sequences": [{"proteinChain": {"sequence": "MKT...", "count": 1}}], "dialect": "alphafoldserver"}]

Keys and their meaning are those of AlphaFold 3's docs/input.md.
"""

import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from alphafold_jax.data.chains import MOST_CHAINS
from alphafold_jax.errors import InputError
from alphafold_jax.naming import chain_name

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
_PROTEINS_ONLY = 'AlphaFold 2 predicts proteins and their complexes, without ligands, DNA or RNA; leave it out'


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


class JobProtein(NamedTuple):
  """An entry of a job: a protein chain and its copies."""

  entry: dict[str, Any]
  sequence: str
  names: tuple[str, ...]  # one for each copy; none: the job names no chains
  copies: int

  @property
  def letters(self) -> str:
    """The sequence as it is read: upper case, without white space and the stop at its end."""
    return ''.join(self.sequence.split()).upper().removesuffix('*')

  @property
  def place(self) -> str:
    """The entry in messages."""
    return f'chain {self.names[0]}' if self.names else f'the chain {self.letters[:10]}...'


def proteins(job: dict[str, Any], source: str) -> list[JobProtein]:
  """The protein chains of a job, one or more.

  Raises:
    InputError: it has other molecules, bonds or glycans, or says of a chain what cannot be.
  """
  entries = job['sequences']
  kinds = [next(iter(entry), '') if isinstance(entry, dict) else '' for entry in entries]
  if wrong := [kind for kind in kinds if kind not in _PROTEINS]:
    if not wrong[0]:
      raise InputError(f'{source}: an entry of "sequences" is not {{"protein": {{...}}}}')
    raise InputError(f'{source}: holds "{wrong[0]}"; {_PROTEINS_ONLY}')
  if not entries:
    raise InputError(f'{source}: "sequences" is empty; give at least one protein')
  if job.get('bondedAtomPairs'):
    raise InputError(
      f'{source}: "bondedAtomPairs" cannot be followed by AlphaFold 2; remove it to predict the proteins alone'
    )
  found = [_protein(entry[kind], source) for entry, kind in zip(entries, kinds, strict=True)]
  if (num_chains := sum(protein.copies for protein in found)) > MOST_CHAINS:
    raise InputError(f'{source}: {num_chains:,} chains; at most {MOST_CHAINS:,} are predicted together')
  return found


def _protein(entry: Any, source: str) -> JobProtein:
  """One entry, checked."""
  if not isinstance(entry, dict) or not isinstance(entry.get('sequence'), str):
    raise InputError(f'{source}: the protein has no "sequence", a text of one-letter codes')
  if entry.get('glycans'):
    raise InputError(f'{source}: "glycans" cannot be followed by AlphaFold 2; remove it to predict the protein alone')
  given, count = entry.get('id') or [], entry.get('count', 1)
  ids = given if isinstance(given, list) else [given]
  if not (type(count) is int and count > 0):
    raise InputError(f'{source}: "count" is {json.dumps(count)[:40]}; expected a whole number, 1 or more')
  if not all(isinstance(one, str | int) and str(one) for one in ids):
    raise InputError(f'{source}: "id" is {json.dumps(given)[:40]}; expected the name of a chain, or a list of names')
  if len(ids) > 1 and count not in (1, len(ids)):
    raise InputError(f'{source}: {len(ids)} names in "id", but "count" is {count}; give one of the two')
  names = tuple(str(one).encode('utf-8', 'replace').decode() for one in ids)
  return JobProtein(entry, entry['sequence'].strip(), names, max(count, len(names)))


def names_of(chains: Sequence[JobProtein]) -> tuple[str, ...]:
  """The name of every chain; none if none has one, and else those without take letters that are left."""
  given = {name for protein in chains for name in protein.names}
  if not given:
    return ()
  free = (name for index in itertools.count() if (name := chain_name(index)) not in given)
  return tuple(name for one in chains for name in (*one.names, *itertools.islice(free, one.copies - len(one.names))))


def text_of(protein: dict[str, Any], key: str, source: str) -> str | None:
  """A text, or null, in an entry."""
  value = protein.get(key)
  if not (value is None or isinstance(value, str)):
    raise InputError(f'{source}: "{key}" is {json.dumps(value)[:40]}; expected a text, or null')
  return value and value.encode('utf-8', 'replace').decode()  # JSON can hold halves of characters
