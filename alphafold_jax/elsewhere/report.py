# SPDX-License-Identifier: Apache-2.0
"""What is said of a program that was compiled for a machine that is not here: for people, and as one JSON object."""

import dataclasses
import re
import time
from typing import Any

from alphafold_jax.elsewhere import compilers, counting, reading, roofline
from alphafold_jax.elsewhere.lowering import Lowering
from alphafold_jax.elsewhere.targets import Machine
from alphafold_jax.errors import InputError
from alphafold_jax.screen import number
from alphafold_jax.transfer.files import human_size

_NO_ROOM = re.compile(  # a compiler of TPUs that refuses, in its older words and its newer ones
  r'(?:Used|temporaries) \(?(?P<used>[\d.]+[KMG])\)? (?:of|exceeds available HBM) \(?(?P<room>[\d.]+[KMG])\)?'
)
_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30}
NOTE = 'compiled, not measured'


@dataclasses.dataclass(frozen=True)
class CompileReport:
  """A program as its compiler sees it; bytes are those of each device."""

  target: Machine
  work: Lowering
  compile_seconds: float
  available: int  # that JAX may have: as of the work, or as the compiler said when it refused
  reserved: int  # by the compiler
  memory: reading.Memory | None  # None: it refused, for want of room
  program: reading.ProgramContents | None  # None: it refused, or the program cannot be read
  expectation: roofline.Expectation | None
  versions: dict[str, str]
  not_read: str | None = None  # why the program cannot be read

  @property
  def fits(self) -> bool:
    """Whether the compiler gave a program, and JAX may have what that reserves."""
    return self.memory is not None and self.reserved <= self.available

  def as_json(self) -> dict[str, Any]:
    """One object for programs; sizes in bytes of one device."""
    memory, program = self.memory, self.program
    exchanges = program.collectives if program else {}
    return {
      'target': self.target.name,
      'kind': self.work.kind,
      'what': self.work.what,
      'note': NOTE,
      'devices': self.work.num_devices,
      'chunk_bytes': self.work.chunk_bytes,
      'compile_seconds': round(self.compile_seconds, 1),
      'memory_bytes': self.target.memory,
      'available_bytes': self.available,
      'planned_bytes': self.work.planned,
      'reserved_bytes': self.reserved,
      'fits': self.fits,
      'parts': dataclasses.asdict(memory) if memory else None,
      'kernels': dict(program.kernels) if program else None,
      'collectives': {kind: dataclasses.asdict(one) for kind, one in exchanges.items()} if program else None,
      'collectives_are_at_least': program.is_least if program else None,
      **(self.expectation.as_json() if self.expectation else dict.fromkeys(roofline.FIELDS)),
      'not_read': self.not_read,
      'versions': self.versions,
    }

  def __str__(self) -> str:
    planned = 'there is no estimate' if self.work.planned is None else f'planned {_size(self.work.planned)}'
    verdict = 'fits' if self.fits else 'DOES NOT FIT'
    lines = [
      str(self.target),
      self.work.what,
      f'{NOTE}: in {self.compile_seconds:.1f} s by {", ".join(map(" ".join, self.versions.items()))}',
      f'memory       {_size(self.reserved)} of {_size(self.available)} on each device: {verdict}; {planned}',
    ]
    if self.memory:
      parts = dataclasses.asdict(self.memory).items()
      lines.append(f'             {", ".join(f"{name} {_size(size)}" for name, size in parts if size is not None)}')
    else:
      lines.append('             its compiler refused the program for want of memory')
    if self.not_read:
      lines.append(f'program      cannot be read, so what is in it and how long it takes is not known: {self.not_read}')
    if self.program:
      kernels = ', '.join(f'{name} in {number(count, "place")}' for name, count in self.program.kernels.items())
      lines.append(f'kernels      {kernels or "none: all by XLA"}')
      least = ' at least, since loops of unknown length are counted once' if self.program.is_least else ''
      for kind, one in self.program.collectives.items():
        lines.append(f'{kind:<18} {one.count:,} times, {_size(one.bytes)} received by each device{least}')
    if self.expectation:
      lines.append(self.expectation.said(f'a {self.work.kind}'))
    return '\n'.join(lines)


def _size(num_bytes: int) -> str:
  """2,893,021,184 -> '2.69 GiB', 8,912,896 -> '8.5 MiB'."""
  return f'{num_bytes / 2**30:.2f} GiB' if num_bytes >= 2**30 else human_size(num_bytes)


def compiled(target: Machine, work: Lowering) -> CompileReport:
  """Compiles, and says what came of it.

  Raises:
    InputError: the compiler refuses the program, for another reason than want of memory.
  """
  start, available = time.monotonic(), work.available
  memory, program, expectation, not_read = None, None, None, None
  try:
    done = work.lowered.compile()
  except Exception as error:  # whatever a compiler leads to
    refused = _NO_ROOM.search(str(error))
    if not refused:
      raise InputError(f'{target.name}: its compiler refuses the program: {compilers.in_short(error)}') from error
    seconds = time.monotonic() - start
    reserved, available = (int(float(size[:-1]) * _UNITS[size[-1]]) for size in refused.groups())
  else:
    seconds = time.monotonic() - start
    memory = reading.memory_of(done, target.platform)
    reserved = memory.reserved
    try:
      program, expectation = _read(done.as_text() or '', target, work.num_devices)
    except InputError as error:  # memory is known nevertheless
      not_read = str(error)
  return CompileReport(
    target=target,
    work=work,
    compile_seconds=seconds,
    available=available,
    reserved=reserved,
    memory=memory,
    program=program,
    expectation=expectation,
    versions=compilers.versions(target.platform),
    not_read=not_read,
  )


def _read(text: str, target: Machine, num_devices: int) -> tuple[reading.ProgramContents, roofline.Expectation]:
  """What a program's text says, and how long it should take."""
  hlo = reading.parse(text)
  program = reading.contents(hlo, num_devices)
  return program, roofline.expected(target, counting.count(hlo), program)
