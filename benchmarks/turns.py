# SPDX-License-Identifier: Apache-2.0
"""Measures programs beside each other: each in a process of its own, one after another, in turns, since machines drift.

A benchmark has a frozen dataclass of sizes (its case) and a table of sides, from a name to what makes a Program of a
case. It starts itself again with `--side NAME` for each measurement.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / 'docs' / 'benchmarks.md'
CPUINFO = Path('/proc/cpuinfo')
_MATRIX_UNITS = ('amx_tile', 'amx_bf16', 'avx512_bf16')  # as /proc/cpuinfo names them


@dataclasses.dataclass(frozen=True)
class Case:
  """Sizes of what is computed."""

  num_res: int
  num_msa: int
  num_extra: int
  num_block: int


class Program(NamedTuple):
  """The measured program: a function under jit, not yet traced, and the arguments of its calls."""

  function: Any
  arguments: Callable[[Any], tuple]  # of the result before, or None; arrays that the function gives away are new ones
  score: Callable[[Any], float]  # a number of the result, to see that all sides computed the same

  def compile(self, *arguments: Any) -> Any:
    """The compiled function."""
    if hasattr(self.function, 'compile'):
      return self.function.compile(*arguments)
    return self.function.lower(*arguments).compile()


def measure(program: Program, passes: int) -> dict[str, float]:
  """Compiles, runs once and then `passes` times; returns seconds, and bytes beyond those of the arguments."""
  import jax

  inputs = jax.block_until_ready(program.arguments(None))
  before = _start_memory()
  start = time.perf_counter()
  compiled = program.compile(*inputs)
  compile_seconds = time.perf_counter() - start
  compile_peak = _peak_memory() - before
  seconds, cpu_seconds, result = [], [], None
  for index in range(passes + 1):
    if index:
      inputs, result = jax.block_until_ready(program.arguments(result)), None
    start, cpu_start = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(compiled(*inputs))
    seconds.append(time.perf_counter() - start)
    cpu_seconds.append(time.process_time() - cpu_start)
  analysis = compiled.memory_analysis()
  return {
    'compile_seconds': compile_seconds,
    'seconds': statistics.median(seconds[1:] or seconds),
    'first_seconds': seconds[0],
    'cpu_seconds': statistics.median(cpu_seconds[1:] or cpu_seconds),
    'memory_bytes': _peak_memory() - before,
    'compile_memory_bytes': compile_peak,
    'planned_bytes': analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
    'score': program.score(result),
  }


def _start_memory() -> int:
  """Bytes in use; on CPUs also resets the peak, which was that of making the arguments."""
  import jax

  stats = jax.devices()[0].memory_stats()
  if stats:
    return stats['bytes_in_use']
  Path('/proc/self/clear_refs').write_text('5')
  return _host_memory('VmRSS')


def _peak_memory() -> int:
  """Peak bytes of the accelerator, or of the process."""
  import jax

  stats = jax.devices()[0].memory_stats()
  return stats['peak_bytes_in_use'] if stats else _host_memory('VmHWM')


def _host_memory(field: str) -> int:
  return int(re.search(rf'{field}:\s+(\d+) kB', Path('/proc/self/status').read_text())[1]) * 1024


def compare(script: str, sides: Iterable[str], case: Any, repeats: int, passes: int) -> dict[str, dict[str, float]]:
  """Runs all sides in turns; medians over the turns."""
  turns = {side: [] for side in sides}
  for turn in range(repeats):
    for side in sorted(turns, reverse=turn % 2):
      turns[side].append(_run_side(script, side, case, passes))
      print(f'{side}: {json.dumps(turns[side][-1])}', file=sys.stderr, flush=True)
  return {
    side: {key: statistics.median(turn[key] for turn in results) for key in results[0]}
    for side, results in turns.items()
  }


def side_command(script: str, side: str, case: Any, passes: int) -> list[str]:
  """The command that measures one side in a process of its own and prints one JSON object."""
  command = [sys.executable, script, '--side', side, '--passes', str(passes)]
  for field in dataclasses.fields(case):
    flag, value = field.name.replace('_', '-'), getattr(case, field.name)
    command += [f'--{"" if value else "no-"}{flag}'] if isinstance(value, bool) else [f'--{flag}', str(value)]
  return command


def side_environment() -> dict[str, str]:
  """The environment of such a command: our package is found, and nothing is read back that was compiled before."""
  return os.environ | {
    'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
    'JAX_ENABLE_COMPILATION_CACHE': 'false',
  }


def _run_side(script: str, side: str, case: Any, passes: int) -> dict[str, float]:
  command = side_command(script, side, case, passes)
  done = subprocess.run(command, env=side_environment(), capture_output=True, text=True)
  if done.returncode:
    raise SystemExit(f'{side} at {case} failed:\n{done.stderr[-3000:]}')
  return json.loads(done.stdout.splitlines()[-1])


def ratios(ours: Mapping[str, float], peer: Mapping[str, float]) -> dict[str, float]:
  """Ratios of ours to the peer's: compilation, time, memory."""
  keys = {'compile_ratio': 'compile_seconds', 'time_ratio': 'seconds', 'memory_ratio': 'memory_bytes'}
  return {name: round(ours[key] / peer[key], 3) for name, key in keys.items()}


def add_flags(
  parser: argparse.ArgumentParser, sides: Iterable[str], sizes: tuple[int, ...], repeats: int, passes: int
) -> None:
  """The flags that all such benchmarks have."""
  parser.add_argument(
    '--num-res', type=int, nargs='+', default=sizes, help=f'residues (default: {" ".join(map(str, sizes))})'
  )
  parser.add_argument('--num-msa', type=int, default=128, help='clustered alignment rows (default: %(default)s)')
  parser.add_argument('--num-extra', type=int, default=1024, help='extra alignment rows (default: %(default)s)')
  parser.add_argument('--num-block', type=int, default=48, help='Evoformer blocks (fewer for a quick look)')
  parser.add_argument('--repeats', type=int, default=repeats, help='processes of each side (default: %(default)s)')
  parser.add_argument(
    '--passes', type=int, default=passes, help='timed runs in each process, after one to warm up (default: %(default)s)'
  )
  parser.add_argument('--json', action='store_true', help='print one JSON object per size, and write no table')
  parser.add_argument('--side', choices=list(sides), help='measure one side in this process')


def main(
  script: str,
  args: argparse.Namespace,
  sides: Mapping[str, Callable[[Any], Program]],
  cases: Sequence[Any],
  compare: Callable[[Any, int, int], dict],
  table: Callable[[list[dict], str], str],
  section: str | Callable[[list[dict]], str] | None,
) -> None:
  """Runs such a benchmark as its flags say.

  Args:
    script: the benchmark's file
    args: its parsed flags
    sides: its table
    cases: one for each size
    compare: measures a case: (case, repeats, passes)
    table: the results in Markdown: (results, command)
    section: of docs/benchmarks.md that takes the table, or its name by the results; None: it is only printed
  """
  if args.side:
    print(json.dumps(measure(sides[args.side](cases[0]), args.passes)))
    return
  results = []
  for case in cases:
    results.append(compare(case, args.repeats, args.passes))
    if args.json:
      print(json.dumps(results[-1]), flush=True)
  if not args.json:
    text = table(results, ' '.join(['python', f'benchmarks/{Path(script).name}', *sys.argv[1:]]))
    print(text)
    if section:
      write_section(section(results) if callable(section) else section, text)


def conditions(repeats: int, passes: int, command: str) -> str:
  """The line above a table: machine, versions, date and command."""
  return (
    f'{machine()}; {versions("alphafold-colabfold")}; medians of {repeats} processes with '
    f'{passes} timed runs each. Command: `{command}`'
  )


def machine() -> str:
  """The processors, and which of the units for bfloat16 they have."""
  text = CPUINFO.read_text() if CPUINFO.exists() else ''
  found = re.search(r'model name\s*: (.*)', text)
  flags = [flag for flag in _MATRIX_UNITS if re.search(rf'\b{flag}\b', text)]
  return (
    f'{os.cpu_count()} cores of {found[1] if found else platform.processor()} '
    f'({", ".join(flags) or "no unit for bfloat16"})'
  )


def versions(*packages: str) -> str:
  """The versions of Python, JAX, Haiku and other packages, and the date."""
  found = ', '.join(f'{package} {importlib.metadata.version(package)}' for package in ('jax', 'dm-haiku', *packages))
  return f'Python {platform.python_version()}, {found}; {datetime.date.today().isoformat()}'


def write_section(name: str, text: str, page: Path = TABLES) -> None:
  """Replaces what stands between the two markers of that name in docs/benchmarks.md, or another page."""
  begin, end = f'<!-- {name}: begin, written by a command -->', f'<!-- {name}: end -->'
  old = page.read_text() if page.exists() else ''
  if begin not in old:
    old += f'\n{begin}\n{end}\n'
  head, rest = old.split(begin, 1)
  page.write_text(f'{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}')
