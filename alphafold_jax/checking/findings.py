# SPDX-License-Identifier: Apache-2.0
"""What a check found, and how it reads. Loads without JAX."""

import dataclasses
import enum
import textwrap
from collections.abc import Iterable

from alphafold_jax.screen import number


class Verdict(enum.StrEnum):
  """Whether something was checked, and holds."""

  HOLDS = 'holds'
  WRONG = 'WRONG'
  UNCHECKED = 'not checked'


_COUNTED = {Verdict.HOLDS: 'right', Verdict.WRONG: 'wrong', Verdict.UNCHECKED: 'not made'}


@dataclasses.dataclass(frozen=True)
class Finding:
  """One check of one model, or of a recording that belongs to none of them."""

  subject: str  # the model, or the recording
  check: str
  verdict: Verdict
  said: str  # what was compared, or why it was not
  lines: tuple[str, ...] = ()  # the numbers, or of each difference array, place, size, tolerance


def text(finding: Finding, width: int | None = None) -> str:
  """One line, in columns that stand below one another, and its details indented below.

  Args:
    finding: what was found.
    width: of the terminal; None: whole lines, whatever their length.
  """
  first = f'  {finding.subject:<12}  {finding.check:<17}  {finding.verdict:<11}  {finding.said}'
  lines = [(first, 6), *((f'      {line}', 8) for line in finding.lines)]
  return '\n'.join(line if width is None else _folded(line, width, indent) for line, indent in lines)


def _folded(line: str, width: int, indent: int) -> str:
  return textwrap.fill(line, width, subsequent_indent=' ' * indent, break_long_words=False, break_on_hyphens=False)


def summary(findings: Iterable[Finding]) -> str:
  """One line: how many checks hold, how many do not, and how many were not made."""
  verdicts = [finding.verdict for finding in findings]
  counts = {verdict: verdicts.count(verdict) for verdict in Verdict}
  return f'{number(len(verdicts), "check")}: {", ".join(f"{counts[one]} {word}" for one, word in _COUNTED.items())}'
