# SPDX-License-Identifier: Apache-2.0
"""Job names: what a protein's files are called. Safe on every file system, and never two alike.

A name keeps letters, digits, '_', '.' and '-' (as ColabFold does); every other character becomes '_'. Names that become
equal that way, also in upper and lower case, get a digest of the name as written, so that a job's name does not depend
on the order of the input.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from alphafold_jax import untrusted

NAMES = 'names.json'  # in an output folder: the own names of the proteins whose job has another
_MAX_LENGTH = 100  # leaves room for '_unrelaxed_rank_001_..._seed_000.r20.pdb' within 255 bytes
_UNSAFE = re.compile(r'[^A-Za-z0-9_.-]')
_RESERVED = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)  # devices on Windows


def safe_name(name: str) -> str:
  """The name in characters that every file system takes; different names may come out alike."""
  letters = (c for c in unicodedata.normalize('NFKD', name.strip()) if not unicodedata.combining(c))  # e for é
  safe = _UNSAFE.sub('_', ''.join(letters)).lstrip('.-').rstrip('.')
  if not safe.strip('_'):
    safe = f'job_{_digest(name)}'
  if _RESERVED.fullmatch(safe):
    safe = f'{safe}_'
  return safe if len(safe) <= _MAX_LENGTH else f'{safe[: _MAX_LENGTH - 9]}_{_digest(name)}'


def original_names(folder: Path) -> dict[str, str]:
  """The proteins' own names by job, as an output folder records them; {} where it does not."""
  try:
    return {
      str(job): str(name) for job, name in untrusted.from_json((folder / NAMES).read_text(encoding='utf-8')).items()
    }
  except (OSError, ValueError, AttributeError):
    return {}


def unique_job_names(names: Sequence[str]) -> list[str]:
  """A safe name for each, all different even where case does not count.

  A name that is safe as written is kept, unless another such name differs only in case; equal names are numbered.
  """
  safe = {name: safe_name(name) for name in names}
  rivals: dict[str, list[str]] = defaultdict(list)
  for name, base in safe.items():
    rivals[base.casefold()].append(name)
  base_names, taken = {}, set()
  for group in rivals.values():
    unchanged = [name for name in group if safe[name] == name]
    for name in group:
      keeps = len(group) == 1 or unchanged == [name]
      base_names[name] = safe[name] if keeps else f'{safe[name]}_{_digest(name)}'
  firsts = {base.casefold() for base in base_names.values()}
  jobs, number = [], dict.fromkeys(base_names, 1)
  for name in names:
    base = job = base_names[name]
    while job.casefold() in taken or (job != base and job.casefold() in firsts):
      number[name] += 1
      job = f'{base}_{number[name]}'
    taken.add(job.casefold())
    jobs.append(job)
  return jobs


def _digest(name: str) -> str:
  return hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]
