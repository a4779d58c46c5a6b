# SPDX-License-Identifier: Apache-2.0
"""A million damaged inputs, at least 50,000 for each parser: no traceback, no hang over 5 s, no memory over 1 GiB.

The parsers and what makes their inputs are tests/fuzz_parsers.py. Each parser runs in a process of its own; one that
dies or hangs where Python cannot stop it is counted, and the next process goes on behind the input at fault. Every
fault has the number of its input, which makes it again: `--parser NAME --first NUMBER --inputs 1`. Exits with 1 if
there was any.
"""

import argparse
import dataclasses
import json
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import turns

PER_PARSER, IN_ALL = 50_000, 1_000_000
LONGEST, LARGEST = 5.0, 1 << 30  # seconds of one input, bytes of the process
_STRIDE = 100  # inputs between two words of a process
_STUCK = 2 * _STRIDE * LONGEST  # seconds without a word, after which a process is ended
_SHOWN = 20  # faults of a parser that are kept; a systematic one would fill the disk
_PAGE = resource.getpagesize()


@dataclasses.dataclass
class Tally:
  """What became of the inputs of one parser."""

  inputs: int = 0
  accepted: int = 0
  refused: int = 0
  slowest: float = 0.0  # seconds
  seconds: float = 0.0
  peak: int = 0  # bytes of the process
  faults: int = 0

  def add(self, other: dict[str, Any]) -> None:
    for name in ('inputs', 'accepted', 'refused', 'seconds', 'faults'):
      setattr(self, name, getattr(self, name) + other[name])
    self.slowest, self.peak = max(self.slowest, other['slowest']), max(self.peak, other['peak'])


# ------------------------------------------------------------------------------------------ in a process of its own


class _Hang(BaseException):
  """An input takes too long."""


def _stop(*_: object) -> None:
  raise _Hang


def run(name: str, seed: int, first: int, last: int) -> None:
  """Reads inputs first..last-1 of a parser; says on standard output, line by line, where it is and what it found."""
  import fuzz_parsers

  parser, tally = fuzz_parsers.BY_NAME[name], Tally()
  signal.signal(signal.SIGALRM, _stop)
  limit = int(Path('/proc/self/statm').read_text().split()[0]) * _PAGE + 4 * LARGEST
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # beyond: MemoryError, which is a fault
  with fuzz_parsers.quiet_folder() as folder:
    for number in range(first, last):
      data = fuzz_parsers.made(parser, seed, number)
      if number % _STRIDE == 0 or number == first:
        print(json.dumps({'at': number}), flush=True)
      fault = _one(fuzz_parsers, parser, data, folder, tally)
      if fault:
        tally.faults += 1
        print(json.dumps({'fault': number, 'what': fault, 'tally': dataclasses.asdict(tally)}), flush=True)
  print(json.dumps({'end': last, 'tally': dataclasses.asdict(tally)}), flush=True)


def _one(fuzz_parsers: Any, parser: Any, data: bytes, folder: Path, tally: Tally) -> str | None:
  """Reads one input; returns what is wrong with how that went."""
  fault, start = None, time.perf_counter()
  signal.setitimer(signal.ITIMER_REAL, LONGEST)
  try:
    accepted = fuzz_parsers.outcome(parser, data, folder)
    tally.accepted, tally.refused = tally.accepted + accepted, tally.refused + (not accepted)
  except fuzz_parsers.Fault as error:
    where = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    fault = f'{error} ({Path(where.filename).name}:{where.lineno})'
  except _Hang:
    fault = f'takes more than {LONGEST:.0f} s'
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
  seconds = time.perf_counter() - start
  tally.inputs, tally.seconds = tally.inputs + 1, tally.seconds + seconds
  tally.slowest = max(tally.slowest, seconds)
  tally.peak = max(tally.peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
  if fault is None and tally.peak > LARGEST:
    fault = f'takes {tally.peak >> 20} MiB'
  return fault


# ------------------------------------------------------------------------------------------ over all


@dataclasses.dataclass(frozen=True)
class Work:
  """What is asked for."""

  seed: int
  first: int
  inputs: int
  out: Path  # folder of failing inputs


def of_parser(name: str, work: Work) -> Tally:
  """Reads all inputs of a parser, with as many processes, one after another, as it takes."""
  tally, first, last = Tally(), work.first, work.first + work.inputs
  while first < last:
    first = _in_process(name, work, first, last, tally)
  return tally


def _in_process(name: str, work: Work, first: int, last: int, tally: Tally) -> int:
  """Reads inputs until the end or until the process dies; returns where to go on."""
  at, found = -1, None
  with subprocess.Popen(_command(name, work, first, last), stdout=subprocess.PIPE, text=True) as process:
    assert process.stdout is not None
    watchdog = threading.Timer(_STUCK, process.kill)
    watchdog.start()
    for line in process.stdout:
      watchdog.cancel()
      watchdog = threading.Timer(_STUCK, process.kill)
      watchdog.start()
      said = json.loads(line)
      at, found = said.get('at', at), said.get('tally', found)
      if 'fault' in said:
        _keep(name, work, said['fault'], said['what'], tally.faults + said['tally']['faults'])
      if 'end' in said:
        tally.add(said['tally'])
    watchdog.cancel()
  if process.returncode == 0:
    return last
  if at < 0:
    raise RuntimeError(f'{name}: the process that should read inputs ends with {process.returncode} before the first')
  return _died(name, work, at, min(at + _STRIDE, last), found, tally)


def _command(name: str, work: Work, first: int, last: int) -> list[str]:
  return [sys.executable, '-W', 'ignore', __file__, f'--run={name}', f'--seed={work.seed}', f'--first={first}',
          f'--inputs={last - first}']  # fmt: skip


def _died(name: str, work: Work, at: int, end: int, found: dict[str, Any] | None, tally: Tally) -> int:
  """Finds which input ends the process, by reading those since its last word one by one; returns the next."""
  tally.add(found or dataclasses.asdict(Tally()))
  tally.faults += 1
  for number in range(at, end):
    alone = _command(name, work, number, number + 1)
    if code := subprocess.run(alone, stdout=subprocess.DEVNULL, timeout=_STUCK, check=False).returncode:
      _keep(name, work, number, f'ends the process with {code}', tally.faults)
      return number + 1
  _keep(name, work, at, f'a process died; alone, none of the {end - at} inputs from this on does that', tally.faults)
  return end


def _keep(name: str, work: Work, number: int, what: str, count: int) -> None:
  """Shows a fault and keeps its input."""
  import fuzz_parsers

  if count <= _SHOWN:
    work.out.mkdir(parents=True, exist_ok=True)
    path = work.out / f'{name.replace(" ", "_").strip("-")}_{work.seed}_{number}'
    path.write_bytes(fuzz_parsers.made(fuzz_parsers.BY_NAME[name], work.seed, number))
    print(f'{name}, input {number}: {what}; kept as {path}', file=sys.stderr, flush=True)


def table(tallies: dict[str, Tally]) -> str:
  """The table for docs/reliability.md."""
  lines = [
    '| parser | inputs | accepted | refused | slowest, ms | peak, MiB | faults |',
    '|:--|--:|--:|--:|--:|--:|--:|',
  ]
  for name, one in tallies.items():
    numbers = f'{one.inputs:,} | {one.accepted:,} | {one.refused:,} | {1000 * one.slowest:.0f} | {one.peak >> 20}'
    lines.append(f'| {name} | {numbers} | {one.faults} |')
  return '\n'.join(lines)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--inputs', type=int, help=f'of each parser (default: {PER_PARSER:,}, and {IN_ALL:,} in all)')
  parser.add_argument('--parser', action='append', help='only this one; may be repeated')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--first', type=int, default=0, help='number of the first input, to split a run')
  parser.add_argument('--processes', type=int, default=2)
  parser.add_argument('--out', type=Path, default=Path('fuzz_failures'), help='folder for inputs that fail')
  parser.add_argument('--run', help=argparse.SUPPRESS)  # of this parser, in this process
  given = parser.parse_args()
  sys.path[:0] = [str(turns.ROOT / 'tests'), str(turns.ROOT)]
  if given.run:
    run(given.run, given.seed, given.first, given.first + given.inputs)
    return 0
  import fuzz_parsers

  names = given.parser or list(fuzz_parsers.BY_NAME)
  if unknown := set(names) - set(fuzz_parsers.BY_NAME):
    parser.error(f'no parser {", ".join(sorted(unknown))}; choose {", ".join(fuzz_parsers.BY_NAME)}')
  inputs = given.inputs or max(PER_PARSER, -(-IN_ALL // len(names)) if not given.parser else 0)
  work, start = Work(given.seed, given.first, inputs, given.out), time.monotonic()
  with ThreadPoolExecutor(given.processes) as pool:
    tallies = dict(zip(names, pool.map(lambda name: of_parser(name, work), names)))
  total = sum(one.inputs for one in tallies.values())
  minutes = (time.monotonic() - start) / 60
  print(table(tallies))
  print(f'\n{total:,} inputs in {minutes:.1f} min, seed {given.seed}. {turns.versions("numpy", "biopython")}')
  return 1 if any(one.faults for one in tallies.values()) else 0


if __name__ == '__main__':
  sys.exit(main())
