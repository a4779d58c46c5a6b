# SPDX-License-Identifier: Apache-2.0
"""The results of a day in Markdown, fit for docs/benchmarks.md: no figure is typed by hand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kernels_table

Lines = Sequence[Mapping[str, Any]]


def table(lines: Lines) -> str:
  """The conditions, and a section for every part that has results or a reason for none."""
  first = next((line for line in lines if 'conditions' in line), None)
  text = _conditions(first) if first else ['No results.']
  for part in dict.fromkeys(line['part'] for line in lines if 'part' in line):
    of_part = [line for line in lines if line.get('part') == part]
    results = [line for line in of_part if 'status' not in line]
    text += ['', f'**{part}**', '']
    if results:
      text += _TABLES.get(part, _plain)(results)
    text += _not_measured(of_part)
  return '\n'.join(text)


def _conditions(line: Mapping[str, Any]) -> list[str]:
  c = line['conditions']
  packages = ', '.join(f'{name} {version}' for name, version in c['packages'].items() if version)
  rehearsal = ['A rehearsal on a CPU at toy sizes: these figures say nothing.', ''] if c['rehearsal'] else []
  return [
    *rehearsal,
    f'{c["gpu"]} (name, driver, memory); {c["processors"]}; Python {c["python"]}, {packages}'
    + (f'; {", ".join(c["cuda"])}' if c['cuda'] else '')
    + f'; commit {c["commit"]}; {c["date"]}. Command: `benchmarks/gpu_day.sh --minutes {line["minutes"]:g}`',
  ]


def _not_measured(lines: Lines) -> list[str]:
  """What became of the steps that are not done."""
  last = {line['step']: line for line in lines if 'status' in line}
  missing = [line for line in last.values() if line['status'] != 'done']
  said = [f'- not measured: {one["step"]}: {one["status"]} ({_cell(one.get("error", ""))})' for one in missing]
  return ['', *said] if said else []


def _cell(value: Any) -> str:
  """A value as the text of a cell: one line, without bars."""
  return ' '.join(str(value).split()).replace('|', '/')[-200:]


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
  head = [f'| {" | ".join(columns)} |', f'|:--|{"--:|" * (len(columns) - 1)}']
  return [*head, *(f'| {" | ".join(map(_cell, row))} |' for row in rows)]


def _plain(results: Lines) -> list[str]:
  """What has no table of its own."""
  hidden = ('part', 'step', 'check')
  shown = [{key: value for key, value in line.items() if key not in hidden} for line in results]
  names = [line.get('check', line['step']) for line in results]
  return [f'- {name}: ' + ', '.join(f'{key} {_number(v)}' for key, v in one.items()) for name, one in zip(names, shown)]


def _number(value: Any) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _kernels(results: Lines) -> list[str]:
  trials = [line for line in results if 'operation' in line]
  chosen = [f'Chosen for predictions: `{line["chosen"]}`.' for line in results if 'chosen' in line]
  if not trials:
    return chosen
  first = trials[0]
  return [
    f'{first["num_res"]} residues, {first["num_rows"]} rows, {first["dtype"]}; '
    f'{first["matmul_rate"] / 1e12:.2f} TFLOP/s in a large matrix product.',
    '',
    *kernels_table.rows_of_table(_last(trials, 'operation', 'row')),
    '',
    *chosen,
  ]


def _last(results: Lines, *keys: str) -> list[Mapping[str, Any]]:
  """The last result of each kind: a day that went on may have measured some twice."""
  return list({tuple(line[key] for key in keys): line for line in results}.values())


def _sides(results: Lines) -> list[str]:
  """Ours beside the peer, with the ratios to its fastest at each size."""
  results = _last(results, 'num_res', 'side')
  fastest = {line['num_res']: min(_peers(results, line['num_res']), default=None) for line in results}
  rows = []
  for line in sorted(results, key=lambda line: line['num_res']):
    best, ratios = fastest[line['num_res']], ['', '']
    if best and line['side'] == 'ours':
      ratios = [f'**{line["seconds"] / best[0]:.2f}**', f'**{line["memory_bytes"] / best[1]:.2f}**']
    figures = [f'{line["compile_seconds"]:.1f}', f'{line["seconds"]:.3g}', f'{line["memory_bytes"] / 2**20:.0f}']
    rows.append([line['num_res'], line['side'], *figures, f'{line["score"]:.3f}', *ratios])
  columns = ['residues', 'side', 'compile, s', 's', 'peak memory, MiB', 'pLDDT or loss', 'time, ours/peer', 'memory']
  return _rows(columns, rows)


def _peers(results: Lines, num_res: int) -> list[tuple[float, float]]:
  return [
    (line['seconds'], line['memory_bytes'])
    for line in results
    if line['num_res'] == num_res and line['side'].startswith('peer')
  ]


def _longest(results: Lines) -> list[str]:
  planned = [f'The planner would take {line["planned"]} residues.' for line in results if 'planned' in line]
  results = [line for line in results if 'num_res' in line]
  if not results:
    return planned
  rows = [
    [line['num_res'], *([line['ended'], '', ''] if 'ended' in line else _pass(line))]
    for line in _last(results, 'num_res')
  ]
  blocks = f'With {results[0]["num_block"]} blocks, which need the memory of all: they run one after another.'
  return [' '.join([blocks, *planned]), '', *_rows(['residues', 'one pass, s', 'compile, s', 'peak memory, MiB'], rows)]


def _pass(line: Mapping[str, Any]) -> list[str]:
  return [f'{line["seconds"]:.3g}', f'{line["compile_seconds"]:.1f}', f'{line["memory_bytes"] / 2**20:.0f}']


def _small_proteins(results: Lines) -> list[str]:
  said = [f'- {line["side"]}: {line["missing"]}' for line in results if 'missing' in line]
  figures = [line for line in results if 'missing' not in line]
  rows = [
    [line['side'], line['run'], line['proteins'], f'{line["seconds"]:.1f}', f'{line["per_hour"]:.0f}']
    for line in _last(figures, 'side', 'run')
  ]
  return _rows(['side', 'run', 'proteins', 's', 'proteins an hour'], rows) + ([''] + said if said else [])


def _train_mini(results: Lines) -> list[str]:
  last = results[-1]
  columns = ('progress', 'samples', 'samples_per_hour', 'loss', 'checkpoint')
  return _rows([name.replace('_', ' ') for name in columns], [[last.get(name, '') for name in columns]])


_TABLES: Mapping[str, Callable[[Lines], list[str]]] = {
  'kernels': _kernels,
  'beside the peer': _sides,
  'longest chain': _longest,
  'training step': _sides,
  'small proteins': _small_proteins,
  'train_mini': _train_mini,
}
