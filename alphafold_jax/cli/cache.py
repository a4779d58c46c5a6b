# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax cache list | clean`."""

import argparse
import datetime
from typing import Any

from alphafold_jax.cli.flags import actions, command, value
from alphafold_jax.transfer.files import human_size


def run(given: argparse.Namespace) -> int:
  from alphafold_jax.search.cache import SearchCache

  cache = SearchCache(given.search_cache)
  entries = sorted(cache.entries(), key=lambda entry: entry.used)
  if given.action == 'clean':
    limit = datetime.datetime.now().astimezone() - datetime.timedelta(days=given.older_than)
    entries = [entry for entry in entries if entry.used <= limit or entry.engine == 'damaged']
    for entry in entries:
      entry.path.unlink(missing_ok=True)
  print(f'Searches in {cache.folder}')
  for entry in entries:
    print(
      f'  {entry.key[:12]}  {entry.used:%Y-%m-%d %H:%M}  {entry.engine:<10} {entry.num_res:>6} residues '
      f'{entry.num_rows:>7} rows  {human_size(entry.num_bytes):>10}'
    )
  done = 'removed, ' if given.action == 'clean' else ''
  print(f'{len(entries)} in all, {done}{human_size(sum(entry.num_bytes for entry in entries))}')
  return 0


_FOLDER = {'--search-cache': value('DIR', "folder (default: $ALPHAFOLD_JAX_SEARCHES or the user's cache)")}
_OLDER = {'--older-than': value('DAYS', 'only those not used for so many days', type=float, default=0.0)}


def add(commands: Any) -> None:
  group = actions(commands, 'cache', 'list or remove kept searches')
  command(group, 'list', run, 'the searches that are kept, those not used for longest first', arguments=_FOLDER)
  command(group, 'clean', run, 'remove searches, all or those not used for some time', arguments={**_FOLDER, **_OLDER})
