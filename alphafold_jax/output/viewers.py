# SPDX-License-Identifier: Apache-2.0
"""Scripts that open the ranked structures of a protein in ChimeraX or PyMOL, in the bands of confidence.

Files are named as they stand beside the script. ChimeraX runs a script in its own folder; PyMOL is told where that is.
"""

import re
from collections.abc import Sequence

from alphafold_jax.output.mmcif_targets import identifiers
from alphafold_jax.output.plots import PLDDT_BANDS
from alphafold_jax.output.record import Report

_BANDS = tuple(reversed(PLDDT_BANDS))  # the lowest first, so that what is higher is coloured over it
_PLAIN = re.compile(r'\w+', re.ASCII)  # names of chains that ChimeraX takes; it has no quotes for others
_BREAKS = {'\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t'}


def chimerax(report: Report, files: Sequence[str]) -> str:
  """A ChimeraX script, for a new session.

  Args:
    report: the predictions, best first.
    files: the structure of each.
  """
  lines = [f'# {line}' for line in _heading(report)]
  lines += [f'open "{_escaped(name)}"' for name in files]
  lines += ['hide atoms', 'show cartoons', 'set bgColor white']
  for low, high, colour, name in _BANDS:
    lines += [f'# {_told(low, high, name)}', f'color @@bfactor>={low} {colour} target abcs']
  for name, code in zip(*_chains(report)):
    if _PLAIN.fullmatch(code):
      lines += [f'# chain {_one_line(name)}', f'name chain_{code} /{code}']
  if len(files) > 1:
    others = '#2' if len(files) == 2 else f'#2-{len(files)}'
    lines += [f'matchmaker {others} to #1', f'hide {others} models']
  return '\n'.join([*lines, 'view']) + '\n'


def pymol(report: Report, files: Sequence[str]) -> str:
  """A PyMOL script; see `chimerax`."""
  ranks = [(f'rank_{rank}', name) for rank, name in enumerate(files, start=1)]
  lines = [f'# {line}' for line in _heading(report)]
  lines += [
    'python',
    'import os',
    'from pymol import cmd',
    "folder = os.path.dirname(getattr(cmd._pymol, '__script__', ''))  # of this script",
    *(f'cmd.load(os.path.join(folder, {ascii(name)}), {rank!r})' for rank, name in ranks),
    'python end',
    'hide everything',
    'show cartoon',
    'bg_color white',
  ]
  for low, high, colour, name in _BANDS:
    band, rgb = f'plddt_{name.replace(" ", "_")}', ', '.join(f'{one / 255:.4f}' for one in bytes.fromhex(colour[1:]))
    which = f'b > {low - 0.005:.3f}' if low else 'all'  # B-factors have two decimals
    lines += [f'# {_told(low, high, name)}', f'set_color {band}, [{rgb}]', f'color {band}, {which}']
  for name, code in zip(*_chains(report)):
    selected = re.sub('[^A-Za-z0-9_]', '_', code)
    lines += [f'# chain {_one_line(name)}', f'select chain_{selected}, chain "{code}"']
  lines += [f'align {rank}, rank_1' for rank, _ in ranks[1:]] + [f'disable {rank}' for rank, _ in ranks[1:]]
  return '\n'.join([*lines, 'deselect', 'orient rank_1']) + '\n'


def _heading(report: Report) -> list[str]:
  """The notes and what the script shows, line by line."""
  notes = report.best.notes
  title = f'{report.job}: {len(report.predictions)} ranked, coloured by pLDDT (in the B-factor column)'
  return [_one_line(line) for line in (*notes, title)]


def _told(low: int, high: int, name: str) -> str:
  return f'{name}, {low} to {high}'


def _chains(report: Report) -> tuple[Sequence[str], Sequence[str]]:
  """The names of the chains, as they were given and as they are in the files; none of a single one."""
  names = report.best.chains
  return (names, identifiers(names)) if len(names) > 1 else ((), ())


def _escaped(text: str) -> str:
  """A text inside double quotes of ChimeraX."""
  return ''.join(_BREAKS.get(letter, letter) for letter in text)


def _one_line(text: str) -> str:
  return ' '.join(text.split())
