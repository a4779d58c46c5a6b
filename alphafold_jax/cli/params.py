# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax params download | list | verify | export`."""

import argparse
import pathlib
import sys
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import flags


def run(given: argparse.Namespace) -> int:
  import logging

  from alphafold_jax import config
  from alphafold_jax.transfer.files import human_size
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
  print(f'Parameters in {given.data or store.default_directory()}')
  for row in rows:
    size = '' if row.size is None else human_size(row.size)
    print(f'  {row.model:<14} {row.status:<11} {size:>10}  {(row.sha256 or "")[:16]:<16}  {row.licence or ""}'.rstrip())
    for line in (*row.problems, *row.remarks):
      print(f'      {line}')
  if given.action == 'list' and not any(row.usable for row in rows):
    print(f'None yet: {flags.PROGRAM} params download fetches them (CC BY 4.0).')
  return int(given.action != 'list' and not all(row.usable for row in rows))


def export(given: argparse.Namespace) -> int:
  from alphafold_jax.train import parameters

  model, step = parameters.export(pathlib.Path(given.run_dir), pathlib.Path(given.out), given.step)
  print(f'{given.out}: averaged parameters of {model}, step {step}')
  return 0


def add(commands: Any) -> None:
  params = commands.add_parser(
    'params', help='download, list or verify the published parameters; export trained ones', allow_abbrev=False
  )
  actions = params.add_subparsers(title='actions', metavar='ACTION', required=True, dest='action')
  texts = {
    'download': 'fetch the published parameters (resumes; CC BY 4.0)',
    'list': 'which parameters are on this machine',
    'verify': 'compare every file with its recorded digest, and its arrays with the models',
  }
  for action, text in texts.items():
    parser = actions.add_parser(action, help=text, description=text[0].upper() + text[1:] + '.', allow_abbrev=False)
    parser.add_argument('--data', metavar='DIR', help="folder (default: $ALPHAFOLD_JAX_PARAMS or the user's cache)")
    parser.set_defaults(run=run, action=action)
    if action == 'download':
      parser.add_argument(
        '--archive', default=choices.PARAMETERS, metavar='NAME', help='which one, or an address (default: %(default)s)'
      )
      parser.add_argument('--from', dest='source', metavar='FILE', help='an archive that is on this machine already')
      parser.add_argument('--sha256', metavar='HEX', help='the digest that the archive must have')
      parser.add_argument('--force', action='store_true', help='fetch again even if all is there')
  parser = actions.add_parser(
    'export',
    help='write trained parameters in the published layout',
    allow_abbrev=False,
    description='Writes the averaged parameters of a training run as an official .npz, and beside it a notice of '
    'where they come from.',
  )
  parser.add_argument('run_dir', metavar='RUN_DIR', help='folder of the run')
  parser.add_argument('out', metavar='OUT.npz', help='the file to write')
  parser.add_argument('--step', type=int, metavar='N', help='of the checkpoint (default: the best by validation)')
  parser.set_defaults(run=export)
