# SPDX-License-Identifier: Apache-2.0
"""What the evaluation notebook does with its form: scores predictions against experiments, and shows table and plot.

Each folder is named by the content of its form. The command is shown as it is run.
"""

import csv
import dataclasses
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders
from alphafold_jax.arguments import wrong
from alphafold_jax.notebook import check_texts, flags_in, run
from alphafold_jax.output.evaluated import PICTURE, TARGETS

_SHOWN = ('target', 'lddt', 'lddt_ca', 'gdt_ts', 'tm_score', 'ca_rmsd_95', 'mean_plddt', 'dockq', 'status', 'reason')
_DECIMALS = 3


@dataclasses.dataclass(frozen=True)
class EvaluationForm:
  """The evaluation notebook's form as it was filled in, checked."""

  predictions: str  # a results folder, a folder of structures, or one
  references: str  # experimental structures: a folder, or one file
  pairs: str = ''  # a table in place of matching by name
  every_rank: bool = False
  more_flags: str = ''  # of `alphafold-jax evaluate`

  def __post_init__(self) -> None:
    check_texts(self)
    for name in ('predictions', 'references', *(['pairs'] if self.pairs else [])):
      given = getattr(self, name)
      if not given or not folders.expanded(given).exists():
        raise wrong(name, given, 'no such file or folder; give one that is here')
    self.flags()

  def flags(self) -> list[str]:
    """The flags of `alphafold-jax evaluate`."""
    pairs = ['--pairs', str(folders.expanded(self.pairs))] if self.pairs else []
    return [*pairs, *(['--every-rank'] if self.every_rank else []), *flags_in(self.more_flags)]


def evaluate(place: Path | str = '.', **form: Any) -> Path:
  """Scores predictions, and returns the folder with the tables and the plot; some may not be scored, which is said.

  Args:
    place: where the folder is made.
    **form: the fields of EvaluationForm.

  Raises:
    InputError: a field cannot be used, or the folder cannot be written; the message names it.
    RunFailed: nothing could be scored.
  """
  filled = EvaluationForm(**form)
  settings = json.dumps(dataclasses.asdict(filled), sort_keys=True).encode()
  folder = atomic.make_folder(Path(place).absolute() / f'evaluation_{hashlib.sha256(settings).hexdigest()[:8]}')
  for name in (TARGETS, PICTURE):
    (folder / name).unlink(missing_ok=True)  # nothing of an earlier run is shown
  paths = [str(folders.expanded(path)) for path in (filled.predictions, filled.references)]
  run(['evaluate', *paths, '--output', str(folder), *filled.flags()], accepted=(0, 1))
  return folder


def table(folder: Path) -> str:
  """The scores of each prediction as an HTML table, those that the file has."""
  with open(folder / TARGETS, encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file))
  columns = [name for name in _SHOWN if any(row.get(name) for row in rows)]
  lines = [''.join(f'<th>{html.escape(name)}</th>' for name in columns)]
  lines += [''.join(f'<td>{html.escape(_rounded(row[name]))}</td>' for name in columns) for row in rows]
  return f'<table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def plot(folder: Path) -> bytes | None:
  """The picture of the evaluation as PNG; None where nothing could be scored."""
  path = folder / PICTURE
  return path.read_bytes() if path.is_file() else None


def _rounded(text: str) -> str:
  """('0.98765') -> '0.988'; other texts as they are."""
  try:
    return f'{float(text):.{_DECIMALS}f}' if '.' in text else text
  except ValueError:
    return text
