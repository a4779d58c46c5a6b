# SPDX-License-Identifier: Apache-2.0
"""jackhmmer's search, one iteration, as AlphaFold 2.3.2 runs it, in this process (pyhmmer).

The first iteration builds a model of the query alone and searches all sequences with it. A database is read once for
many queries, chunk by chunk; best.py keeps the hits that can still become rows.
"""

import collections
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import os
import platform
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from alphafold_jax import installed
from alphafold_jax.data.alignment import checked
from alphafold_jax.errors import AlphaFoldError, InputError, ResourceError, SearchError
from alphafold_jax.screen import number
from alphafold_jax.search import fasta
from alphafold_jax.search.best import Best, Domain, Hit
from alphafold_jax.search.databases import FASTA, Database, identity, in_order
from alphafold_jax.search.found import Found, Result, Rows, Watch

SETTINGS = {  # AlphaFold 2.3.2, data/tools/jackhmmer.py
  'F1': 5e-4,
  'F2': 5e-5,
  'F3': 5e-7,  # --F1, --F2, --F3
  'E': 1e-4,
  'incE': 1e-4,  # -E, --incE
  'domE': 10.0,
  'incdomE': 1e-3,  # jackhmmer's defaults
}
_LONGEST_TARGET = 100_000  # residues; HMMER compares no longer ones
_GROUP = 50_000  # residues of all queries that share a reading; bounds what their rows take
_QUERY_NAME = 'query'
_FAILURES = (ValueError, RuntimeError, OverflowError)  # of pyhmmer

_T = TypeVar('_T')


@dataclasses.dataclass(eq=False)
class _Query:
  """One sequence that is searched for."""

  index: int
  sequence: str
  model: Any = None  # pyhmmer.plan7.OptimizedProfile; each search changes a copy
  error: AlphaFoldError | None = None
  rows: list[Rows] = dataclasses.field(default_factory=list)

  @contextlib.contextmanager
  def failing_alone(self) -> Iterator[None]:
    """An error inside the block becomes the result of this sequence, and the others go on."""
    what = f'sequence {self.index + 1} ({len(self.sequence)} residues)'
    try:
      yield
    except AlphaFoldError as error:
      self.error = error
    except MemoryError:
      self.error = ResourceError(f'{what}: not enough memory to search with it; use fewer threads, or cut it in parts')
    except _FAILURES as error:
      self.error = SearchError(f'{what}: HMMER cannot search with it ({error})')


class _Block:
  """A chunk of a database, digitized once for all threads that search it."""

  def __init__(self, chunk: fasta.Chunk, alphabet: Any):
    self.chunk = chunk
    self._alphabet = alphabet
    self._lock = threading.Lock()

  def targets(self) -> tuple[Any, int]:
    """Its sequences (`pyhmmer.easel.DigitalSequenceBlock`), and the number of those left out as too long."""
    with self._lock:
      return self._targets

  @functools.cached_property
  def _targets(self) -> tuple[Any, int]:
    targets = fasta.digitize(self.chunk, self._alphabet)
    short = [target for target in targets if len(target) <= _LONGEST_TARGET]
    num_skipped = len(targets) - len(short)
    return (type(targets)(targets.alphabet, short) if num_skipped else targets), num_skipped


class _BlockHits(NamedTuple):
  """What some queries found in a block."""

  num_targets: int
  num_skipped: int
  hits: list[tuple[_Query, list[Hit]]]


class Hmmer:
  """The engine `hmmer`."""

  name = 'hmmer'

  def __init__(self, databases: Sequence[Database], num_threads: int):
    """Checks packages and databases.

    Args:
      databases: FASTA files.
      num_threads: that search; one more reads.

    Raises:
      InputError: no database, or one that is no FASTA file or is not there.
      SearchError: pyhmmer is not installed.
    """
    if not databases:
      raise InputError('the engine hmmer searches FASTA files, and none is given; name them with --database')
    for database in databases:
      if database.kind != FASTA:
        raise InputError(
          f'{database.path}: the engine hmmer searches FASTA files, and this is no {FASTA} but an '
          f'{database.kind}; name the FASTA file, or choose another engine'
        )
    self._plan7 = installed.module('pyhmmer.plan7')
    self._easel = installed.module('pyhmmer.easel')
    self._alphabet = self._easel.Alphabet.amino()
    self._databases = in_order(databases)
    self._stats = [_stat(database.path) for database in self._databases]
    self._num_threads = num_threads
    self._of_thread = threading.local()

  def identity(self) -> Mapping[str, Any]:
    """All that shapes what is found."""
    return {
      'program': f'pyhmmer {self._easel.__version__}',
      'settings': SETTINGS | {'longest_target': _LONGEST_TARGET},
      'databases': [identity(one) | {'max_rows': one.settings.max_rows} for one in self._databases],
    }

  def search(self, sequences: Sequence[str], watch: Watch) -> Iterator[Result]:
    """See `Engine.search`; the results of sequences that share a reading of the databases come together."""
    groups = collections.deque(_groups(sequences))
    total = len(groups) * sum(stat.st_size for stat in self._stats)
    done = 0
    with _workers(self._num_threads) as (pool, stop):
      while groups:
        group = groups.popleft()
        list(pool.map(functools.partial(self._build, stop=stop), group))
        notes: list[str] = []
        for database, stat in zip(self._databases, self._stats, strict=True):
          _check_unchanged(database.path, stat)
          for position, text in self._search_database(database, group, pool, stop, notes):
            watch((done + position) / total, text)
          _check_unchanged(database.path, stat)
          done += stat.st_size
        for query in group:
          yield query.index, query.error or Found(tuple(query.rows), notes=tuple(notes))

  def _build(self, query: _Query, stop: threading.Event) -> None:
    """Makes the model that jackhmmer makes of a query for its first iteration; runs in a worker."""
    if stop.is_set():
      return
    with query.failing_alone():
      letters = checked(query.sequence, f'number {query.index + 1}')
      sequence = self._easel.TextSequence(name=_QUERY_NAME, sequence=letters).digitize(self._alphabet)
      background = self._plan7.Background(self._alphabet)
      _, _, query.model = self._plan7.Builder(self._alphabet).build(sequence, background)

  def _search_database(
    self, database: Database, group: Sequence[_Query], pool: ThreadPoolExecutor, stop: threading.Event, notes: list[str]
  ) -> Iterator[tuple[int, str]]:
    """Adds to each query its rows of one database; yields the progress, in bytes of the file and as a text."""
    queries = [query for query in group if query.error is None]
    best = {query: Best(database.settings.max_rows, SETTINGS['incE'], SETTINGS['incdomE']) for query in queries}
    shares = [queries[i :: self._num_threads] for i in range(min(self._num_threads, len(queries)))]
    if not queries:
      return

    def begun() -> Iterator[tuple[int, list[Future[_BlockHits]]]]:
      search = self._search_block if len(queries) > 1 else self._search_alone
      for chunk in fasta.chunks(database.path):
        block = _Block(chunk, self._alphabet)
        yield chunk.position, [pool.submit(search, block, share, stop) for share in shares]

    num_targets = num_skipped = 0
    for position, futures in _some_ahead(begun(), 2 * self._num_threads + 2):
      parts = [future.result() for future in futures]
      num_targets += parts[0].num_targets
      num_skipped += parts[0].num_skipped
      for query, hits in itertools.chain.from_iterable(part.hits for part in parts):
        best[query].add(hits, num_targets)
      yield position, f'{database.path.name}: {number(num_targets, "sequence")} searched'
    for query in queries:
      records, num_found = best[query].records(num_targets)
      query.rows.append(Rows(database.role, ''.join([f'>{_QUERY_NAME}\n{query.sequence}\n', *records]), num_found))
    if num_skipped:
      skipped = f'{number(num_skipped, "sequence")} of more than {_LONGEST_TARGET:,} residues'
      notes.append(f'{database.path}: {skipped} not searched')

  def _search_block(self, block: _Block, queries: Sequence[_Query], stop: threading.Event) -> _BlockHits:
    """Searches the block with several queries; runs in a worker."""
    targets, num_skipped = block.targets()
    found = []
    for query in queries:
      if stop.is_set():
        break
      with query.failing_alone():
        if query.error is None:
          found.append((query, _kept(self._pipeline().search_hmm(query.model.copy(), targets), query)))
    return _BlockHits(len(targets), num_skipped, found)

  def _search_alone(self, block: _Block, queries: Sequence[_Query], stop: threading.Event) -> _BlockHits:
    """Searches the block with one query, which is faster while reading; runs in a worker."""
    [query] = queries
    with contextlib.suppress(OSError, *_FAILURES):  # _search_block names or leaves out what is wrong
      with fasta.as_file(block.chunk, self._alphabet) as targets:
        hits = self._pipeline().search_hmm(query.model.copy(), targets)
        return _BlockHits(hits.searched_sequences, 0, [(query, _kept(hits, query))])
    return self._search_block(block, queries, stop)

  def _pipeline(self) -> Any:
    """The thread's own `pyhmmer.plan7.Pipeline`."""
    if not hasattr(self._of_thread, 'pipeline'):
      self._of_thread.pipeline = self._plan7.Pipeline(self._alphabet, **SETTINGS)
    self._of_thread.pipeline.clear()
    return self._of_thread.pipeline


def _kept(hits: Any, query: _Query) -> list[Hit]:
  """The hits of a `pyhmmer.plan7.TopHits`."""
  return [_hit(hit, len(query.sequence)) for hit in hits.reported]


def _hit(hit: Any, num_res: int) -> Hit:
  domains = []
  for domain in hit.domains:
    if domain.pvalue <= SETTINGS['incdomE']:
      row = domain.alignment
      before, behind = '-' * (row.hmm_from - 1), '-' * (num_res - row.hmm_to)
      record = f'>{hit.name}/{row.target_from}-{row.target_to}\n{before}{row.target_sequence}{behind}\n'
      domains.append(Domain(domain.pvalue, record))
  return Hit(hit.score, hit.name, hit.pvalue, tuple(domains))


def _groups(sequences: Sequence[str]) -> Iterator[list[_Query]]:
  """The sequences in groups that share a reading of the databases."""
  group: list[_Query] = []
  size = 0
  for index, sequence in enumerate(sequences):
    if group and size + len(sequence) > _GROUP:
      yield group
      group, size = [], 0
    group.append(_Query(index, sequence))
    size += len(sequence)
  if group:
    yield group


@contextlib.contextmanager
def _workers(num_threads: int) -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
  """Threads, and the event at which they stop; when the block ends they have stopped."""
  stop = threading.Event()
  pool = ThreadPoolExecutor(num_threads, 'hmmer', _flush_to_zero)
  try:
    yield pool, stop
  finally:
    stop.set()
    pool.shutdown(cancel_futures=True)


def _flush_to_zero() -> None:
  """Makes this thread's arithmetic flush subnormal numbers to zero, as HMMER's programs do and pyhmmer does not.

  This takes a third off the time where there are many hits. Only on Linux with x86-64; elsewhere nothing changes.
  """
  if sys.platform == 'linux' and platform.machine() == 'x86_64':
    with contextlib.suppress(OSError):
      library = ctypes.CDLL('libm.so.6')
      environment = (ctypes.c_uint32 * 8)()  # fenv_t: seven words of the x87, then MXCSR
      if library.fegetenv(environment) == 0:
        environment[7] |= 1 << 15  # flush to zero
        library.fesetenv(environment)


def _some_ahead(items: Iterator[_T], number: int) -> Iterator[_T]:
  """The items; `number` of them are begun before they are needed."""
  taken: collections.deque[_T] = collections.deque(itertools.islice(items, number))
  while taken:
    taken.extend(itertools.islice(items, 1))
    yield taken.popleft()


def _stat(path: Path) -> os.stat_result:
  try:
    return path.stat()
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror})') from None


def _check_unchanged(path: Path, before: os.stat_result) -> None:
  """Refuses a file that is not what it was."""
  now = _stat(path)
  if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
    raise InputError(f'{path}: the database changed while it was searched; run again when it is complete')
