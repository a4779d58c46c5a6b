# SPDX-License-Identifier: Apache-2.0
"""What the compilers of TPUs and GPUs that are not here reserve for our programs: figures, and docs/elsewhere.md.

  python benchmarks/elsewhere.py --python tpu=A/bin/python --python cuda=B/bin/python
  python benchmarks/elsewhere.py --list --only 'v5e*'     # the cells of such names, and which are recorded
  python benchmarks/elsewhere.py --only '*train_mini*' --again
  python benchmarks/elsewhere.py --figures tests/data/elsewhere/figures_0.12.json --python tpu=...   # other versions
  python benchmarks/elsewhere.py --table                  # writes the tables of what is recorded; needs no compiler

Each cell is compiled by `alphafold-jax compile --json` in a process of its own and recorded at once; one that is
recorded is left alone, one that failed or took too long too, with its message. The compilers of TPUs and of GPUs may be
in two environments, each named by its interpreter. Figures of other versions of JAX have files of their own, beside the
first. Planned bytes in the tables are what the planner says today.
"""

import argparse
import dataclasses
import datetime
import fcntl
import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import turns

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / 'tests' / 'data' / 'elsewhere' / 'figures.json'
PAGE = ROOT / 'docs' / 'elsewhere.md'
SINGLE, COMPLEX = 'model_5_ptm', 'model_1_multimer_v3'
_PAIRS = ('run.model_devices=2',)  # share an example, where devices are more than the batch has
_LIMIT = 1800  # seconds
_FIRST = 256 * 2**20  # bytes of a slice at the head of the ladder of accelerators
_SAID = 400  # characters of a failure that are kept, its last


@dataclasses.dataclass(frozen=True)
class Cell:
  """What is compiled once: a pass of a prediction, or a step of training over all devices of the target."""

  target: str
  work: str  # a model, or an experiment
  num_res: int = 0  # of predictions
  devices: int = 1  # of predictions, that share the protein
  kernels: str = 'auto'
  slices: int = 0  # MiB; 0: what the plan chooses
  settings: tuple[str, ...] = ()  # further ones, KEY=VALUE

  @property
  def is_training(self) -> bool:
    """Whether it is a step of training."""
    return self.work.startswith('train_')

  @property
  def name(self) -> str:
    """What it is recorded and chosen by: 'h200 model_5_ptm 1024 x1 auto'."""
    words = [self.target, self.work, *([] if self.is_training else [str(self.num_res), f'x{self.devices}'])]
    words += [self.kernels, *([f'{self.slices}MiB'] if self.slices else []), *self.settings]
    return ' '.join(words)

  @property
  def command(self) -> list[str]:
    """The words after `alphafold-jax`."""
    words = ['compile', '--for', self.target, '--json']
    if self.is_training:
      words += ['--experiment', self.work]
    else:
      words += ['--model', self.work, '--num-res', str(self.num_res), '--devices', str(self.devices)]
    words += [] if self.kernels == 'auto' else ['--kernels', self.kernels]
    settings = [*self.settings, *([f'kernels.chunk_bytes={self.slices * 2**20}'] if self.slices else [])]
    return words + [word for setting in settings for word in ('--config', setting)]


def cells() -> list[Cell]:
  """All cells, the most telling first."""
  of_gpu, of_tpu = (256, 512, 1024, 2048, 4096, 8192, 10_240, 12_288), (256, 512, 1024, 2048, 4096)
  found = [Cell('h200', SINGLE, num_res) for num_res in reversed(of_gpu)]
  found += [Cell('v5e:2x2', SINGLE, num_res) for num_res in (1024, 4096, 256)]
  found += [Cell('h200', SINGLE, 2048, slices=slices) for slices in (64, 16, 4)]
  found += [Cell('h200:8', SINGLE, 4096, devices) for devices in (2, 4, 8)]
  found += [Cell('h200', SINGLE, num_res, kernels=name) for num_res in (1024, 2048) for name in ('cudnn', 'pallas')]
  found += [Cell('h200', COMPLEX, num_res) for num_res in (1024, 2048, 8192)]
  found += [Cell('h200', 'train_mini'), Cell('h100:8', 'train_initial')]
  found += [Cell('v5e:16x16', 'train_initial', settings=_PAIRS)]
  found += [Cell('a100-40', SINGLE, 6144), Cell('l4', SINGLE, 4608)]  # the longest that are planned to fit
  found += [Cell(name, SINGLE, num_res) for num_res in (1024, 2048, 4096) for name in ('a100-40', 'l4')]
  found += [Cell(name, SINGLE, 4096, devices) for name, devices in (('v5e:2x2', 4), ('v5e:4x4', 16))]
  found += [Cell(f'{name}:2x2', SINGLE, num_res) for name in ('v6e', 'v5e') for num_res in of_tpu]
  found += [Cell('v5p:2x2x1', SINGLE, num_res) for num_res in (*of_tpu, 8192)]
  found += [Cell('v5e:2x2', SINGLE, 1024, kernels='pallas'), Cell('v5e:2x2', COMPLEX, 1024)]
  found += [Cell(name, SINGLE, num_res) for name in ('h100', 'a100-40', 'l4') for num_res in of_gpu[:-2]]
  found += [Cell(name, SINGLE, 4096, devices) for name, devices in (('v5e:2x2', 2), ('v5e:2x4', 8))]
  found += [Cell('h100:8', 'train_finetune'), Cell('v5e:16x16', 'train_finetune', settings=_PAIRS)]
  found += [Cell('h200', 'train_multimer')]
  found += [Cell(name, work) for name in ('v5p:4x4x8', 'v4:4x4x8') for work in ('train_initial', 'train_finetune')]
  return list(dict.fromkeys(found))


# ------------------------------------------------------------------------------------------ the figures


def files() -> list[Path]:
  """All files of figures, the first one first."""
  return sorted(FIGURES.parent.glob(f'{FIGURES.stem}*{FIGURES.suffix}'), key=lambda path: (path != FIGURES, path))


def read(path: Path | None = None) -> dict[str, dict[str, Any]]:
  """The figures that are recorded, by the names of their cells."""
  path = path or FIGURES
  return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


def record(name: str, figure: Mapping[str, Any], path: Path | None = None) -> None:
  """Adds a figure, or puts it in the place of an older one; what other processes recorded meanwhile stays."""
  path = path or FIGURES
  folder = os.open(path.parent, os.O_RDONLY)
  try:
    fcntl.flock(folder, fcntl.LOCK_EX)  # until it is closed: no other process reads what this one is about to replace
    text = json.dumps(read(path) | {name: figure}, indent=1, sort_keys=True, ensure_ascii=False)
    beside = path.with_suffix(f'.{os.getpid()}')
    beside.write_text(text + '\n', encoding='utf-8')
    beside.replace(path)
  finally:
    os.close(folder)


def figure_of(cell: Cell, python: str, limit: float) -> dict[str, Any]:
  """Compiles a cell; what came of it, or why nothing did."""
  asked = {key: value for key, value in dataclasses.asdict(cell).items() if value}
  figure: dict[str, Any] = {'cell': asked, 'date': datetime.date.today().isoformat()}
  if flags := os.environ.get('XLA_FLAGS'):  # of the compiler, beside our own
    figure['flags'] = flags
  command = [python, '-m', 'alphafold_jax', *cell.command]
  places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
  try:
    done = subprocess.run(
      command, capture_output=True, encoding='utf-8', timeout=limit, env=os.environ | {'PYTHONPATH': places}
    )
  except subprocess.TimeoutExpired:
    return figure | {'failure': f'not compiled in {limit:g} s'}
  try:
    return figure | {'said': json.loads(done.stdout.splitlines()[-1])}
  except (IndexError, ValueError):
    said = ' '.join(done.stderr.split())[-_SAID:]
    return figure | {'failure': said or f'its process ended with exit code {done.returncode}'}


def compile_all(
  chosen: list[Cell], pythons: Mapping[str, str], limit: float, again: bool, path: Path | None = None
) -> None:
  """Compiles and records what is not recorded."""
  from alphafold_jax.elsewhere import targets

  for cell in chosen:
    if cell.name in read(path) and not again:
      print(f'{cell.name}: recorded')
      continue
    python = pythons.get(targets.parse(cell.target).platform, sys.executable)
    figure = figure_of(cell, python, limit)
    record(cell.name, figure, path)
    print(f'{cell.name}: {figure.get("failure") or _in_short(figure["said"])}', flush=True)


def _in_short(said: Mapping[str, Any]) -> str:
  planned = f', planned {_gib(said["planned_bytes"])}' if said['planned_bytes'] else ''
  return f'{_gib(said["reserved_bytes"])} GiB{planned}, in {said["compile_seconds"]} s'


# ------------------------------------------------------------------------------------------ the tables


def _gib(size: float) -> str:
  return f'{size / 2**30:.2f}'


def planned(figure: Mapping[str, Any]) -> int:
  """Bytes of a device that the planner of today says for a recorded pass, with the slices that it was compiled with."""
  from alphafold_jax import config
  from alphafold_jax.elsewhere import lowering, targets

  cell = Cell(**figure['cell'] | {'settings': tuple(figure['cell'].get('settings', ()))})
  changes = {'dtype': 'bfloat16', 'kernels.implementation': cell.kernels}
  chosen = config.changed(config.model_config(cell.work), changes)
  plan = lowering.plan_of(targets.parse(cell.target), chosen, cell.num_res, cell.devices)
  kernels = dataclasses.replace(plan.work.spec.kernels, chunk_bytes=figure['said']['chunk_bytes'])
  return plan.work.needed(plan.num_res, kernels)


def passes_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
  """Passes that were compiled, by target and length."""
  columns = ['target', 'model', 'residues', 'devices', 'kernels', 'reserved, GiB', 'planned, GiB', 'expected, s']
  rows = []
  for figure in sorted(figures.values(), key=lambda one: (one['cell']['target'], one['cell']['num_res'])):
    cell, said, size = figure['cell'], figure['said'], planned(figure)
    slices = f', {said["chunk_bytes"] // 2**20} MiB' if said['chunk_bytes'] != _FIRST else ''
    rows.append([
      cell['target'], cell['work'], f'{cell["num_res"]:,}', cell['devices'], cell['kernels'] + slices,
      _reserved(figure), f'{_gib(size)} ({size / said["reserved_bytes"] - 1:+.1%})', _expected(said),
    ])  # fmt: skip
  return _table(columns, rows)


def steps_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
  """Steps of training that were compiled, by target."""
  columns = ['target', 'step', 'reserved, GiB', 'received, GiB', 'expected, s']
  rows = []
  for figure in sorted(figures.values(), key=lambda one: one['cell']['target']):
    said = figure['said']
    received = sum(one['bytes'] for one in (said['collectives'] or {}).values())
    least = 'at least ' * said['collectives_are_at_least']
    rows.append([
      figure['cell']['target'], said['what'].removeprefix('a step of '), _reserved(figure),
      f'{least}{_gib(received)}' if received else '–', _expected(said),
    ])  # fmt: skip
  return _table(columns, rows)


def write_tables(page: Path = PAGE) -> None:
  """Writes what is recorded into the page, one file's tables behind another's."""
  turns.write_section('elsewhere', '\n\n'.join(_tables(read(path)) for path in files()), page)


def _tables(recorded: Mapping[str, Mapping[str, Any]]) -> str:
  asked = cells()
  known = {cell.name: recorded[cell.name] for cell in asked if cell.name in recorded}
  done = {name: figure for name, figure in known.items() if 'said' in figure}
  passes = {name: figure for name, figure in done.items() if figure['said']['kind'] == 'pass'}
  steps = {name: figure for name, figure in done.items() if name not in passes}
  failed = [f'- `{name}`: {figure["failure"]}' for name, figure in known.items() if name not in done]
  text = [_conditions(done)] if done else []
  text += ['', passes_table(passes)] if passes else []
  text += ['', steps_table(steps)] if steps else []
  text += ['', 'Not compiled:', '', *failed] if failed else []
  return '\n'.join([*text, '', f'Not tried yet: {len(asked) - len(known)} of {len(asked)} cells (`--list`).'])


def _reserved(figure: Mapping[str, Any]) -> str:
  """'2.33 of 16.00', in GiB."""
  said = figure['said']
  sizes = f'{_gib(said["reserved_bytes"])} of {_gib(said["available_bytes"])}'
  return f'{"" if said["fits"] else "**no**: "}{sizes}{" ¹" if figure.get("flags") else ""}'


def _expected(said: Mapping[str, Any]) -> str:
  """The range of a run, not measured; figures that are older than it have none."""
  if not said.get('expected_seconds'):
    return '–'
  is_least = said['assumptions']['loops_of_unknown_length_run_once']
  return ' to '.join(f'{float(f"{seconds:.2g}"):,g}' for seconds in said['expected_seconds']) + ' ²' * is_least


def _table(columns: list[str], rows: list[list[Any]]) -> str:
  first, *others = (f'| {" | ".join(map(str, line))} |' for line in (columns, *rows))
  return '\n'.join([first, f'|:--|:--|{"--:|" * (len(columns) - 2)}', *others])


def _conditions(figures: Mapping[str, Mapping[str, Any]]) -> str:
  """Versions and dates of all figures, those of a kind that differ all named; and what the signs in the tables mean."""
  versions: dict[str, set[str]] = {}
  for figure in figures.values():
    for name, version in figure['said']['versions'].items():
      versions.setdefault(name, set()).add(version)
  named = ', '.join(f'{name} {" and ".join(sorted(found))}' for name, found in sorted(versions.items()))
  dates = sorted({figure['date'] for figure in figures.values()})
  flags = ' or '.join(sorted({f'`{figure["flags"]}`' for figure in figures.values() if 'flags' in figure}))
  return (
    f'Compiled, not measured, by {named}, on {" to ".join(dict.fromkeys((dates[0], dates[-1])))}; written by '
    '`python benchmarks/elsewhere.py --table`. Sizes are those of each device: *reserved* of what JAX may have there, '
    '**no** where it does not fit; *planned* by the planner of this version, and by how much that is too much. Slices '
    'are of 256 MiB where *kernels* names no other. *Expected* follows from published rates and is not measured (–: '
    'recorded before ranges were).'
    + (f' ¹: with {flags}.' if flags else '')
    + ' ²: loops of unknown length, such as the passes of a training step, are counted once.'
  )


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--only', action='append', metavar='PATTERN', help="cells of such names, as 'v5e*train*'")
  parser.add_argument('--list', action='store_true', help='show the cells, and compile nothing')
  parser.add_argument('--again', action='store_true', help='also what is recorded')
  parser.add_argument('--figures', type=Path, default=FIGURES, metavar='FILE', help='default: %(default)s')
  parser.add_argument('--table', action='store_true', help='write the tables, and compile nothing')
  parser.add_argument('--limit', type=float, default=_LIMIT, metavar='S', help='seconds of a cell (%(default)s)')
  parser.add_argument(
    '--python',
    action='append',
    default=[],
    metavar='PLATFORM=FILE',
    help='interpreter with the compiler of tpu or cuda',
  )
  given = parser.parse_args(arguments)
  chosen = [cell for cell in cells() if not given.only or any(fnmatch.fnmatch(cell.name, one) for one in given.only)]
  if not chosen:
    parser.error(f'--only {" ".join(given.only)}: no cell has such a name; --list shows all')
  if given.list:
    known = read(given.figures)
    for cell in chosen:
      print(cell.name + (': recorded' if cell.name in known else ''))
    return
  if given.table:
    write_tables()
  else:
    compile_all(chosen, dict(one.split('=', 1) for one in given.python), given.limit, given.again, given.figures)


if __name__ == '__main__':
  main()
