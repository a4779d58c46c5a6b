# SPDX-License-Identifier: Apache-2.0
"""The results of `elsewhere_kernels.py` in Markdown, without JAX."""

import collections
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_MIB = 2**20
WAYS = ('forward', 'gradient')
_TITLES = {  # kernel: what it is
  'forward': 'attention',
  'to_queries': 'its gradient to queries',
  'to_keys': 'its gradient to keys and values',
  'to_bias': 'its gradient to the bias',
  '_kernel': 'transition',
}

Result = Mapping[str, Any]


class CaseFacts(NamedTuple):
  """What a case computes."""

  sizes: str  # for people
  channels: int  # of a head, or of a transition
  dtype: str


def read_results(path: Path) -> list[dict[str, Any]]:
  """All lines of a file, [] where there is none."""
  return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()] if path.exists() else []


def text(path: Path, cases: Mapping[str, CaseFacts], command: str, num_programs: int) -> str:
  """The page's section.

  Args:
    path: of the results.
    cases: by their names.
    command: that made them.
    num_programs: of all cases on all machines, of which some may not have been tried.
  """
  results = [one for one in read_results(path) if one['case'] in cases]
  done = [one for one in results if 'refused' not in one]
  on_gpu = [one for one in done if _is_gpu(one)]
  on_tpu = [one for one in done if not _is_gpu(one)]
  lines = [
    f'Compiled, not measured: {_versions(results)}; {_dates(results)}. Command: `{command}`',
    '',
    f'{len(done)} of {num_programs} programs compiled, {len(results) - len(done)} refused, '
    f'{num_programs - len(results)} not tried. Backwards, transitions are computed by XLA.',
    *_refusals(results),
    '',
    'GPUs: registers of a thread / KiB of shared memory of a block, the most over all lengths.',
    '',
    *_by_kernel(on_gpu, cases, _on_gpu),
    '',
    'TPUs: MiB of fast memory (VMEM), the most over all lengths.',
    '',
    *_by_kernel(on_tpu, cases, _on_tpu),
    '',
    'TPUs: MiB of temporaries around the kernels, forwards / with gradients, beside the arguments of the former.',
    '',
    *_temporaries(on_tpu, cases),
  ]
  return '\n'.join(lines)


def _versions(results: Iterable[Result]) -> str:
  """'jax 0.10.2 and 0.12.0, libtpu 0.0.42'."""
  found: dict[str, set[str]] = {}
  for one in results:
    for name, version in one['versions'].items():
      found.setdefault(name, set()).add(version)
  return ', '.join(f'{name} {" and ".join(sorted(versions))}' for name, versions in found.items())


def _dates(results: Iterable[Result]) -> str:
  """The first and the last day on which something was compiled."""
  days = sorted(one['date'] for one in results)
  return ' to '.join(dict.fromkeys(days[:1] + days[-1:]))


def _is_gpu(one: Result) -> bool:
  return ':' not in one['target']


def _refusals(results: Iterable[Result]) -> list[str]:
  """What compilers refuse, and why."""
  found = collections.Counter((one['target'], one['refused']) for one in results if 'refused' in one)
  return [f'\n{target}, {count} programs: {reason}' for (target, reason), count in found.items()]


def _by_kernel(
  results: Sequence[Result], cases: Mapping[str, CaseFacts], cell: Callable[[Sequence[Result]], str]
) -> list[str]:
  """A row for each kernel, number of channels and dtype, a column for each target."""
  names = list(dict.fromkeys(one['target'] for one in results if one['kernels']))
  found: dict[tuple[str, int, str], dict[str, list]] = {}
  for one in results:
    for kernel, facts in one['kernels'].items():
      _, channels, dtype = cases[one['case']]
      row = found.setdefault((kernel, channels, dtype), {})
      row.setdefault(one['target'], []).append(facts)
  head = ['kernel', 'channels', 'dtype', *names]
  lines = [f'| {" | ".join(head)} |', '|:--|--:|:--|' + '--:|' * len(names)]
  order = sorted(found, key=lambda row: (list(_TITLES).index(row[0]), row[2], row[1]))
  for kernel, channels, dtype in order:
    cells = [cell(found[kernel, channels, dtype].get(name, [])) for name in names]
    lines.append(f'| {" | ".join([_TITLES[kernel], str(channels), dtype, *cells])} |')
  return lines


def _on_gpu(facts: Sequence[Result]) -> str:
  """'113 / 28', and the bytes that are spilled, if any are."""
  if not facts:
    return ''
  if reason := next((one['refused'] for one in facts if 'refused' in one), None):
    return reason
  if not all('registers' in one for one in facts):
    return 'no ptxas'
  most = {key: max(one.get(key, 0) for one in facts) for key in ('registers', 'shared_memory', 'spilled')}
  spilled = f', spills {most["spilled"]} bytes' if most['spilled'] else ''
  return f'{most["registers"]} / {most["shared_memory"] / 1024:.0f}{spilled}'


def _on_tpu(facts: Sequence[Result]) -> str:
  return f'{max(one["vmem"] for one in facts) / _MIB:.2f}' if facts else ''


def _temporaries(results: Sequence[Result], cases: Mapping[str, CaseFacts]) -> list[str]:
  """A row for each case, a column for each target."""
  names = list(dict.fromkeys(one['target'] for one in results))
  found = {(one['case'], one['target'], one['way']): one for one in results}
  lines = [f'| case | sizes | arguments | {" | ".join(names)} |', '|:--|:--|--:|' + '--:|' * len(names)]
  for case in dict.fromkeys(one['case'] for one in results):
    arguments = next(one['array_bytes'] for one in results if one['case'] == case and one['way'] == 'forward')
    cells = [
      ' / '.join(_size(found[case, name, way]['temporary_bytes']) for way in WAYS if (case, name, way) in found)
      for name in names
    ]
    lines.append(f'| {" | ".join([_plain(case), cases[case].sizes, _size(arguments), *cells])} |')
  return lines


def _plain(case: str) -> str:
  """The name without what the sizes say."""
  return re.sub(r'^\d+, heads of \d+.*', 'ragged', case)


def _size(size: int | None) -> str:
  return '' if size is None else f'{size / _MIB:.0f}'
