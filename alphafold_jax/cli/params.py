# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax params download | list | verify | export`."""

import argparse
import logging
import pathlib
import sys
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli.flags import PROGRAM, Flags, actions, command, count, switch, value
from alphafold_jax.transfer.files import human_size


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import config
  from alphafold_jax.weights import official, store

  logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)

  def expected(model: str) -> dict[str, tuple[int, ...]]:
    return official.official_shapes(config.model_config(model))

  if given.action == 'download':
    rows = store.download(
      given.archive, given.data, source=given.source, sha256=given.sha256, expected=expected, force=given.force
    )
  elif given.action == 'list':
    rows = store.list_params(given.data)
  else:
    rows = store.verify(given.data, expected)
  print(f'Parameters in {given.data or store.default_place()}')
  for row in rows:
    size = '' if row.size is None else human_size(row.size)
    print(f'  {row.model:<14} {row.status:<11} {size:>10}  {(row.sha256 or "")[:16]:<16}  {row.licence or ""}'.rstrip())
    for line in (*row.problems, *row.remarks):
      print(f'      {line}')
  if given.action == 'list' and not any(row.usable for row in rows):
    print(f'None yet: {PROGRAM} params download fetches them (CC BY 4.0).')
  return int(given.action != 'list' and not all(row.usable for row in rows))


def export(given: argparse.Namespace) -> int:
  from alphafold_jax.train import parameters

  model, step = parameters.export(pathlib.Path(given.run_dir), pathlib.Path(given.out), given.step)
  print(f'{given.out}: averaged parameters of {model}, step {step}')
  return 0


_FOLDER = {'--data': value('DIR', "folder (default: $ALPHAFOLD_JAX_PARAMS or the user's cache)")}
_DOWNLOAD: Flags = {
  **_FOLDER,
  '--archive': value('NAME', 'which one, or an address (default: %(default)s)', default=choices.PARAMETERS),
  '--from': value('FILE', 'an archive that is on this machine already', dest='source'),
  '--sha256': value('HEX', 'the digest that the archive must have'),
  '--force': switch('fetch again even if all is there'),
}
_EXPORT: Flags = {
  'run_dir': value('RUN_DIR', 'folder of the run'),
  'out': value('OUT.npz', 'the file to write'),
  '--step': count('of the checkpoint (default: the best by validation)'),
}


def add(commands: Any) -> None:
  group = actions(commands, 'params', 'download, list or verify the published parameters; export trained ones')
  command(group, 'download', run, 'fetch the published parameters (resumes; CC BY 4.0)', arguments=_DOWNLOAD)
  command(group, 'list', run, 'which parameters are on this machine', arguments=_FOLDER)
  verified = 'compare every file with its recorded digest, and its arrays with the models'
  command(group, 'verify', run, verified, arguments=_FOLDER)
  command(
    group,
    'export',
    export,
    'write trained parameters in the published layout',
    description='Writes the averaged parameters of a training run as an official .npz, and beside it a notice of '
    'where they come from.',
    arguments=_EXPORT,
  )
