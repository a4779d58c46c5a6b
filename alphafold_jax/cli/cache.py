# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax cache list | clean`."""

import argparse
import datetime
from typing import Any


def run(given: argparse.Namespace) -> int:
  from alphafold_jax.search.cache import SearchCache
  from alphafold_jax.transfer.files import human_size

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


def add(commands: Any) -> None:
  parser = commands.add_parser('cache', help='list or remove kept searches', allow_abbrev=False)
  actions = parser.add_subparsers(title='actions', metavar='ACTION', required=True, dest='action')
  texts = {
    'list': 'the searches that are kept, those not used for longest first',
    'clean': 'remove searches, all or those not used for some time',
  }
  for action, text in texts.items():
    one = actions.add_parser(action, help=text, description=f'{text[0].upper()}{text[1:]}.', allow_abbrev=False)
    one.set_defaults(run=run, action=action)
    one.add_argument(
      '--search-cache', metavar='DIR', help="folder (default: $ALPHAFOLD_JAX_SEARCHES or the user's cache)"
    )
    if action == 'clean':
      one.add_argument(
        '--older-than', type=float, metavar='DAYS', default=0.0, help='only those not used for so many days'
      )
