# SPDX-License-Identifier: Apache-2.0
"""What a compiled program says of itself: the memory it reserves, the kernels in it, what devices exchange.

The text of XLA's optimised program (HLO) is a list of computations; one that is the body of a loop runs as often as the
loop does. Compilers of GPUs and CPUs state how often that is, in those of TPUs it stands in the loop's condition; where
it is in neither, the body is counted once.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from alphafold_jax.elsewhere.targets import TPU
from alphafold_jax.errors import InputError
from alphafold_jax.ops import seam

COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
_LIBRARIES = ('__cu',)  # beginnings of the calls of NVIDIA's libraries: cuBLAS, cuDNN
_HEADING = re.compile(r'^(ENTRY )?%?([\w.\-]+) .*\{\s*$')
_INSTRUCTION = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_STEPWISE = ('while', 'conditional', 'call', 'async-start')  # what runs the instructions of others one by one
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
ARRAY = re.compile(r'\b([a-z]+\d*[a-z\d]*)\[([\d,]*)\]')
_LISTED = re.compile(r'replica_groups=\{\{([\d,]+)\}')
_IOTA = re.compile(r'replica_groups=\[(\d+),(\d+)\]')
_OF_AXES = re.compile(
  r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^{]*\))? *\{('[^':(){}]*'(?:,'[^':(){}]*')*)\}"
)
_GROUPS = re.compile(r'replica_groups=(?!\{\}).*')


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes of one device that a program reserves."""

  arguments: int
  outputs: int
  aliased: int  # outputs that take the place of arguments
  temporaries: int
  peak: int | None = None  # the most at any moment, of a TPU; None: not asked for

  @property
  def reserved(self) -> int:
    """All that must be free, arguments included.

    Of a TPU the peak: by it the compiler refuses a program. The temporaries that it states are more, since they count
    places that are free at that moment.
    """
    if self.peak is not None:
      return self.peak
    return self.arguments + self.outputs - self.aliased + self.temporaries


@dataclasses.dataclass(frozen=True)
class Exchange:
  """The exchanges of one kind."""

  count: int  # in a run of the program
  bytes: int  # that each device receives in it: see `received`


@dataclasses.dataclass(frozen=True)
class ProgramContents:
  """What the text of a program says."""

  kernels: Mapping[str, int]  # calls of our kernels and of libraries, by name, and in how many places
  collectives: Mapping[str, Exchange]  # by kind, one of COLLECTIVES
  is_least: bool  # whether loops of unknown length hold some, which are counted once


class Instruction(NamedTuple):
  """A line of a computation."""

  root: str | None  # 'ROOT ' of that whose result is the computation's
  name: str
  shape: str  # the text of its type
  operation: str
  rest: str  # operands and attributes


@dataclasses.dataclass(frozen=True)
class HloProgram:
  """The text of a program, taken apart."""

  computations: Mapping[str, list[Instruction]]  # by name; the entry's is ''
  times: Mapping[str, int]  # how often each runs; one in a loop of unknown length as often as if that ran once
  unknown: frozenset[str]  # those in loops of unknown length
  stepwise: frozenset[str]  # those whose instructions run one after another, each from memory to memory


def memory_of(compiled: Any, platform: str) -> Memory:
  """What `jax.stages.Compiled` reserves on a device of a platform."""
  stats = compiled.memory_analysis()
  return Memory(
    stats.argument_size_in_bytes,
    stats.output_size_in_bytes,
    stats.alias_size_in_bytes,
    stats.temp_size_in_bytes,
    stats.peak_memory_in_bytes if platform == TPU else None,
  )


def parse(text: str) -> HloProgram:
  """Takes the text of an optimised program's HLO apart.

  Raises:
    InputError: it has no computation to begin with.
  """
  computations = _computations(text)
  if not computations.get(''):
    raise InputError('the compiler gives no text of the program' if not text.strip() else 'its text has no beginning')
  times: collections.Counter[str] = collections.Counter()
  unknown: set[str] = set()
  stepwise: set[str] = set()

  def run(name: str, count: int, is_known: bool, is_stepwise: bool) -> None:
    times[name] += count
    if not is_known:
      unknown.add(name)
    if is_stepwise:
      stepwise.add(name)
    for caller, called, trips in _calls(computations.get(name, []), computations):
      steps = is_stepwise and caller.operation in _STEPWISE
      run(called, count * (1 if trips is None else trips), is_known and trips is not None, steps)

  run('', 1, True, True)
  return HloProgram(computations, times, frozenset(unknown), frozenset(stepwise))


def read(text: str, num_devices: int) -> ProgramContents:
  """Reads the text of an optimised program's HLO; for the rest see `contents`."""
  return contents(parse(text), num_devices)


def contents(program: HloProgram, num_devices: int) -> ProgramContents:
  """The kernels and exchanges of a program.

  Args:
    program: taken apart.
    num_devices: it runs on, which are the group of a collective that names none.

  Raises:
    InputError: it is not known which devices take part in an exchange.
  """
  times = program.times
  kernels: collections.Counter[str] = collections.Counter()
  counts: collections.Counter[str] = collections.Counter()
  sizes: collections.Counter[str] = collections.Counter()
  is_least = False
  for name, instructions in program.computations.items():
    starts = {one.name: one for one in instructions if one.operation.endswith('-start')}
    for one in instructions:
      if kernel := kernel_of(one):
        kernels[kernel] += 1
      kind = one.operation.removesuffix('-done')
      if kind in COLLECTIVES and times[name]:
        begun = next((starts[word] for word in re.findall(r'[\w.\-]+', one.rest) if word in starts), one)
        counts[kind] += times[name]
        sizes[kind] += times[name] * received(kind, num_bytes(one.shape), _group(begun.rest, num_devices))
        is_least = is_least or name in program.unknown
  return ProgramContents(
    dict(kernels), {kind: Exchange(counts[kind], sizes[kind]) for kind in sorted(counts)}, is_least
  )


def kernel_of(one: Instruction) -> str:
  """The name of our kernel or of a library's that an instruction calls, or ''."""
  target = _TARGET.search(one.rest) if one.operation == 'custom-call' else None
  name = target[1] if target else ''
  return name if name in _our_kernels() or name.startswith(_LIBRARIES) else ''


@functools.cache
def _our_kernels() -> frozenset[str]:
  return frozenset(seam.custom_calls())


def num_bytes(shape: str) -> int:
  """The bytes of an array or tuple by its type: those of 'bf16[8,4]{1,0}' are 64."""
  return sum(
    math.prod(int(side) for side in sides.split(',') if side) * _item_bits(kind) // 8
    for kind, sides in ARRAY.findall(shape)
  )


def _item_bits(kind: str) -> int:
  """32 of 'f32', 8 of 'pred' and of 'f8e4m3fn'."""
  found = re.search(r'\d+', kind)
  return int(found[0]) if found else 8 if kind == 'pred' else 0  # a token has none


def received(kind: str, size: int, group: int) -> int:
  """Bytes that a device receives for a result of a size: gathers and sums around a ring, all-to-all directly.

  What passes through a device on its way to others, over the links of TPUs, is not counted.
  """
  if kind == 'collective-permute':
    return size
  if kind == 'reduce-scatter':
    return size * (group - 1)
  return size * (group - 1) // group * (2 if kind == 'all-reduce' else 1)


def _group(attributes: str, num_devices: int) -> int:
  """How many devices take part: {{0,1},{2,3}}, [2,2]<=[4] and mesh['data'=2,'model'=2] {'model'} are groups of two.

  Raises:
    InputError: the groups are written in another form.
  """
  if found := _LISTED.search(attributes):
    return len(found[1].split(','))
  if found := _IOTA.search(attributes):
    return int(found[2])
  if found := _OF_AXES.search(attributes):
    sides = dict(re.findall(r"('[^']*')=(\d+)", found[1]))
    return math.prod(int(sides[axis]) for axis in found[2].split(','))
  if found := _GROUPS.search(attributes):
    raise InputError(f'which devices exchange is written in an unknown form: {found[0][:80]}')
  return num_devices


def _computations(text: str) -> dict[str, list[Instruction]]:
  """The instructions of each computation; the entry's name is ''."""
  found: dict[str, list[Instruction]] = {}
  here: list[Instruction] = []
  for line in text.splitlines():
    if line[:1] not in ('', ' ', '}') and (heading := _HEADING.match(line)):
      here = found.setdefault('' if heading[1] else heading[2], [])
    elif instruction := _INSTRUCTION.match(line):
      here.append(Instruction(*instruction.groups()))
  return found


def _calls(
  instructions: list[Instruction], computations: Mapping[str, list[Instruction]]
) -> Iterator[tuple[Instruction, str, int | None]]:
  """Instructions that run computations, which, and how often each, of branches each; None: it is not known."""
  for one in instructions:
    if one.operation.endswith(('-done', '-update')):  # some name again what their start runs
      continue
    trips = _trips(one, instructions, computations) if one.operation == 'while' else 1
    names = _CALLED.findall(one.rest)
    for branches in _BRANCHES.findall(one.rest):
      names += re.findall(r'[\w.\-]+', branches)
    yield from ((one, name, trips) for name in names)


def _trips(loop: Instruction, around: list[Instruction], computations: Mapping[str, list[Instruction]]) -> int | None:
  """How often a loop runs: as the compiler says, else by its condition, `counter < end`; JAX's loops count by one."""
  if found := _TRIPS.search(loop.rest):
    return int(found[1])
  condition = re.search(r'condition=%?([\w.\-]+)', loop.rest)
  inside = {one.name: one for one in computations.get(condition[1] if condition else '', [])}
  outside = {one.name: one for one in around}
  last = next(reversed(inside.values()), None)
  if last is None or last.operation != 'compare' or 'direction=LT' not in last.rest:
    return None
  carried = outside.get(operands(loop)[0])

  def value(name: str) -> int | None:
    one = inside.get(name)
    if one is not None and one.operation == 'get-tuple-element' and carried is not None:
      place = re.search(r'index=(\d+)', one.rest)
      parts = operands(carried) if carried.operation == 'tuple' else []
      name = parts[int(place[1])] if place and int(place[1]) < len(parts) else ''
      one = outside.get(name)
      while one is not None and one.operation == 'copy':
        one = outside.get(operands(one)[0])
    number = re.match(r'-?\d+(?=\))', one.rest) if one is not None and one.operation == 'constant' else None
    return int(number[0]) if number else None

  counter, end = (value(name) for name in operands(last)[:2])
  return None if counter is None or end is None else max(0, end - counter)


def operands(one: Instruction) -> list[str]:
  """The names of an instruction's operands."""
  return re.findall(r'[\w.\-]+', re.sub(r'/\*.*?\*/', '', one.rest.split(')', 1)[0])) or ['']
