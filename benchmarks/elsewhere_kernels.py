# SPDX-License-Identifier: Apache-2.0
"""Every Pallas kernel of ours alone, compiled for machines that are not here: compiled, not measured.

  python benchmarks/elsewhere_kernels.py                                 # all that is not recorded yet
  python benchmarks/elsewhere_kernels.py FILE --for h200 v5e:2x2 --case triangles
  python benchmarks/elsewhere_kernels.py --table [--write]               # docs/elsewhere_kernels.md

Each result is a line of tests/data/elsewhere/kernels.jsonl, or of another file, as soon as it is there: of GPUs
registers, spilled bytes and shared memory of every kernel, by NVIDIA's assembler `ptxas` on the program that XLA wrote;
of TPUs their fast memory (VMEM); of both the temporaries around the kernels. Machines whose compiler is not installed
are left out, and named. What a compiler does not survive is said in its line, and the next is compiled. The extra
`elsewhere` has the compiler of TPUs, `cuda12` or `cuda13` that of GPUs.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import elsewhere_kernels_read as read
import elsewhere_kernels_table as table
import turns

from alphafold_jax import errors
from alphafold_jax.elsewhere import compilers, targets

RECORDED = turns.ROOT / 'tests' / 'data' / 'elsewhere' / 'kernels.jsonl'
TARGETS = ('v4:2x2x1', 'v5e:2x2', 'v6e:2x2', 't4', 'a100-40', 'l4', 'h200', 'b200')
_CHILD = '--child'
_DUMP = 'ALPHAFOLD_JAX_DUMP'  # folder of the child's programs


class Attention(NamedTuple):
  """Sizes of a call of the attention kernels."""

  rows: int
  heads: int
  length: int  # queries, and keys
  dim: int
  bias: bool = True
  dtype: str = 'bfloat16'


class Transition(NamedTuple):
  """Sizes of a call of the transition kernel."""

  rows: int
  columns: int
  channels: int
  hidden: int
  dtype: str = 'bfloat16'


CASES: dict[str, Attention | Transition] = {  # at crops of 384, 512 + 5,120 alignment rows
  'MSA rows': Attention(512, 8, 384, 32),
  'MSA columns': Attention(384, 8, 512, 32, bias=False),
  'triangles': Attention(384, 4, 384, 32),
  'extra MSA rows': Attention(1024, 8, 384, 8),
  'template triangles': Attention(384, 4, 384, 16),
  'long triangles': Attention(256, 4, 2048, 32),
  **{f'{length}, heads of {dim}': Attention(length, 4, length, dim) for length in (100, 257) for dim in (8, 16, 32)},
  **{f'257, heads of {dim}, float32': Attention(257, 4, 257, dim, dtype='float32') for dim in (8, 16, 32)},
  'MSA transition': Transition(512, 384, 256, 1024),
  'pair transition': Transition(384, 384, 128, 512),
  'extra MSA transition': Transition(1024, 384, 64, 256),
  'template transition': Transition(384, 384, 64, 128),
  'ragged transition': Transition(257, 257, 128, 512),
  'ragged transition, float32': Transition(257, 257, 128, 512, 'float32'),
  'MSA transition, float32': Transition(512, 384, 256, 1024, 'float32'),
}
WAYS = table.WAYS


def ways(name: str) -> tuple[str, ...]:
  """Of a transition there is no kernel backwards, XLA computes it."""
  return WAYS if isinstance(CASES[name], Attention) else WAYS[:1]


# ------------------------------------------------------------------------------------------ one compilation


def program(case: Attention | Transition, way: str, place: Any) -> tuple[Any, tuple]:
  """A function and the shapes of its arguments, which lie at a place."""
  import jax
  import jax.numpy as jnp

  from alphafold_jax.ops import TransitionWeights, attention_pallas, transition_pallas

  def shape(*sizes: int, dtype: str = case.dtype) -> Any:
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=place)

  if isinstance(case, Attention):
    q = shape(case.rows, case.heads, case.length, case.dim)
    bias = shape(case.heads, case.length, case.length) if case.bias else None
    function, given = attention_pallas.attend, (q, q, q, shape(case.rows, case.length, dtype='float32'), bias)
    wanted = (0, 1, 2, 4) if case.bias else (0, 1, 2)
  else:
    c, f = case.channels, case.hidden
    weights = TransitionWeights(shape(c, f), shape(f), shape(f, c), shape(c))
    function, given, wanted = transition_pallas.transition, (shape(case.rows, case.columns, c), weights), (0, 1)
  if way == 'forward':
    return function, given

  def loss(cotangent: Any, *arguments: Any) -> Any:
    return jnp.sum(cotangent * function(*arguments).astype(jnp.float32))

  gradient = jax.grad(loss, argnums=tuple(1 + index for index in wanted))
  return gradient, (jax.ShapeDtypeStruct(given[0].shape, 'float32', sharding=place), *given)


def compile_one(target: targets.Machine, name: str, way: str, folder: Path) -> dict[str, Any]:
  """One result; the programs that XLA writes lie in the folder."""
  import jax
  import numpy as np
  from jax.sharding import Mesh, NamedSharding, PartitionSpec

  mesh = Mesh(np.array(compilers.devices_of(target, 1)), ('x',))
  function, given = program(CASES[name], way, NamedSharding(mesh, PartitionSpec()))
  lowered = jax.jit(function).trace(*given).lower(lowering_platforms=(target.platform,))
  start = time.monotonic()
  done = lowered.compile()
  seconds = time.monotonic() - start
  stats = done.memory_analysis()
  arrays = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(given))
  kernels = read.on_tpu(done.as_text()) if target.platform == targets.TPU else read.on_gpu(folder)
  return {
    'compile_seconds': round(seconds, 1),
    'array_bytes': arrays,  # of the arguments as they are
    'argument_bytes': stats.argument_size_in_bytes,  # as the device lays them out
    'temporary_bytes': stats.temp_size_in_bytes,
    'kernels': kernels,
  }


def child(target_name: str, pairs: list[tuple[str, str]]) -> None:
  """Prints a JSON line for each of the pairs of case and way."""
  folder = Path(os.environ[_DUMP])
  target = targets.parse(target_name)
  compilers.prepare()
  try:
    compilers.devices_of(target, 1)
  except errors.AlphaFoldError as error:  # its compiler is not installed, or does not know it
    print(f'left out: {error}', file=sys.stderr)
    return
  versions = compilers.versions(target.platform)
  for name, way in pairs:
    shutil.rmtree(folder)
    folder.mkdir()
    try:
      found = compile_one(target, name, way, folder)
    except Exception as error:  # whatever a compiler leads to
      found = {'refused': compilers.in_short(error)}
    print(json.dumps({'target': target_name, 'case': name, 'way': way} | found | {'versions': versions}), flush=True)


# ------------------------------------------------------------------------------------------ all of them


def missing(path: Path, chosen: list[str], cases: list[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
  """What is not in the file yet, by target."""
  found = {(one['target'], one['case'], one['way']) for one in table.read_results(path)}
  for target in chosen:
    if pairs := [(case, way) for case in cases for way in ways(case) if (target, case, way) not in found]:
      yield target, pairs


def compile_all(path: Path, target: str, pairs: list[tuple[str, str]]) -> None:
  """Compiles in a process of its own, and in another one from the next on if that ends."""
  while pairs:
    with tempfile.TemporaryDirectory() as folder:
      flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_dump_to={folder}'
      command = [sys.executable, __file__, str(path), _CHILD, target, json.dumps(pairs)]
      with subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding='utf-8', env=os.environ | {'XLA_FLAGS': flags, _DUMP: folder}
      ) as process:
        assert process.stdout is not None
        for line in process.stdout:
          if line.startswith('{'):
            keep(path, json.loads(line))
            pairs = pairs[1:]
    if not process.returncode:
      return
    if pairs:
      (case, way), *pairs = pairs
      died = f'the compiler ended its process with exit code {process.returncode}'
      keep(path, {'target': target, 'case': case, 'way': way, 'refused': died, 'versions': {}})


def facts() -> dict[str, table.CaseFacts]:
  """What the cases compute."""
  found = {}
  for name, case in CASES.items():
    if isinstance(case, Attention):
      bias = '' if case.bias else ', no bias'
      sizes = f'{case.rows:,} rows, {case.heads} heads of {case.dim}, {case.length:,} positions{bias}, {case.dtype}'
      found[name] = table.CaseFacts(sizes, case.dim, case.dtype)
    else:
      sizes = f'{case.rows:,} x {case.columns} positions, {case.channels} to {case.hidden} channels, {case.dtype}'
      found[name] = table.CaseFacts(sizes, case.channels, case.dtype)
  return found


def keep(path: Path, result: dict[str, Any]) -> None:
  """Adds a result of today to the file."""
  result = result | {'date': datetime.date.today().isoformat()}
  with path.open('a', encoding='utf-8') as file:
    file.write(json.dumps(result) + '\n')
  said = result.get('refused') or f'{result["compile_seconds"]} s'
  print(f'{result["target"]} {result["case"]} {result["way"]}: {said}', flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument(
    'file', type=Path, nargs='?', default=RECORDED, help='of results, a JSON object a line (default: %(default)s)'
  )
  parser.add_argument('--for', dest='targets', nargs='+', default=TARGETS, metavar='TARGET', help='default: all')
  parser.add_argument('--case', dest='cases', nargs='+', default=list(CASES), choices=CASES, metavar='CASE')
  parser.add_argument('--table', action='store_true', help='print the table, compile nothing')
  parser.add_argument('--write', action='store_true', help='with --table: into docs/elsewhere_kernels.md')
  parser.add_argument(_CHILD, nargs=2, help=argparse.SUPPRESS)
  given = parser.parse_args()
  if given.child:
    child(given.child[0], json.loads(given.child[1]))
  elif given.table:
    command = 'python benchmarks/elsewhere_kernels.py' + ('' if given.file == RECORDED else f' {given.file.name}')
    num_programs = sum(len(ways(case)) for case in CASES) * len(TARGETS)
    text = table.text(given.file, facts(), command, num_programs)
    print(text)
    if given.write:
      turns.write_section('elsewhere_kernels', text, turns.ROOT / 'docs' / 'elsewhere_kernels.md')
  else:
    for target, pairs in missing(given.file, given.targets, given.cases):
      compile_all(given.file, target, pairs)


if __name__ == '__main__':
  main()
