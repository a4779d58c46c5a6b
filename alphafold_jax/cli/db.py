# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax db build | download | list`."""

import argparse
import logging
import pathlib
import re
import sys
from typing import Any

from alphafold_jax import folders, machine
from alphafold_jax.cli.flags import PROGRAM, Flags, actions, command, count, switch, value
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number
from alphafold_jax.transfer.files import human_size


def build(given: argparse.Namespace) -> int:
  from alphafold_jax.search.mmseqs import making

  out = pathlib.Path(given.out)
  threads = given.num_threads or machine.num_processors()
  making.build(given.fasta, out, threads, index=given.index, overwrite=given.overwrite, watch=_report)
  print(f'{out}: an MMseqs2 database; search it with --msa-mode mmseqs2 --database {out}')
  return 0


def _report(fraction: float, text: str) -> None:
  print(f'{fraction:4.0%}  {text}', file=sys.stderr, flush=True)


def _folder(given: argparse.Namespace) -> pathlib.Path:
  return folders.expanded(given.folder) if given.folder else folders.user_cache('databases')


def download(given: argparse.Namespace) -> int:
  from alphafold_jax.search.download import download as fetch
  from alphafold_jax.search.standard_sets import STANDARD_SETS, find_set

  if not given.names:
    if given.sha256 or given.force:
      raise InputError(f'{"--sha256" if given.sha256 else "--force"}: which database? name it')
    print('Standard databases, about their sizes (download, room on the disk):')
    for one in STANDARD_SETS.values():
      sizes = f'{human_size(one.num_bytes):>10} {human_size(one.room):>10}'
      print(f'  {one.name:<15} {sizes}  {one.kind:<18} {one.licence}')
    print(f'{PROGRAM} db download NAME fetches one.')
    return 0
  logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
  folder = _folder(given)
  sets = [find_set(name) for name in given.names]  # InputError before anything is fetched
  if given.sha256 and len(sets) > 1:
    raise InputError('--sha256: the digest of one download; name one database')
  if given.sha256 and not re.fullmatch('[0-9a-fA-F]{64}', given.sha256.strip()):
    raise InputError(f'--sha256 {given.sha256}: a digest has 64 hexadecimal digits')
  for one in sets:
    database = fetch(one, folder, sha256=given.sha256, force=given.force)
    print(f'{one.name}: {database.path} ({database.kind})')
  return 0


def list_found(given: argparse.Namespace) -> int:
  from alphafold_jax.search import databases

  folder = _folder(given)
  if given.folder and not folder.is_dir():
    raise InputError(f'{folder}: no such folder of databases')
  if given.folder and (why := folders.hindrance(folder)):
    raise InputError(f'{folder}: cannot be listed ({why})')
  found = databases.found_in(folder)
  print(f'Databases in {folders.with_hindrance(folder)}')
  for one in found:
    print(f'  {one.role:<10} {human_size(databases.size(one)):>10}  {one.kind:<17} {one.path.relative_to(folder)}')
  if not found:
    there = 0 if folders.hindrance(folder) else len(list(folder.iterdir()))
    what = f'None among {number(there, "file or folder")}' if there else 'None'
    print(f'{what}: `{PROGRAM} db download` fetches the standard ones.')
  return 0


_DEFAULT = "default: $ALPHAFOLD_JAX_DATABASES or the user's cache"
_BUILD: Flags = {
  'fasta': value('FASTA'),
  'out': value('OUT', "what the database's files begin with"),
  '--index': switch('index it as well: faster searches of few sequences, about seven times the room'),
  '--overwrite': switch('replace a database that is there'),
  '--num-threads': count('default: all processors'),
}
_DOWNLOAD: Flags = {
  'names': value('NAME', nargs='*'),
  '--folder': value('DIR', _DEFAULT),
  '--sha256': value('HEX', 'the digest that the download must have'),
  '--force': switch('fetch again even if it is there'),
}


def add(commands: Any) -> None:
  group = actions(commands, 'db', 'make, download or list sequence databases')
  command(
    group,
    'build',
    build,
    'an MMseqs2 database from a FASTA file',
    description='Makes an MMseqs2 database of the proteins in a FASTA file (also .gz). It appears whole or not at all.',
    arguments=_BUILD,
  )
  command(
    group,
    'download',
    download,
    'fetch standard databases',
    description='Fetches databases from their publishers: goes on where an earlier try stopped, checks them, and does '
    'not begin without room on the disk. Without a name it lists them.',
    arguments=_DOWNLOAD,
  )
  folder = {'folder': value('DIR', _DEFAULT, nargs='?')}
  command(group, 'list', list_found, 'the databases on this machine', description='', arguments=folder)
