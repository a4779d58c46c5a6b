# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax db build | download | list`."""

import argparse
import os
import pathlib
import sys
from typing import Any

from alphafold_jax import folders
from alphafold_jax.cli import flags


def build(given: argparse.Namespace) -> int:
  from alphafold_jax.search.mmseqs import making

  out = pathlib.Path(given.out)
  threads = given.num_threads or len(os.sched_getaffinity(0))
  making.build(given.fasta, out, threads, index=given.index, overwrite=given.overwrite, watch=_report)
  print(f'{out}: an MMseqs2 database; search it with --msa-mode mmseqs2 --database {out}')
  return 0


def _report(fraction: float, text: str) -> None:
  print(f'{fraction:4.0%}  {text}', file=sys.stderr, flush=True)


def _folder(given: argparse.Namespace) -> pathlib.Path:
  return pathlib.Path(given.folder).expanduser() if given.folder else folders.user_cache('databases')


def download(given: argparse.Namespace) -> int:
  import logging

  from alphafold_jax.search.download import download as fetch
  from alphafold_jax.search.standard_sets import STANDARD_SETS, find_set
  from alphafold_jax.transfer.files import human_size

  if not given.names:
    print('Standard databases, about their sizes (download, room on the disk):')
    for one in STANDARD_SETS.values():
      sizes = f'{human_size(one.num_bytes):>10} {human_size(one.room):>10}'
      print(f'  {one.name:<15} {sizes}  {one.kind:<18} {one.licence}')
    print(f'{flags.PROGRAM} db download NAME fetches one.')
    return 0
  logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
  folder = _folder(given)
  sets = [find_set(name) for name in given.names]  # InputError before anything is fetched
  if given.sha256 and len(sets) > 1:
    from alphafold_jax.errors import InputError

    raise InputError('--sha256: the digest of one download; name one database')
  for one in sets:
    database = fetch(one, folder, sha256=given.sha256, force=given.force)
    print(f'{one.name}: {database.path} ({database.kind})')
  return 0


def list_found(given: argparse.Namespace) -> int:
  from alphafold_jax.search import databases
  from alphafold_jax.transfer.files import human_size

  folder = _folder(given)
  found = databases.found_in(folder)
  print(f'Databases in {folder}')
  for one in found:
    print(f'  {one.role:<10} {human_size(databases.size(one)):>10}  {one.kind:<17} {one.path.relative_to(folder)}')
  if not found:
    print(f'None: `{flags.PROGRAM} db download` fetches the standard ones.')
  return 0


def add(commands: Any) -> None:
  parser = commands.add_parser('db', help='make, download or list sequence databases', allow_abbrev=False)
  actions = parser.add_subparsers(title='actions', metavar='ACTION', required=True)
  one = actions.add_parser(
    'build',
    help='an MMseqs2 database from a FASTA file',
    allow_abbrev=False,
    description=(
      'Makes an MMseqs2 database of the proteins in a FASTA file (also .gz). It appears whole or not at all.'
    ),
  )
  one.add_argument('fasta', metavar='FASTA')
  one.add_argument('out', metavar='OUT', help="what the database's files begin with")
  one.add_argument(
    '--index', **flags.SWITCH, help='index it as well: faster searches of few sequences, about seven times the room'
  )
  one.add_argument('--overwrite', **flags.SWITCH, help='replace a database that is there')
  one.add_argument('--num-threads', type=int, metavar='N', help='default: all processors')
  one.set_defaults(run=build)
  one = actions.add_parser(
    'download',
    help='fetch standard databases',
    allow_abbrev=False,
    description=(
      'Fetches databases from their publishers: goes on where an earlier try stopped, checks them, and does not begin '
      'without room on the disk. Without a name it lists them.'
    ),
  )
  one.add_argument('names', nargs='*', metavar='NAME')
  one.add_argument('--folder', metavar='DIR', help="default: $ALPHAFOLD_JAX_DATABASES or the user's cache")
  one.add_argument('--sha256', metavar='HEX', help='the digest that the download must have')
  one.add_argument('--force', **flags.SWITCH, help='fetch again even if it is there')
  one.set_defaults(run=download)
  one = actions.add_parser('list', help='the databases on this machine', allow_abbrev=False)
  one.add_argument('folder', nargs='?', metavar='DIR', help="default: $ALPHAFOLD_JAX_DATABASES or the user's cache")
  one.set_defaults(run=list_found)
