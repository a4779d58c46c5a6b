# SPDX-License-Identifier: Apache-2.0
"""Alignments for many proteins: what `alphafold-jax msa` does, for programs too."""

import dataclasses
import functools
import logging
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from alphafold_jax import atomic, sharing
from alphafold_jax.data.queries import Query
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.runs import work
from alphafold_jax.runs.options import search_flags
from alphafold_jax.screen import LOG_ONLY, Screen, number, reporting
from alphafold_jax.search.found import Found, FoundComplex, FoundPairs
from alphafold_jax.search.options import SINGLE, SearchOptions
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
_MAX_FAILURES = 10  # shown at the end


@dataclasses.dataclass
class AlignmentsSummary:
  """How the alignments came out."""

  out: Path
  written: list[Path] = dataclasses.field(default_factory=list)
  kept: int = 0  # proteins that had an alignment already
  failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # protein, message

  @property
  def exit_code(self) -> int:
    """0: all is well; 1: something failed, the rest is done."""
    return int(bool(self.failures))

  def closing(self) -> str:
    """The last lines for a person: what was written and what failed."""
    lines = [f'{number(len(self.written), "alignment")} in {self.out}']
    lines += [f'failed: {name}: {message}' for name, message in self.failures[:_MAX_FAILURES]]
    if (more := len(self.failures) - _MAX_FAILURES) > 0:
      lines.append(f'and {more} more failed; see {self.out / "log.txt"}. The same command tries them again')
    return '\n'.join(lines)


def run(
  source: str | Path | Query | Sequence[Query],
  out: str | Path,
  options: SearchOptions,
  *,
  screen: Screen | None = None,
  command: Sequence[str] | None = None,
  complex: bool = False,
) -> AlignmentsSummary:
  """Searches for homologues of all proteins of a source and writes `OUT/NAME.a3m`.

  Args:
    source: FASTA or CSV file, a directory of these, or queries at hand.
    out: the output folder; made if missing.
    options: how to search.
    screen: what the person sees; None: nothing but what the logger `alphafold_jax` gets.
    command: the command line, for the record.
    complex: whether the records of a FASTA file are the chains of one complex.

  Raises:
    InputError: no protein can be used, `out` cannot be written, or a living command of other settings writes there.
    SearchError: the engine is missing.
  """
  found = work.find(source, takes_bare=True, complex=complex)
  summary = AlignmentsSummary(atomic.make_folder(out))
  flags = search_flags(options)
  with (
    sharing.using(summary.out, 'msa', repr(sorted(flags.items())), flags),
    reporting(summary.out / 'log.txt', screen) as console,
  ):
    _log.info('alphafold_jax %s%s', __version__, f': {shlex.join(command)}' if command else '')
    for warning in found.warnings:
      _log.warning('%s', warning)
    for failure in found.failures:
      _log.error('%s', failure.message)
      summary.failures.append((failure.job, failure.message))
    bare = [job for job in found.jobs if work.is_bare(job)]
    summary.kept = len(found.jobs) - len(bare)
    if summary.kept:
      _log.info('%s with an alignment already: left alone', number(summary.kept, 'protein'))
    write = functools.partial(_write, summary, options)
    ended: Iterable[tuple[work.Job, AlphaFoldError | None]]
    if options.mode == SINGLE:
      ended = [(job, work.try_to_keep(write, job, _nothing(job))) for job in bare]
    else:
      ended = work.search_for(bare, options.make(), options, console, write)
    summary.failures += [(job.name, str(error)) for job, error in ended if error is not None]
    _log.info('%s', summary.closing(), extra=LOG_ONLY)
  return summary


def _nothing(job: work.Job) -> FoundComplex:
  """What is found where nothing is searched for."""
  chains = job.query.chains.distinct
  return FoundComplex(tuple(Found(()) for _ in chains), FoundPairs.none(chains))


def _write(summary: AlignmentsSummary, options: SearchOptions, job: work.Job, found: FoundComplex) -> None:
  """Writes a protein's alignment."""
  path, text = summary.out / f'{job.name}.a3m', work.found_text(job, found, options)
  if path.exists() and path.read_bytes() != text.encode():
    _log.warning('%s: another alignment was there, of another search or sequence; it is replaced', path)
  atomic.write_text(path, text)
  summary.written.append(path)
