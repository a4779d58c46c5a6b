# SPDX-License-Identifier: Apache-2.0
"""A protein's input read, checked, and made into features."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data import complexes
from alphafold_jax.data.alignment import MAX_ROWS, Alignment, encode, parse_query
from alphafold_jax.data.alignment_files import read_a3m
from alphafold_jax.data.chain_table import ChainTable
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.records import head_end
from alphafold_jax.errors import InputError
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
    """The alignment as A3M: the file itself, if its chains stand in this order, or one with insertions as 'x'."""
    query, path = self.job.query, self.job.alignment_path
    if self.job.features is None and path is not None:
      text = read_a3m(path, self.job.contents.read)
      if not query.lengths or _order(text, str(path)) == [encode(one).tobytes() for one in query.chains.sequences]:
        return text
    if (of_chains := _of_chains(self.job)) is not None:
      return complexes.as_text(of_chains, query.chains)
    if self.job.features is None and query.alignment is None:
      return f'>{_one_line(query.name)}\n{query.sequence}\n'
    names = getattr(query.alignment, 'names', None) or [query.name]
    lines, first, columns = _table_of(query.chains)
    msa = self.batch.msa
    rows = zip(np.asarray(msa.tokens)[:, columns], np.asarray(msa.deletions)[:, columns].astype(int))
    for row, (tokens, deletions) in enumerate(rows):
      pairs = zip(tokens.tolist(), deletions.tolist())
      letters = ''.join('x' * count + residues.MSA_ALPHABET[token] for token, count in pairs)
      name = _one_line(names[row], len(query.chains)) if row < len(names) else f'row_{row}'
      name = name if row else first or name
      lines += [f'>{name}', letters if row else ''.join(query.chains.distinct)]
    return '\n'.join(lines) + '\n'

  def write_features(self, out: Path) -> str:
    """Writes the features into a folder, for `--msa-only`; returns the file's name."""
    from alphafold_jax.data import features

    name, query = f'{self.job.name}.features.npz', self.job.query
    metadata: dict[str, Any] = {'name': query.name, 'sequence': query.sequence, 'source': query.source}
    metadata |= {'version': __version__} | ({'chain_names': list(query.chain_names)} if query.chain_names else {})
    features.save_features(out / name, self.batch, metadata, _of_chains(self.job))
    return name


def _of_chains(job: Job) -> complexes.ComplexAlignment | None:
  """The alignments of each chain that a complex's features are made of; None where only one over all is there."""
  query = job.query
  if not job.is_complex or isinstance(query.alignment, Alignment):
    return None
  if job.features is not None:
    from alphafold_jax.data import features

    return features.load_chains(job.features, job.content())
  return query.load_complex(job.contents.read) or complexes.bare(query.chains.distinct)


def _table_of(chains: Chains) -> tuple[list[str], str, np.ndarray]:
  """The line above the alignment of a complex and its first header, none of one chain; columns of distinct chains."""
  columns = np.flatnonzero(chains.sym_id == 1)
  if len(chains) == 1:
    return [], '', columns
  table = ChainTable.of(chains.sequences, chains.distinct)
  return [table.line], table.header, columns


def _one_line(name: str, num_chains: int = 1) -> str:
  """A name without line breaks; between those of several chains there are tabs."""
  return '\t'.join(' '.join(part.split()) for part in (name.split('\t') if num_chains > 1 else [name]))


def _order(text: str, source: str) -> list[bytes]:
  """The residue types of an alignment file's chains, in its order."""
  content = text.encode()
  head = parse_query(content[: head_end(content)].decode(), source)
  return [encode(one).tobytes() for one in head.chains.sequences]


def _made_for(job: Job, batch: Any, merging: complexes.Merging) -> Any:
  """Features of a complex from a file, with the rows that the models of this run take."""
  from alphafold_jax.data import features

  if not job.is_complex:
    return batch
  if (of_chains := _of_chains(job)) is None:
    said = '%s: its features hold no alignments of its chains, so their rows are taken whichever models are run'
    _log.info(said, job.name)
    return batch
  try:
    merged = complexes.merge(of_chains, job.query.chains, merging)
  except InputError as error:
    raise InputError(f'{job.features}: {error}; make the features again') from None
  msa = features.make_batch(merged, num_templates=0, max_rows=MAX_ROWS).msa
  if np.array_equal(msa.tokens, batch.msa.tokens):
    return batch
  said = '%s: its features were made for other models, which take %d of the rows; made anew of %d for those of this run'
  _log.info(said, job.name, len(batch.msa.tokens), len(msa.tokens))
  return dataclasses.replace(batch, msa=msa, couplings=None)


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
    batch = _made_for(job, batch if placed is None else dataclasses.replace(batch, templates=placed), merging)
    return LoadedJob(job, prediction.as_batch(batch, couplings=True) if couplings else batch)
  alignment = job.query.load_alignment(job.contents.read, merging) or job.query.bare_alignment(merging)
  for note in alignment.notes:
    if note not in job.query.notes:
      _log.info('%s: %s', job.name, note)
  return LoadedJob(job, prediction.as_batch(alignment, placed, couplings))
