# SPDX-License-Identifier: Apache-2.0
"""How much work a compiled program is: operations of matrix products, and bytes that pass through a device's memory.

A fusion reads what it takes from memory and writes its result there; what happens inside leaves no trace. So traffic is
counted at the instructions that run one after another, products wherever they stand. Loops count as often as they run.
"""

import collections
import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping

from alphafold_jax.elsewhere import products
from alphafold_jax.elsewhere.reading import COLLECTIVES, HloProgram, Instruction, kernel_of, num_bytes, operands

_ONLY_NAMES = (  # instructions that move nothing
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while', 'conditional', 'call', 'opt-barrier',
  'after-all', 'add-dependency', 'domain', 'partition-id', 'replica-id', 'async-start', 'async-update', 'async-done',
  'copy-done', 'send-done', 'recv-done',
)  # fmt: skip
_VIEWS = ('bitcast', 'reshape', 'convert', 'transpose', 'copy')  # inside fusions, of as many elements as what they take
_PARTS = ('dynamic-slice', 'slice', 'gather')  # which read as much as they give
_IN_MEMORY = re.compile(r'\b[a-z]+\d*[a-z\d]*\[[\d,]*\](?:\{[^{}]*\})?')
_TILED = re.compile(r'(\w+)\[([\d,]*)\]\{([\d,]*):T\(([\d,]+)\)')  # axes in the order of memory, the innermost first
_SPACE = re.compile(r'S\((\d+)\)')  # another memory than the device's own: a chip's fast one, the host's
_SOURCE = re.compile(r'op_name="([^"]*)"')
_CALLS = re.compile(r'calls=%?([\w.\-]+)')
_NO_WORK = re.compile(r'custom_call_target="(?:AllocateBuffer|AssumeGatherIndicesInBound|ConcatBitcast)"')


@dataclasses.dataclass(frozen=True)
class Launch:
  """An instruction that reads and writes memory."""

  name: str
  operation: str
  source: str  # what it was made of, as JAX names it
  shape: str  # of its result
  times: int  # in a run of the program
  traffic: int  # bytes, of all its times


@dataclasses.dataclass(frozen=True)
class WorkCount:
  """The work of one device in a run of a program."""

  flops: Mapping[str, int]  # of matrix products, by the dtype of their factors: 'bfloat16', 'float32', 'exact float32'
  unknown: Mapping[str, int]  # kernels whose products cannot be told, by name, and in how many places
  launched: tuple[Launch, ...]  # those of most traffic first
  is_least: bool  # whether some stand in loops of unknown length, which are counted once

  @property
  def traffic(self) -> int:
    """Bytes read from the device's memory and written to it."""
    return sum(one.traffic for one in self.launched)

  @property
  def launches(self) -> int:
    """How many instructions run one after another."""
    return sum(one.times for one in self.launched)


def count(program: HloProgram) -> WorkCount:
  """Counts the work of a program that was taken apart."""
  flops: collections.Counter[str] = collections.Counter()
  unknown: collections.Counter[str] = collections.Counter()
  launched = []
  for name, instructions in program.computations.items():
    times = program.times.get(name, 0)
    if not times:
      continue
    inside = {one.name: one for one in instructions}
    for one in instructions:
      if product := products.of(one, inside):
        flops[product.dtype] += times * product.flops
      elif kernel := kernel_of(one):
        unknown[kernel] += 1
      if name in program.stepwise and one.operation not in _ONLY_NAMES and not _NO_WORK.search(one.rest):
        source = _SOURCE.search(one.rest)
        moved = times * _moved(one, inside, program.computations)
        launched.append(Launch(one.name, one.operation, source[1] if source else '', one.shape, times, moved))
  launched.sort(key=lambda one: -one.traffic)
  is_least = any(program.times.get(name) for name in program.unknown)
  return WorkCount(dict(flops), dict(unknown), tuple(launched), is_least)


def _moved(one: Instruction, inside: Mapping[str, Instruction], computations: Mapping[str, list[Instruction]]) -> int:
  """The bytes that an instruction reads and writes."""
  given = [inside[name] for name in operands(one) if name in inside]
  kind = one.operation.removesuffix('-start')
  if one.operation == 'fusion' and (called := _CALLS.search(one.rest)):
    return _Fusion(computations[called[1]], computations).moved(one, given)
  if one.operation.endswith('-done'):
    return _size(one.shape) if one.operation.removesuffix('-done') in COLLECTIVES else 0  # what arrives
  if kind in COLLECTIVES and kind != one.operation:  # what is sent
    return sum(_size(other.shape) for other in given)
  if kind in ('copy', *_PARTS) and kind != one.operation:  # gives (there, here, a flag), or ((here), there, a flag)
    there = _arrays(one.shape)[0 if kind == 'copy' else 1]
    return _size(there) + min(held(there), _size(given[0].shape))
  if kind in _PARTS:
    return 2 * _size(one.shape) + sum(_size(other.shape) for other in given[1:])
  if kind == 'dynamic-update-slice':  # in place
    return 2 * _size(given[1].shape)
  if kind == 'scatter':
    return 2 * _size(given[-1].shape)
  return _size(_result(one)) + sum(_size(other.shape) for other in given)


def _result(one: Instruction) -> str:
  """The type of a result, without the room that libraries work in."""
  if kernel_of(one).startswith('__cu'):
    return ' '.join(array for array in _arrays(one.shape) if not array.startswith(('s8', 'u8')))
  return one.shape


def _arrays(shape: str) -> list[str]:
  """The types of the arrays of a tuple."""
  return _IN_MEMORY.findall(shape)


def _size(shape: str) -> int:
  """The bytes of a type in the device's own memory."""
  return sum(held(array) for array in _arrays(shape) if not _SPACE.search(array) or 'S(0)' in array)


def held(array: str) -> int:
  """The bytes that an array takes by its type, with axes filled up to whole tiles: of 'bf16[9,32]{1,0:T(8,128)(2,1)}'
  those of 16 x 128."""
  tiled = _TILED.match(array)
  if not tiled:
    return num_bytes(array)
  sides, order, tile = ([int(word) for word in words.split(',') if word] for words in tiled.groups()[1:])
  innermost = itertools.zip_longest((sides[axis] for axis in order), reversed(tile), fillvalue=1)
  return num_bytes(f'{tiled[1]}[{math.prod(-(-side // whole) * whole for side, whole in innermost)}]')


class _Fusion:
  """The inside of a fusion: which parts of its operands it reads, which of its result it writes."""

  def __init__(self, instructions: list[Instruction], computations: Mapping[str, list[Instruction]]):
    self.computations = computations
    self.inside = {one.name: one for one in instructions}
    self.users: dict[str, list[Instruction]] = collections.defaultdict(list)
    for one in instructions:
      for name in set(operands(one)):
        if name in self.inside:
          self.users[name].append(one)
    self.parameters = {
      int(number[0]): one.name
      for one in instructions
      if one.operation == 'parameter' and (number := re.match(r'\d+', one.rest))
    }
    self.root = next((one for one in instructions if one.root), instructions[-1])
    self.written = [self._behind(one) for one in self._results()]

  def _results(self) -> Iterator[Instruction]:
    if self.root.operation == 'tuple':
      yield from (self.inside[name] for name in operands(self.root))
    else:
      yield self.root

  def _behind(self, one: Instruction) -> Instruction:
    """What a result is a view of."""
    while one.operation == 'bitcast':
      one = self.inside[operands(one)[0]]
    return one

  def moved(self, fusion: Instruction, given: list[Instruction]) -> int:
    """Bytes that a fusion of these operands reads and writes."""
    total = 0
    for place, one in enumerate(given):
      if whole := _size(one.shape):
        elements = num_elements(one.shape)
        total += whole * min(elements, self._read(self.parameters.get(place, ''), elements)) // max(1, elements)
    for array, result in zip(_arrays(fusion.shape), self.written):
      total += min(_size(array), self._written(result, array))
    return total

  def _read(self, name: str, whole: int) -> int:
    """Elements that are read of one of `whole` elements."""
    total = 0
    for user in self.users[name]:
      names = operands(user)
      if user.operation in _VIEWS:
        total += whole if user.root else self._read(user.name, whole)
      elif user.operation in _PARTS and names[0] == name and name not in names[1:]:
        total += num_elements(user.shape)
      elif user.operation == 'dynamic-update-slice' and user in self.written and name not in names[1:]:
        continue  # what is updated in place is not read
      elif user.operation == 'fusion' and (called := _CALLS.search(user.rest)):
        inner = _Fusion(self.computations[called[1]], self.computations)
        places = [place for place, other in enumerate(names) if other == name]
        total += sum(inner._read(inner.parameters.get(place, ''), whole) for place in places)
      elif user.operation not in ('tuple', 'get-tuple-element') or user.root:
        return whole
    return total

  def _written(self, result: Instruction, array: str) -> int:
    """Bytes that are written of a result."""
    if result.operation == 'dynamic-update-slice':
      return held(self.inside[operands(result)[1]].shape)
    if result.operation == 'scatter':
      return held(self.inside[operands(result)[-1]].shape)
    return held(array)


def num_elements(shape: str) -> int:
  """The elements of an array or tuple by its type: those of 'bf16[8,4]{1,0}' are 32."""
  return sum(
    math.prod(int(side) for side in re.findall(r'\d+', array[array.index('[') : array.index(']')]))
    for array in _arrays(shape)
  )
