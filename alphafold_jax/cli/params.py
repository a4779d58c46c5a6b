# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax params download | list | verify | check | export`."""

import argparse
import logging
import pathlib
import shutil
import sys
from typing import Any

from alphafold_jax import choices, folders
from alphafold_jax.cli.flags import PROGRAM, Flags, actions, command, count, switch, value
from alphafold_jax.errors import InputError
from alphafold_jax.transfer.files import human_size
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import config
  from alphafold_jax.weights import npz, official, store

  logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)

  def expected(model: str) -> dict[str, tuple[int, ...]]:
    return official.official_shapes(config.model_config(model))

  if given.action == 'download':
    rows = store.download(
      given.archive, given.data, source=given.source, sha256=given.sha256, expected=expected, force=given.force
    )
  elif given.action == 'list':
    if given.data and not folders.expanded(given.data).is_dir():
      raise InputError(f'--data {given.data}: no such folder')
    rows = store.list_params(given.data)
  else:
    rows = store.verify(given.data, expected)
  print(f'Parameters in {given.data or store.default_place()}')
  for row in rows:
    size = '' if row.size is None else human_size(row.size)
    print(f'  {row.model:<19} {row.status:<11} {size:>10}  {(row.sha256 or "")[:16]:<16}  {row.licence or ""}'.rstrip())
    for line in (*npz.shown(row.problems), *npz.shown(row.remarks)):
      print(f'      {line}')
  if given.action == 'list' and not any(row.usable for row in rows):
    print(f'None yet: {PROGRAM} params download fetches them (CC BY 4.0).')
  return int(given.action != 'list' and not all(row.usable for row in rows))


def check(given: argparse.Namespace) -> int:
  import jax

  from alphafold_jax.checking import check, findings
  from alphafold_jax.weights import store

  logging.basicConfig(format='%(message)s', stream=sys.stderr)
  logging.getLogger('alphafold_jax').setLevel(logging.INFO)  # JAX has much to say at this level
  print(f'Parameters in {given.data or store.default_place()}')
  print(f'alphafold_jax {__version__}, jax {jax.__version__}, on {jax.devices()[0].device_kind}', flush=True)
  width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
  found = []
  for finding in check.shipped(_log.info).run(given.data):
    found.append(finding)
    print(findings.text(finding, width), flush=True)
  print(findings.summary(found))
  return int(any(one.verdict == findings.Verdict.WRONG for one in found))


def export(given: argparse.Namespace) -> int:
  from alphafold_jax.train import parameters

  model, step = parameters.export(pathlib.Path(given.run_dir), pathlib.Path(given.out), given.step)
  print(f'{given.out}: averaged parameters of {model}, step {step}')
  return 0


_FOLDER = {'--data': value('DIR', "folder (default: $ALPHAFOLD_JAX_PARAMS or the user's cache)")}
_OLDER = '2022-03-02 and 2022-01-19 have the older models of complexes'
_DOWNLOAD: Flags = {
  **_FOLDER,
  '--archive': value('NAME', f'its date, or an address; {_OLDER} (default: %(default)s)', default=choices.PARAMETERS),
  '--from': value('FILE', 'an archive that is on this machine already', dest='source'),
  '--sha256': value('HEX', 'the digest that the archive must have'),
  '--force': switch('fetch again even if all is there'),
}
_EXPORT: Flags = {
  'run_dir': value('RUN_DIR', 'folder of the run'),
  'out': value('OUT.npz', 'the file to write'),
  '--step': count('of the checkpoint (default: the best by validation)'),
}

_CHECKED = """\
Says, model by model, whether this program reproduces known outputs with the parameters that are installed:
the files themselves, recordings of ColabFold array by array, and published scores. docs/parity.md explains the lines.

Exit code 0: all that could be checked holds; 1: something does not; 2: wrong usage, or no parameters.
What could not be checked is named, and counts as neither."""


def add(commands: Any) -> None:
  group = actions(commands, 'params', 'download, list or verify the published parameters; export trained ones')
  command(group, 'download', run, 'fetch the published parameters (resumes; CC BY 4.0)', arguments=_DOWNLOAD)
  command(group, 'list', run, 'which parameters are on this machine', arguments=_FOLDER)
  verified = 'compare every file with its recorded digest, and its arrays with the models'
  command(group, 'verify', run, verified, arguments=_FOLDER)
  command(
    group,
    'check',
    check,
    'prove that this program gives with them what other programs recorded (minutes on CPUs)',
    description=_CHECKED,
    arguments=_FOLDER,
  )
  command(
    group,
    'export',
    export,
    'write trained parameters in the published layout',
    description='Writes the averaged parameters of a training run as an official .npz, and beside it a notice of '
    'where they come from.',
    arguments=_EXPORT,
  )
