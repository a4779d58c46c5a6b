# SPDX-License-Identifier: Apache-2.0
"""What a person may choose about a search, checked before anything is searched; and the engines made from it."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphafold_jax import folders, machine
from alphafold_jax.arguments import wrong
from alphafold_jax.choices import (
  ENV_PAIRS,
  GREEDY,
  MSA_MODES,
  PAIR_MODES,
  PAIR_STRATEGIES,
  PUBLIC_HOST,
  SERVER_MODES,
  SINGLE,
  UNPAIRED,
  UNPAIRED_PAIRED,
)
from alphafold_jax.errors import InputError
from alphafold_jax.naming import listed
from alphafold_jax.screen import number
from alphafold_jax.search import databases
from alphafold_jax.search.cache import SearchCache
from alphafold_jax.search.databases import FASTA, HHSUITE, MMSEQS, Database
from alphafold_jax.search.finding import Search
from alphafold_jax.search.found import Engine, NoPairs, PairEngine, TemplateEngine

if TYPE_CHECKING:
  from alphafold_jax.search.server.host import Host

PASSWORD, API_KEY = 'ALPHAFOLD_JAX_HOST_PASSWORD', 'ALPHAFOLD_JAX_HOST_API_KEY'  # never on a command line
API_KEY_HEADER = 'ALPHAFOLD_JAX_HOST_API_KEY_HEADER'
_MOST_HITS = 20  # templates looked at; AlphaFold's number
_KIND_OF_MODE = {'hmmer': FASTA, 'mmseqs2': MMSEQS}


@dataclasses.dataclass(frozen=True)
class SearchOptions:
  """How homologues and templates are searched for; the names are those of the flags."""

  mode: str
  databases: tuple[str | Path, ...] = ()  # ROLE=PATH or PATH
  templates: bool = False  # search for templates as well
  local_pdb_path: str | Path | None = None  # folder of the structures that templates are taken from
  obsolete_pdbs_path: str | Path | None = None  # the PDB's obsolete.dat
  max_template_date: str | None = None  # YYYY-MM-DD; younger structures are no templates
  max_template_hits: int = _MOST_HITS
  host_url: str = PUBLIC_HOST
  host_user: str | None = None  # for basic authentication; the password is in an environment variable
  offline: bool = False  # refuse whatever would contact another machine
  num_threads: int | None = None  # of the engine; None: as many as there are processors
  gpu: bool = False  # MMseqs2's own
  search_cache: str | Path | None = None  # a folder; None: $ALPHAFOLD_JAX_SEARCHES or the user's cache
  pair_mode: str = UNPAIRED_PAIRED  # which rows the alignment of a complex has
  pair_strategy: str = GREEDY  # whether a taxon must be found for all chains

  def __post_init__(self) -> None:
    for name, choices in (('mode', MSA_MODES), ('pair_mode', PAIR_MODES), ('pair_strategy', PAIR_STRATEGIES)):
      if (value := getattr(self, name)) not in choices:
        shown = 'msa_mode' if name == 'mode' else name
        raise wrong(shown, value, f'choose one of {", ".join(choices)}')
    if self.num_threads is not None and self.num_threads < 1:
      raise wrong('num_threads', self.num_threads, 'must be 1 or more')
    self._check_use()
    if self.offline and self.uses_server:
      raise InputError(
        f'--offline forbids --msa-mode {self.mode}, which sends the sequences to {self.host_url}; '
        f'choose {" or ".join(_KIND_OF_MODE)} with --database'
      )
    if self.uses_server and self.databases:
      raise InputError(f'--database: not used by --msa-mode {self.mode}, where the server has its own; leave it out')
    if (kind := _KIND_OF_MODE.get(self.mode)) and not databases.of_kind(self.parsed, kind, templates=False):
      article = 'an' if kind.startswith('M') else 'a'
      raise InputError(
        f'--msa-mode {self.mode} needs {article} {kind}; name it by --database PATH'
        + (f' (`alphafold-jax db build` makes one of a {FASTA})' if kind == MMSEQS else '')
        + ''.join(f'; {one.path} only pairs the chains of complexes' for one in databases.for_pairs(self.parsed, kind))
      )
    self._check_kinds()
    self._check_templates()

  def _check_use(self) -> None:
    """Refuses flags that the chosen way of searching would ignore."""
    uses = {  # flag -> whether it is given, where it is of use, whether that is so
      '--host-url': (self.host_url != PUBLIC_HOST, '--msa-mode server', self.uses_server),
      '--host-user': (self.host_user, '--msa-mode server', self.uses_server),
      '--gpu': (self.gpu, '--msa-mode mmseqs2', self.mode == 'mmseqs2'),
      '--pair-mode': (self.pair_mode != UNPAIRED_PAIRED, 'a search', self.mode != SINGLE),
      '--pair-strategy': (self.pair_strategy != GREEDY, 'a search for pairs', self.wants_pairs),
      '--local-pdb-path': (self.local_pdb_path, '--templates', self.templates and not self.uses_server),
      '--obsolete-pdbs-path': (self.obsolete_pdbs_path, '--templates', self.templates),
      '--max-template-date': (self.max_template_date, '--templates', self.templates),
      '--max-template-hits': (self.max_template_hits != _MOST_HITS, '--templates', self.templates),
    }
    for flag, (given, where, useful) in uses.items():
      if given and not useful:
        remote = ' (a server sends its own structures)' if flag == '--local-pdb-path' and self.uses_server else ''
        raise InputError(f'{flag}: of use only with {where}{remote}; leave it out')

  def _check_kinds(self) -> None:
    """Refuses databases that the chosen way of searching would ignore."""
    for database in self.parsed:
      if not database.settings.templates and database.kind != _KIND_OF_MODE.get(self.mode):
        raise InputError(f'--database {database.path}: a {database.kind}, which --msa-mode {self.mode} cannot search')
      if database.settings.pairs and not self.wants_pairs:
        raise InputError(
          f'--database {database.path}: only pairs the chains of complexes, which --pair-mode {UNPAIRED} does not; '
          'leave it out'
        )
      if database.settings.templates and not self.templates:
        raise InputError(
          f'--database {database.path}: sequences of known structures, used only with --templates; add '
          'that flag, or say ROLE=PATH if it is another kind of database'
        )

  def _check_templates(self) -> None:
    """Refuses a search for templates without something to search, or without structures."""
    if not self.templates:
      return
    if self.mode == SINGLE:
      raise InputError(
        f'--templates: they are found by the alignment, and --msa-mode {SINGLE} makes none; give '
        'structures by --custom-template-path instead'
      )
    if not self.uses_server and self.template_database is None:
      raise InputError(
        '--templates needs the sequences of known structures: name them by --database '
        'pdb_seqres=FILE.txt (hmmsearch) or --database pdb70=PATH (hhsearch)'
      )
    if len(several := [one for one in self.parsed if one.settings.templates]) > 1:
      raise InputError(
        f'--database: {" and ".join(str(one.path) for one in several)} are both sequences of known '
        'structures; templates are searched for in one, name that'
      )
    if self.structures is None:
      raise InputError(
        '--templates needs the structures themselves: name their folder (mmCIF or PDB files, also .gz) '
        'by --local-pdb-path'
      )
    if not self.uses_server and not self.structures.is_dir():
      raise InputError(f'--local-pdb-path {self.local_pdb_path}: no such folder')
    if not self.uses_server and not any(path.is_file() for path in self.structures.rglob('*')):
      raise InputError(f'--local-pdb-path {self.structures}: there is no file in it; it holds the structures')
    if self.max_template_hits < 1:
      raise wrong('max_template_hits', self.max_template_hits, 'must be 1 or more')

  @property
  def wants_pairs(self) -> bool:
    """Whether pairs are searched for, where a complex has two or more distinct chains."""
    return self.mode != SINGLE and self.pair_mode != UNPAIRED

  @property
  def uses_server(self) -> bool:
    """Whether sequences are sent to another machine."""
    return self.mode in SERVER_MODES

  @functools.cached_property
  def parsed(self) -> tuple[Database, ...]:
    """The databases; a folder stands for those in it that the search can use."""
    found: list[Database] = []
    for text in map(str, self.databases):
      folder = folders.expanded(text)
      for one in self._usable_in(folder) if folder.is_dir() else [databases.parse(text)]:
        if _use(one) in map(_use, found):
          raise InputError(f'--database {text}: {one.path} is given twice; name it once')
        found.append(one)
    return tuple(found)

  @functools.cached_property
  def left_out(self) -> tuple[Database, ...]:
    """The databases in the folders given that are not searched: of another kind, or with a role that must be named."""
    named = {one.path.resolve() for one in self.parsed}
    folders_given = [folder for text in self.databases if (folder := folders.expanded(text)).is_dir()]
    there = (one for folder in folders_given for one in databases.found_in(folder))
    return tuple(one for one in there if one.path.resolve() not in named)

  def _usable_in(self, folder: Path) -> list[Database]:
    """The databases in a folder that have a known role in such a search; InputError if there is none."""
    everything = databases.found_in(folder)
    there = [one for one in everything if not one.settings.only_if_named]
    kind = _KIND_OF_MODE.get(self.mode, '')
    usable = databases.of_kind(there, kind, templates=False)
    usable += databases.for_pairs(there, kind) if self.wants_pairs else []
    usable += [one for kind in self._template_kinds for one in databases.of_kind(there, kind, templates=True)][:1]
    if not usable:
      shown = listed(f'{one.path.relative_to(folder)} ({one.kind}, {one.role})' for one in everything)
      shown = shown or f'none among {number(len(list(folder.iterdir())), "item")}'
      raise InputError(
        f'--database {folder}: a folder without a database that --msa-mode {self.mode} can search; '
        f'databases in it: {shown}. Name files, as ROLE=PATH where the name does not show the role'
      )
    return usable

  @property
  def _template_kinds(self) -> tuple[str, ...]:
    """Kinds of databases in which templates can be searched, the preferred first."""
    if not self.templates:
      return ()
    return (MMSEQS, FASTA, HHSUITE) if self.mode == 'mmseqs2' else (FASTA, HHSUITE)

  @property
  def threads(self) -> int:
    """How many the engine uses."""
    return self.num_threads or machine.num_processors()

  @property
  def template_database(self) -> Database | None:
    """The database that is searched for templates; None if there is none."""
    chosen = (one for kind in self._template_kinds for one in databases.of_kind(self.parsed, kind, templates=True))
    return next(chosen, None)

  def make(self) -> Search:
    """The search as asked for.

    Raises:
      SearchError: a package or program is missing.
      InputError: a database cannot be read, or the cache cannot be written.
    """
    cache = SearchCache(self.search_cache)
    engine = _ENGINES['server' if self.uses_server else self.mode](self, cache)
    return Search(engine, self._template_engine(), cache, lambda: self._pair_engine(cache))

  @property
  def structures(self) -> Path | None:
    """The folder of the structures that templates are taken from; None if it is not known."""
    if self.uses_server:
      return _structures_of(Path(self.search_cache or folders.user_cache('searches')))
    if self.local_pdb_path is not None:
      return folders.expanded(self.local_pdb_path)
    beside = (folders.expanded(text) / 'pdb_mmcif' / 'mmcif_files' for text in self.databases)  # as AlphaFold has it
    return next((folder for folder in beside if folder.is_dir()), None)

  def _template_engine(self) -> TemplateEngine | None:
    """The engine that searches for templates by the alignment; None if no search is wanted or `Engine` does it."""
    database = self.template_database
    if database is None or database.kind == MMSEQS or self.uses_server:
      return None
    from alphafold_jax.search.templates import engines

    return engines.make(database, self.threads)

  def _pair_engine(self, cache: SearchCache) -> PairEngine:
    """The engine that finds pairs; it is made when the first complex needs it."""
    return _PAIR_ENGINES['server' if self.uses_server else self.mode](self, cache) if self.wants_pairs else NoPairs()

  def as_json(self) -> dict[str, Any]:
    """The options as JSON can hold them."""
    plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    plain['databases'] = [str(text) for text in self.databases]
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def _use(database: Database) -> tuple[Path, bool]:
  """A file may serve for alignments and for pairs, but for neither twice."""
  return database.path.resolve(), database.settings.pairs


def _structures_of(folder: Path) -> Path:
  """Where a server's structures are kept."""
  return folders.expanded(folder) / 'structures'


def _hmmer(options: SearchOptions, _: SearchCache) -> Engine:
  from alphafold_jax.search.hmmer import Hmmer

  return Hmmer(databases.of_kind(options.parsed, FASTA, templates=False), options.threads)


def _hmmer_pairs(options: SearchOptions, _: SearchCache) -> PairEngine:
  from alphafold_jax.search.uniprot import UniProtPairs

  if chosen := databases.for_pairs(options.parsed, FASTA):
    return UniProtPairs(chosen, options.threads, options.pair_strategy)
  return NoPairs('no UniProt database was named (--database uniprot=FILE)')


def _mmseqs(options: SearchOptions, _: SearchCache) -> Engine:
  from alphafold_jax.search.mmseqs.engine import MMseqs, MMseqsSettings

  chosen = databases.of_kind(options.parsed, MMSEQS, templates=False)
  if options.template_database is not None and options.template_database.kind == MMSEQS:
    chosen.append(options.template_database)
  return MMseqs(chosen, options.threads, MMseqsSettings(gpu=options.gpu))


def _mmseqs_pairs(options: SearchOptions, _: SearchCache) -> PairEngine:
  from alphafold_jax.search.mmseqs import pairs
  from alphafold_jax.search.mmseqs.profile_search import MMseqsSettings

  if chosen := pairs.with_taxa(options.parsed):
    return pairs.MMseqsPairs(chosen, options.threads, options.pair_strategy, MMseqsSettings(gpu=options.gpu))
  searched = [one for one in options.parsed if one.kind == MMSEQS and not one.settings.templates]
  names = ', '.join(f'{one.path}_mapping' for one in searched)
  return NoPairs(f'the taxa of the databases are not known ({names}: not there; see docs/search.md)')


def _server(options: SearchOptions, cache: SearchCache) -> Engine:
  from alphafold_jax.search.server.engine import Server

  return Server(_host(options, cache))


def _server_pairs(options: SearchOptions, cache: SearchCache) -> PairEngine:
  from alphafold_jax.search.server.pairs import ServerPairs

  return ServerPairs(_host(options, cache), options.pair_strategy, use_env=options.mode == ENV_PAIRS)


def _host(options: SearchOptions, cache: SearchCache) -> 'Host':
  from alphafold_jax.search.server.client import Credentials
  from alphafold_jax.search.server.host import Host

  credentials = Credentials()
  if options.host_url != PUBLIC_HOST:  # which asks for none, and must not get those of another server
    credentials = Credentials(
      user=options.host_user,
      password=os.environ.get(PASSWORD),
      key=os.environ.get(API_KEY),
      key_header=os.environ.get(API_KEY_HEADER, Credentials.key_header),
    )
  return Host(
    url=options.host_url,
    use_env=SERVER_MODES[options.mode],
    templates=options.templates,
    credentials=credentials,
    structures=_structures_of(cache.folder),
    tickets=cache.folder / 'tickets',
  )


_ENGINES: dict[str, Callable[[SearchOptions, SearchCache], Engine]] = {
  'hmmer': _hmmer,
  'mmseqs2': _mmseqs,
  'server': _server,
}
_PAIR_ENGINES: dict[str, Callable[[SearchOptions, SearchCache], PairEngine]] = {
  'hmmer': _hmmer_pairs,
  'mmseqs2': _mmseqs_pairs,
  'server': _server_pairs,
}
