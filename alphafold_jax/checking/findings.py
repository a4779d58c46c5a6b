# SPDX-License-Identifier: Apache-2.0
"""What a check found, and how it reads. Loads without JAX."""

import dataclasses
import enum
from collections.abc import Iterable


class Verdict(enum.StrEnum):
  """Whether something was checked, and holds."""

  HOLDS = 'holds'
  WRONG = 'WRONG'
  UNCHECKED = 'not checked'


@dataclasses.dataclass(frozen=True)
class Finding:
  """One check of one model, or of a recording that belongs to none of them."""

  subject: str  # the model, or the recording
  check: str
  verdict: Verdict
  said: str  # what was compared, or why it was not
  lines: tuple[str, ...] = ()  # the numbers, or of each difference array, place, size, tolerance


def text(finding: Finding) -> str:
  """One line, in columns that stand below one another, and its details indented below."""
  first = f'  {finding.subject:<12}  {finding.check:<17}  {finding.verdict:<11}  {finding.said}'
  return '\n'.join([first, *(f'      {line}' for line in finding.lines)])


def summary(findings: Iterable[Finding]) -> str:
  """One line: how many checks hold, how many do not, how many could not be made."""
  verdicts = [finding.verdict for finding in findings]
  counts = {verdict: verdicts.count(verdict) for verdict in Verdict}
  return (
    f'{len(verdicts)} checks: {counts[Verdict.HOLDS]} hold, {counts[Verdict.WRONG]} do not, '
    f'{counts[Verdict.UNCHECKED]} could not be made'
  )
