# SPDX-License-Identifier: Apache-2.0
"""Runs of `alphafold-jax predict` small enough for tests: one block, random weights, twenty residues; and processes."""

import contextlib
import json
import os
import pty
import subprocess
import sys

import jax
import numpy as np

from alphafold_jax import cli, prediction

SEQUENCE = 'MKTAYIAKQRQISFVKSHFS'
OTHER = 'GSHMKELAARLDQTFWVNPC'
NETWORK = (
  '--config',
  'evoformer.num_block=1',
  '--config',
  'extra_msa.num_block=1',
  '--config',
  'structure.num_layer=2',
)
SMALL = ('--params', 'random', *NETWORK, '--num-recycle', '0', '--skip-output', 'plots,report,viewers')
ALONE = (*SMALL, '--msa-mode', 'single_sequence', '--num-models', '1')
A3M = f'>q\n{SEQUENCE}\n' + ''.join(f'>{i}\n{SEQUENCE[:i]}{"-" * 4}{SEQUENCE[i + 4 :]}\n' for i in range(12))


def predict(source, out, *flags) -> int:
  """Runs the command here and now; returns its exit code."""
  return cli.main(['predict', str(source), str(out), *flags])


def fasta(path, **sequences):
  """Writes a FASTA file of named sequences."""
  path.write_text(''.join(f'>{name}\n{sequence}\n' for name, sequence in sequences.items()))
  return path


def environment() -> dict[str, str]:
  """The environment in which another process shares the compiled programs of the tests."""
  return os.environ | {
    'JAX_COMPILATION_CACHE_DIR': jax.config.jax_compilation_cache_dir,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5',
  }


def python(code: str, *arguments) -> subprocess.CompletedProcess:
  """Runs Python code in a process of its own."""
  return subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    env=environment(),
    text=True,
    capture_output=True,
    timeout=300,
    check=False,
  )


def in_terminal(*arguments) -> str:
  """Runs the command in a process of its own on a terminal; returns all that was shown, and it must end well."""
  mine, its = pty.openpty()
  command = [sys.executable, '-m', 'alphafold_jax', *map(str, arguments)]
  with subprocess.Popen(
    command,
    stdout=its,
    stderr=its,
    stdin=its,
    close_fds=True,
    env=environment() | {'TERM': 'xterm', 'COLUMNS': '100', 'LINES': '40'},
  ) as process:
    os.close(its)
    shown = b''
    with contextlib.suppress(OSError):  # the other end is closed
      while part := os.read(mine, 4096):
        shown += part
    assert process.wait(timeout=300) == 0
  os.close(mine)
  return shown.decode()


def count_predictions(monkeypatch) -> list[tuple[str, str, int]]:
  """A list that grows by (protein, model, seed) with every prediction that is computed from now on."""
  computed, original = [], prediction.predict

  def counted(model, batch, **settings):
    computed.append((settings['name'], model.name, settings['seed']))
    return original(model, batch, **settings)

  monkeypatch.setattr(prediction, 'predict', counted)
  return computed


def load_json(path):
  return json.loads(path.read_text())


def names(folder) -> set[str]:
  """The visible files of a folder."""
  return {path.name for path in folder.iterdir() if not path.name.startswith('.')}


def raw(out, job, tag='alphafold2_ptm_model_1_seed_000') -> dict[str, np.ndarray]:
  """The arrays of a raw result."""
  with np.load(out / '.results' / job / f'{tag}.npz', allow_pickle=False) as archive:
    return {name: archive[name] for name in archive.files if name != '__result__'}
