# SPDX-License-Identifier: Apache-2.0
"""The record of a protein, OUT/{job}.done.txt: what its files are of. It is there only while they are whole."""

import datetime
import itertools
import os
import types
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alphafold_jax import untrusted
from alphafold_jax.choices import ranking
from alphafold_jax.output.files import Prediction
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Job, Keys
from alphafold_jax.version import __version__

_ENDING = '.done.txt'
OF_BEST_INTERFACE = ('ipsae', 'pdockq', 'pdockq2', 'ilis')  # scores of `interfaces` in the record and in summary.csv


def path(out: Path, job: str) -> Path:
  """Where the record of a protein is."""
  return out / f'{job}{_ENDING}'


def jobs(out: Path) -> list[str]:
  """The names of all proteins that have a record, whoever made it, in alphabetical order."""
  return sorted(name.removesuffix(_ENDING) for name in os.listdir(out) if name.endswith(_ENDING))


def read(path: Path, there: Collection[str] | None = None) -> dict[str, Any] | None:
  """The record of a protein, whatever its files were made by; None if there is none, or one of the files is gone.

  Args:
    path: of the record.
    there: names of the files in the output folder, if they are known.
  """
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    names, rows = content['files'], content['predictions']
    complete = all((path.parent / name).exists() for name in names) if there is None else set(names) <= set(there)
    return content if complete and all(isinstance(row, dict) for row in rows) else None
  except (OSError, ValueError, KeyError, TypeError):  # of another program, or damaged
    return None


class EarlierRecord(NamedTuple):
  """What a record says of its files where the journal of these is lost, or of a version that kept none."""

  content: dict[str, Any]
  names: frozenset[str]  # of the files
  tags: tuple[str, ...]  # of the predictions


def unjournalled(path: Path) -> EarlierRecord | None:
  """What the record of a protein says of its files, whole or not; None without a record."""
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    names = frozenset(name for name in content['files'] if os.path.basename(name) == name)
    return EarlierRecord(content, names, tuple(row['tag'] for row in content['predictions']))
  except (OSError, ValueError, KeyError, TypeError):
    return None


def holds(content: Mapping[str, Any], options: Options, input_key: str, keys: Keys) -> bool:
  """Whether a record has all that a run would make, ranked alike, perhaps beside other seeds and models.

  Args:
    content: of the record.
    options: of the run.
    input_key: of the protein's input.
    keys: of the run.
  """
  if not _is_ranked_alike(content, options.rank):
    return False
  if content.get('key') == keys.job(input_key):
    return True
  if content.get('formats') != keys.formats:
    return False
  rows = {(row.get('model'), row.get('seed')): row for row in content['predictions']}
  for model, seed in itertools.product(options.models, options.seeds):
    row = rows.get((model, seed), {})
    if row.get('key') != keys.prediction(input_key, model, seed):
      return False
    if options.score(types.SimpleNamespace(**row)) > options.stop_at_score:
      return True
  return True


def heading(job: Job, num_rows: int, notes: Sequence[str]) -> dict[str, Any]:
  """What the record of a protein begins with.

  Args:
    job: the protein.
    num_rows: of its alignment.
    notes: what must be said of its predictions.
  """
  return {
    'job': job.name,
    'name': job.query.name,
    'source': job.query.source,
    'num_res': job.num_res,
    'num_rows': num_rows,
    'version': __version__,
    'finished': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
    'notes': list(notes),
  }


def of_complex(best: Prediction, rank: str) -> dict[str, Any]:
  """What the record says of several chains beside their scores: what ranks them, and what they are called."""
  return {} if best.iptm is None else {'rank': ranking(rank, best), 'chains': list(best.chain_names)}


def is_of_chains(content: Mapping[str, Any], chain_names: Sequence[str]) -> bool:
  """Whether chains were called so when the files were written."""
  return content.get('chains') in (None, list(chain_names))


def _is_ranked_alike(content: Mapping[str, Any], rank: str) -> bool:
  """Whether the predictions of a complex are ranked as a run would; of one chain the keys say so."""
  rows, ranked = content['predictions'], content.get('rank')
  return ranked is None or not rows or ranked == ranking(rank, types.SimpleNamespace(**rows[0]))


def shown(plddt: float, ptm: float | None, iptm: float | None = None) -> tuple[str, str, str]:
  """Scores in full, pLDDT, pTM and ipTM, as a person sees them: rounded here alone; '' where there is none."""
  return f'{plddt:.1f}', '' if ptm is None else f'{ptm:.2f}', '' if iptm is None else f'{iptm:.2f}'


def told(plddt: float, ptm: float | None, iptm: float | None = None) -> str:
  """The same in a line: 'pLDDT 52.2, pTM 0.41'."""
  return ', '.join(f'{name} {text}' for name, text in zip(('pLDDT', 'pTM', 'ipTM'), shown(plddt, ptm, iptm)) if text)


def row(rank: int, prediction: Prediction, key: str | None, options: Options) -> dict[str, Any]:
  """What the record says of a prediction: its scores in full, which are rounded only where they are shown.

  Of several chains also ipTM, and the scores of the best interface.
  """
  return {
    'rank': rank,
    'tag': prediction.tag,
    'model': prediction.model_name,
    'seed': prediction.seed,
    'key': key,
    'mean_plddt': prediction.mean_plddt,
    'ptm': prediction.ptm,
    **_of_chains(prediction, options.pae_cutoff),
    'passes': len(prediction.passes),
    'seconds': round(prediction.seconds, 2),
  }


def _of_chains(prediction: Prediction, pae_cutoff: float) -> dict[str, float]:
  """The scores that there are of several chains alone."""
  if prediction.iptm is None or (scored := prediction.interface_scores(pae_cutoff)) is None:
    return {}
  best = {name: scored.best(name) for name in OF_BEST_INTERFACE}
  return {'iptm': prediction.iptm, 'actifptm': scored.actifptm, **best}
