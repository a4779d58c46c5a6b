# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax cache list | clean | programs`: searches; compiled programs are those of `cli.programs`."""

import argparse
import datetime
from typing import Any

from alphafold_jax import folders
from alphafold_jax.cli import programs
from alphafold_jax.cli.flags import actions, command, value
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number
from alphafold_jax.transfer.files import human_size


def run(given: argparse.Namespace) -> int:
  from alphafold_jax.search.cache import SearchCache

  if given.search_cache and not folders.expanded(given.search_cache).is_dir():
    raise InputError(f'--search-cache {given.search_cache}: no such folder')
  cache = SearchCache(given.search_cache)
  entries = sorted(cache.entries(), key=lambda entry: entry.used)
  kept = len(entries)
  if given.action == 'clean':
    if not 0 <= given.older_than <= programs.MOST_DAYS:
      raise InputError(f'--older-than {given.older_than:g}: give days, from 0 to {programs.MOST_DAYS:,}')
    limit = datetime.datetime.now().astimezone() - datetime.timedelta(days=given.older_than)
    entries = [entry for entry in entries if entry.used <= limit or entry.engine == 'damaged']
    for entry in entries:
      entry.path.unlink(missing_ok=True)
  print(f'Searches in {cache.folder}')
  for entry in entries:
    print(
      f'  {entry.key[:12]}  {entry.used:%Y-%m-%d %H:%M}  {entry.engine:<10} {number(entry.num_res, "residue"):>15} '
      f'{number(entry.num_rows, "row"):>12}  {human_size(entry.num_bytes):>10}'
    )
  size = human_size(sum(entry.num_bytes for entry in entries))
  if given.action == 'list':
    print(f'{len(entries)} in all, {size}')
  elif entries or not kept:
    print(f'{len(entries)} in all, removed, {size}' if entries else 'None to remove: the folder holds no search')
  else:
    print(f'None removed: all that are kept ({kept}) were used in the last {given.older_than:g} days')
  return 0


_FOLDER = {'--search-cache': value('DIR', "folder (default: $ALPHAFOLD_JAX_SEARCHES or the user's cache)")}
_OLDER = {'--older-than': value('DAYS', 'only those not used for so many days', type=float, default=0.0)}


def add(commands: Any) -> None:
  group = actions(commands, 'cache', 'list or remove kept searches; copy, list or remove compiled programs')
  command(group, 'list', run, 'the searches that are kept, those not used for longest first', arguments=_FOLDER)
  command(group, 'clean', run, 'remove searches, all or those not used for some time', arguments={**_FOLDER, **_OLDER})
  programs.add(group)
