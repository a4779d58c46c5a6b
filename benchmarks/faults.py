# SPDX-License-Identifier: Apache-2.0
"""Disturbs the program and runs the same command again: are the files those of a run that nobody disturbed?

Killed at random moments (SIGKILL to all its processes), a full disk (a small file system in memory), a read-only
folder, a clock that jumps, a cache that vanishes, two hosts in one folder (namespaces of their own for the host's name,
its start and its processes). A situation is a row of SITUATIONS. Prints the table of docs/reliability.md; exits with 1
if a file differs. Mounts and namespaces need Linux, and root or user namespaces; without, those rows say `not tried`.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import fault_commands
import turns
from fault_commands import Ended, Running, Stage, digests, environment, make_stage

_INSIDE = 'FAULTS_IN_NAMESPACE'
_SHIM = """
import datetime, os, time
step, after = map(float, os.environ['FAULT_CLOCK'].split('@'))
real, start = time.time, time.monotonic()
def shown():
  return real() + (step if time.monotonic() - start > after else 0.0)
class Stepped(datetime.datetime):
  @classmethod
  def now(cls, tz=None):
    return cls.fromtimestamp(shown(), tz)
time.time, datetime.datetime = shown, Stepped
"""
_HOST = 'hostname "$1"; mount --bind "$2" /proc/sys/kernel/random/boot_id; shift 2; exec "$@"'


class Outcome(NamedTuple):
  """What came of a try."""

  seen: str  # by a person
  out: Path


# ------------------------------------------------------------------------------------------ what is done to a run


@contextlib.contextmanager
def _small_disk(work: Path, num_bytes: int) -> Iterator[Path]:
  """A file system of some bytes; see `_remount`."""
  place = work / 'disk'
  place.mkdir()
  subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={max(num_bytes, 4096)}', 'tmpfs', place], check=True)
  try:
    yield place
  finally:
    subprocess.run(['umount', '--lazy', place], check=True)


def _remount(place: Path, options: str) -> None:
  subprocess.run(['mount', '-o', f'remount,{options}', place], check=True)


def kill(stage: Stage, work: Path, rng: Random) -> Outcome:
  out = work / 'out'
  stage.start(out, stage.cache).end(rng.uniform(0, stage.seconds))
  return Outcome(f'then: {_again(stage, out).word()}', out)


def full_disk(stage: Stage, work: Path, rng: Random) -> Outcome:
  with _small_disk(work, int(stage.num_bytes * rng.uniform(0.02, 0.9))) as disk:
    out = disk / 'out'
    ended = stage.start(out, stage.cache).end()
    _remount(disk, 'size=4g')
    _again(stage, out)
    return _moved(ended, out, work)


def read_only_folder(stage: Stage, work: Path, rng: Random) -> Outcome:
  with _small_disk(work, 1 << 32) as disk:
    (disk / 'out').mkdir()
    _remount(disk, 'ro')
    ended = stage.start(disk / 'out', stage.cache).end()
    _remount(disk, 'rw')
    _again(stage, disk / 'out')
    return _moved(ended, disk / 'out', work)


def _moved(ended: Ended, out: Path, work: Path) -> Outcome:
  """The outcome, with the files where they can be looked at once the disk is gone."""
  shutil.copytree(out, work / 'out', symlinks=True)
  for path in (path for path in (work / 'out').rglob('*') if path.suffix in ('.json', '.txt') and path.is_file()):
    path.write_bytes(path.read_bytes().replace(str(out.parent).encode(), str(work).encode()))
  return Outcome(f'exit {ended.code}: {ended.word()}', work / 'out')


def read_only_cache(stage: Stage, work: Path, rng: Random) -> Outcome:
  with _small_disk(work, 1 << 32) as disk:
    shutil.copytree(stage.cache, disk / 'cache')
    _remount(disk, 'ro')
    ended = stage.start(work / 'out', disk / 'cache').end()
  _again(stage, work / 'out')
  return Outcome(f'exit {ended.code}: {ended.word()}', work / 'out')


def lost_cache(stage: Stage, work: Path, rng: Random) -> Outcome:
  cache = work / 'cache'
  shutil.copytree(stage.cache, cache)
  loss = threading.Timer(rng.uniform(0, stage.seconds), shutil.rmtree, (cache, True))
  loss.start()
  ended = stage.start(work / 'out', cache).end()
  loss.join()
  _again(stage, work / 'out')
  return Outcome(f'exit {ended.code}: {ended.word()}', work / 'out')


def clock_step(stage: Stage, work: Path, rng: Random) -> Outcome:
  """The clock jumps by a day or ten years, on or back; every second time the inputs are of the future."""
  (work / 'shim').mkdir()
  (work / 'shim' / 'sitecustomize.py').write_text(_SHIM)
  step, after = rng.choice((86_400, -86_400, 315_360_000, -315_360_000)), rng.uniform(0, stage.seconds)
  path = os.pathsep.join([str(work / 'shim'), environment(stage.cache)['PYTHONPATH']])
  if rng.random() < 0.5:
    later = time.time() + 315_360_000
    for file in (file for folder in (stage.inputs, stage.cache) for file in folder.rglob('*') if file.is_file()):
      os.utime(file, (later, later))
  ended = stage.start(work / 'out', stage.cache, PYTHONPATH=path, FAULT_CLOCK=f'{step}@{after}').end()
  _again(stage, work / 'out')
  return Outcome(f'exit {ended.code}: {ended.word()}', work / 'out')


def two_hosts(stage: Stage, work: Path, rng: Random) -> Outcome:
  """Both run the command in one folder, one of them begins later."""
  first, second = (_on_host(stage, work, name) for name in 'AB')
  one = first()
  time.sleep(rng.uniform(0, stage.seconds / 2))
  other = second()
  ended = one.end(), other.end()
  _again(stage, work / 'out')
  return Outcome(f'exit {ended[0].code} and {ended[1].code}: {ended[1].word()}', work / 'out')


def host_dies(stage: Stage, work: Path, rng: Random) -> Outcome:
  """A host is killed; the other waits until its claim counts as abandoned, which takes two minutes."""
  _on_host(stage, work, 'A')().end(rng.uniform(0.5, 1) * stage.seconds)
  ended = _on_host(stage, work, 'B')().end()
  _again(stage, work / 'out')
  return Outcome(f'exit {ended.code}: {ended.word()}', work / 'out')


def _on_host(stage: Stage, work: Path, name: str) -> Callable[[], Running]:
  """Starts the command where the host has another name, another start and other process numbers."""
  (work / f'boot_{name}').write_text(f'00000000-0000-0000-0000-{ord(name):012d}\n')
  namespaces = ('unshare', '-m', '-u', '-p', '-f', '--mount-proc', '--kill-child')
  prefix = [*namespaces, 'sh', '-c', _HOST, 'sh', f'host-{name}', str(work / f'boot_{name}')]
  return lambda: stage.start(work / 'out', stage.cache, prefix=prefix)


def _again(stage: Stage, out: Path) -> Ended:
  """The same command once more, undisturbed."""
  ended = stage.start(out, stage.cache).end()
  if ended.code:
    print(f'{stage.command.name}: the second run ends with {ended.code}: {ended.said[-2000:]}', file=sys.stderr)
  return ended


class Situation(NamedTuple):
  """A row of the table."""

  words: str
  disturb: Callable[[Stage, Path, Random], Outcome]
  commands: tuple[str, ...]
  share: float = 0.15  # of the tries that --kills asks for
  mounts: bool = True


_KEEPING = ('predict', 'train', 'msa', 'download')
SITUATIONS = {
  'kill': Situation('killed at a random moment', kill, ('predict', 'ray', 'train', 'msa', 'download'), 1.0, False),
  'kill-workers': Situation('killed at a random moment', kill, ('workers',), 0.25, False),
  'full-disk': Situation('the disk is full', full_disk, _KEEPING),
  'read-only': Situation('OUT is read-only', read_only_folder, _KEEPING, 0.05),
  'read-only-cache': Situation('the cache is read-only', read_only_cache, ('predict', 'msa'), 0.05),
  'lost-cache': Situation('the cache is removed meanwhile', lost_cache, ('predict', 'msa'), 0.15, False),
  'clock': Situation('the clock jumps by a day or ten years', clock_step, ('predict', 'train', 'msa'), 0.15, False),
  'two-hosts': Situation('two hosts run it in one folder', two_hosts, ('predict',)),
  'host-dies': Situation('one of two hosts is killed', host_dies, ('predict',), 0.05),
}


# ------------------------------------------------------------------------------------------ all of it


def try_out(situation: Situation, stage: Stage, work: Path, rng: Random) -> tuple[list[str], str]:
  """One try: the names of files that differ, and what a person saw."""
  work.mkdir(parents=True)
  if stage.command.name == 'msa':
    stage = dataclasses.replace(stage, cache=work / 'searches')
    stage.cache.mkdir()
  seen, out = situation.disturb(stage, work, rng)
  found = digests(out, stage.command, stage.inputs) if out.exists() else {}
  names = sorted(name for name in found.keys() | stage.expected.keys() if found.get(name) != stage.expected.get(name))
  seen = seen.replace(str(out), 'OUT').replace(str(work), 'WORK')
  if not names:
    shutil.rmtree(work, ignore_errors=True)
  return names, seen


def can_mount() -> bool:
  return subprocess.run(['unshare', '-m', 'true'], capture_output=True, check=False).returncode == 0


def run(given: argparse.Namespace, work: Path) -> int:
  """All situations; prints their table."""
  chosen = {name: SITUATIONS[name] for name in given.situation or SITUATIONS}
  names = [name for one in chosen.values() for name in one.commands if name in (given.command or one.commands)]
  rows, failed, begin = [], False, time.monotonic()
  with fault_commands.commands(names) as known:
    stages = {name: make_stage(known[name], work / name) for name in dict.fromkeys(names)}
    for name, situation in chosen.items():
      for command in (command for command in situation.commands if command in names):
        row, good = _row(name, situation, stages[command], given, work)
        rows.append(row)
        failed |= not good
        print(row, flush=True)
  lines = ['| situation | command | tries | same files | seconds undisturbed | what a person sees |',
           '|:--|:--|--:|--:|--:|:--|', *rows]  # fmt: skip
  print('\n' + '\n'.join(lines))
  minutes = (time.monotonic() - begin) / 60
  print(f'\n`python benchmarks/faults.py --kills {given.kills} --seed {given.seed}`, {minutes:.0f} min, '
        f'{os.cpu_count()} cores; {fault_commands.versions()}. May differ: '
        f'{fault_commands.ALLOWED_WORDS}; not compared: {fault_commands.LEFT_OUT_WORDS}.')  # fmt: skip
  return int(failed)


def _row(name: str, situation: Situation, stage: Stage, given: argparse.Namespace, work: Path) -> tuple[str, bool]:
  """The line of a situation and command, and whether all files were the same."""
  start = f'| {situation.words} | {stage.command.name} '
  if situation.mounts and not can_mount():
    return f'{start}| 0 | not tried: no mounts here | | |', True
  tries, same, seen = max(1, round(situation.share * given.kills)), 0, collections.Counter()
  for number in range(tries):
    place = work / 'tries' / f'{name}_{stage.command.name}_{number}'
    differing, words = try_out(situation, stage, place, Random(f'{given.seed} {name} {stage.command.name} {number}'))
    same += not differing
    seen[words] += 1
    if differing:
      print(f'{name}, {stage.command.name}, try {number}: differ: {", ".join(differing)}; in {place}', file=sys.stderr)
  word = seen.most_common(1)[0][0].replace('|', '/')
  return f'{start}| {tries} | {same} | {stage.seconds:.0f} | {word[:240]} |', same == tries


def main() -> int:
  if sys.argv[1:2] == ['--download']:
    return fault_commands.download(*sys.argv[2:])
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--situation', action='append', choices=SITUATIONS, help='only this one; may be repeated')
  parser.add_argument('--command', action='append', help='only of this command; may be repeated')
  parser.add_argument('--kills', type=int, default=20, help='tries of each kill; other situations have fewer')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--keep', type=Path, help='work in this folder, and keep what differs there')
  given = parser.parse_args()
  sys.path[:0] = [str(turns.ROOT / 'tests'), str(turns.ROOT)]
  if os.geteuid() and _INSIDE not in os.environ and shutil.which('unshare'):
    inside = ['unshare', '-U', '-r', '-m', sys.executable, __file__, *sys.argv[1:]]
    if subprocess.run([*inside[:4], 'true'], capture_output=True, check=False).returncode == 0:
      return subprocess.run(inside, env=os.environ | {_INSIDE: '1'}, check=False).returncode
  with contextlib.ExitStack() as stack:
    work = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='faults-')))
    return run(given, work.resolve())


if __name__ == '__main__':
  sys.exit(main())
