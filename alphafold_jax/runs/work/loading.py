# SPDX-License-Identifier: Apache-2.0
"""A protein's input read, checked, and made into features."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data import complexes
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.data.alignment_files import read_a3m
from alphafold_jax.data.chain_table import ChainTable
from alphafold_jax.data.chains import Chains
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedJob:
  """A job whose input was read and checked."""

  job: Job
  batch: Any  # its features, an unpadded schema.Batch

  @property
  def num_rows(self) -> int:
    return len(self.batch.msa.tokens)

  def alignment_text(self) -> str:
    """The alignment as A3M: the file itself, or one made from the features, with insertions as 'x'."""
    query, path = self.job.query, self.job.alignment_path
    if self.job.features is None and path is not None:
      return read_a3m(path, self.job.contents.read)
    if self.job.features is None and query.lengths and not isinstance(query.alignment, Alignment):
      return complexes.as_text(query.load_complex() or complexes.bare(query.chains.distinct), query.chains)
    if self.job.features is None and query.alignment is None:
      return f'>{_one_line(query.name)}\n{query.sequence}\n'
    names = getattr(query.alignment, 'names', None) or [query.name]
    lines, columns = _table_of(query.chains)
    msa = self.batch.msa
    rows = zip(np.asarray(msa.tokens)[:, columns], np.asarray(msa.deletions)[:, columns].astype(int))
    for row, (tokens, deletions) in enumerate(rows):
      pairs = zip(tokens.tolist(), deletions.tolist())
      letters = ''.join('x' * count + residues.MSA_ALPHABET[token] for token, count in pairs)
      name = _one_line(names[row]) if row < len(names) else f'row_{row}'
      lines += [f'>{name}', letters if row else ''.join(query.chains.distinct)]
    return '\n'.join(lines) + '\n'

  def write_features(self, out: Path) -> str:
    """Writes the features into a folder, for `--msa-only`; returns the file's name."""
    from alphafold_jax.data import features

    name, query = f'{self.job.name}.features.npz', self.job.query
    metadata: dict[str, Any] = {'name': query.name, 'sequence': query.sequence, 'source': query.source}
    metadata |= {'version': __version__} | ({'chain_names': list(query.chain_names)} if query.chain_names else {})
    features.save_features(out / name, self.batch, metadata)
    return name


def _table_of(chains: Chains) -> tuple[list[str], np.ndarray]:
  """The line above the alignment of a complex, none of one chain; and the columns of its distinct chains."""
  line = ChainTable(tuple(map(len, chains.distinct)), chains.copies).line
  return [line] if len(chains) > 1 else [], np.flatnonzero(chains.sym_id == 1)


def _one_line(name: str) -> str:
  return ' '.join(name.split())


def load(
  job: Job, templates: Any | None, couplings: bool = False, merging: complexes.Merging = complexes.COLABFOLD
) -> LoadedJob:
  """Reads and checks a job's input, and makes features of it.

  Args:
    job: what to read.
    templates: the source that places some on it; None: there are none.
    couplings: whether those of its alignment are computed, for models that take them.
    merging: which rows are taken of the alignments of a complex.

  Raises:
    InputError: it cannot be used.
  """
  from alphafold_jax import prediction
  from alphafold_jax.data import features

  placed = templates.place(job) if templates else None
  if job.features is not None:
    batch, _ = features.load_features(job.features, job.content())
    batch = batch if placed is None else dataclasses.replace(batch, templates=placed)
    return LoadedJob(job, prediction.as_batch(batch, couplings=True) if couplings else batch)
  alignment = job.query.load_alignment(job.contents.read, merging) or job.query.bare_alignment(merging)
  for note in alignment.notes:
    if note not in job.query.notes:
      _log.info('%s: %s', job.name, note)
  return LoadedJob(job, prediction.as_batch(alignment, placed, couplings))
