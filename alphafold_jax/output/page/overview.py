# SPDX-License-Identifier: Apache-2.0
"""index.html: all proteins of a run in a table that leads to their pages."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from alphafold_jax.output.page import markup
from alphafold_jax.output.page.markup import escaped, linked

INDEX = 'index.html'
OVERVIEW = '<body class="overview">'  # what tells this page from others of its name
_SCORES = {  # of the best prediction, as a record has them: what stands above the column, and decimals
  'mean_plddt': ('pLDDT', 1),
  'ptm': ('pTM', 2),
  'iptm': ('ipTM', 2),
  'ipsae': ('ipSAE', 2),
}


@dataclasses.dataclass(frozen=True)
class IndexRow:
  """One protein of the overview."""

  job: str  # its name in file names
  name: str  # as it was given
  status: str
  num_res: int | None = None
  num_models: int = 0
  best: Mapping[str, float | None] = dataclasses.field(default_factory=dict)  # scores of the best prediction by name
  page: str | None = None  # a file beside this one
  remark: str = ''  # such as why there is none


def render_index(title: str, rows: Sequence[IndexRow], notes: Iterable[str] = (), files: Iterable[str] = ()) -> str:
  """The overview as HTML.

  Args:
    title: of the page.
    rows: the proteins, in their order.
    notes: what must be said of all predictions.
    files: names of the run's own files, beside this one.
  """
  script = markup.script('overview.js')
  shown = [name for name in _SCORES if any(row.best.get(name) is not None for row in rows)]
  has_remarks = any(row.remark for row in rows)
  counted = f'{len(rows):,} protein{"" if len(rows) == 1 else "s"}'
  heading = ['Protein', 'Status', 'Residues', 'Models', *(_SCORES[name][0] for name in shown)]
  return markup.document(
    'overview.html',
    policy=markup.policy([markup.digest(script)]),
    title=escaped(title),
    summary=f'{counted}, {sum(row.page is not None for row in rows):,} with a page',
    notes=markup.notes(notes),
    table=markup.table(
      'Proteins',
      [*heading, *(['Remarks'] if has_remarks else [])],
      [_cells(row, shown, has_remarks) for row in rows],
      'proteins',
    ),
    files=markup.items(map(linked, files), 'files'),
    script=script,
  )


def _cells(row: IndexRow, shown: Sequence[str], has_remarks: bool) -> list[str]:
  scores = [(row.best.get(name), _SCORES[name][1]) for name in shown]
  numbers = ['' if score is None else f'{score:.{digits}f}' for score, digits in scores]
  name = escaped(row.name) if row.page is None else linked(row.page, row.name)
  counts = ['' if row.num_res is None else f'{row.num_res:,}', str(row.num_models) if row.num_models else '']
  return [name, escaped(row.status), *counts, *numbers, *([_remark(row)] if has_remarks else [])]


def _remark(row: IndexRow) -> str:
  return f'<span class="remark">{escaped(row.remark)}</span>' if row.remark else ''
