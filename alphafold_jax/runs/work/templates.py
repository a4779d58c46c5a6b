# SPDX-License-Identifier: Apache-2.0
"""Where templates come from: structures that a person gives, with or without their places, or those a search found.

All place templates on a protein (`place`) and say what shapes them: for all proteins of a run (`identity`) and for
one of them (`identity_for`). Of a complex each chain has templates of its own.
"""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders, untrusted
from alphafold_jax.choices import MAX_TEMPLATES
from alphafold_jax.errors import InputError
from alphafold_jax.runs.work import keys
from alphafold_jax.runs.work.inputs import Inputs, Job
from alphafold_jax.screen import number
from alphafold_jax.search.found import TemplateHit
from alphafold_jax.search.options import SearchOptions

_log = logging.getLogger(__name__)


def log_placed(who: str, template: Any) -> None:
  shares = 100 * template.identity, 100 * template.coverage
  _log.info('%s: template %s: %.0f%% identical, covers %.0f%%', who, template.name, *shares)


def chains_of(job: Job) -> list[tuple[str, str]]:
  """What a protein is called in messages, and its sequence; of a complex each of its chains."""
  if not job.is_complex:
    return [(job.name, job.query.sequence)]
  chains = job.query.chains
  return [(f'{job.name}, chain {name}', one) for name, one in zip(chains.names, chains.sequences, strict=True)]


def _first_of_each(job: Job) -> dict[str, str]:
  """The distinct sequences of a protein, in order, and what their first chain is called in messages."""
  found: dict[str, str] = {}
  for who, sequence in chains_of(job):
    found.setdefault(sequence, who)
  return found


def stacked(job: Job, placed: Sequence[Sequence[Any]]) -> Any | None:
  """The templates of each chain as schema.Templates; None if there is none."""
  from alphafold_jax.data import templates

  if not any(placed):
    return None
  if job.is_complex:
    return templates.joined(job.query.chains, placed, MAX_TEMPLATES)
  return templates.stack_templates(placed[0], MAX_TEMPLATES)


class _FromFiles:
  """Templates from files that are all read when the run begins."""

  files: list[Path]
  notes: tuple[str, ...] = ()  # what a person must know before the run

  def identity(self) -> str:
    """A digest of all files."""
    return keys.of_files(self.files)

  def facts(self) -> dict[str, str]:
    """For the record of a run: each file's digest."""
    return {str(file): keys.of_files([file]) for file in self.files}


class GivenStructures(_FromFiles):
  """Structures given by a person, for every protein of the run."""

  _KINDS = ('.cif', '.mmcif', '.pdb', '.ent')

  def __init__(self, path: str | Path):
    path = folders.expanded(path)
    self.files = [path]
    if os.path.isdir(path):
      self.files = [entry for entry in sorted(path.iterdir()) if self._is_structure(entry)]
      if not self.files:
        raise InputError(f'{path}: the folder holds no structure; give .cif, .mmcif, .pdb or .ent files (also .gz)')
    elif os.path.lexists(path):
      from alphafold_jax.data.structures import read_chains

      read_chains(path)  # InputError: not a structure, or a broken link
    else:
      raise InputError(f'{path}: no such file or folder of templates')

  def _is_structure(self, path: Path) -> bool:
    name = path.name.lower().removesuffix('.gz')
    return not os.path.isdir(path) and not name.startswith('.') and name.endswith(self._KINDS)

  def identity_for(self, job: Job) -> None:
    """Nothing: the structures are the same for every protein."""

  def place(self, job: Job) -> Any | None:
    """The best structures on a protein's residues as schema.Templates; None, with the reasons logged, if none fits."""
    found = {sequence: self._for_chain(who, sequence) for sequence, who in _first_of_each(job).items()}
    return stacked(job, [found[sequence] for _, sequence in chains_of(job)])

  def _for_chain(self, who: str, sequence: str) -> list[Any]:
    """The best structures on the residues of a chain, at most as many as there are slots."""
    from alphafold_jax.data import templates

    found, skipped = [], []
    for file in self.files:
      try:
        template = templates.template_from_structure(sequence, file)
      except InputError as error:
        skipped.append(f'template {file.name} skipped: {error}')
        continue
      if template.identity < templates.MIN_IDENTITY or template.coverage < templates.MIN_COVERAGE:
        skipped.append(
          f'template {template.name} skipped: {template.identity:.0%} of the aligned residues are identical (needed '
          f'{templates.MIN_IDENTITY:.0%}), {template.coverage:.0%} of the protein is covered (needed '
          f'{templates.MIN_COVERAGE:.0%})'
        )
      else:
        found.append(template)
    found.sort(key=lambda template: -template.identity * template.coverage)
    for reason in skipped:
      _log.info('%s: %s', who, reason)
    if not found:
      _log.warning('%s: no template fits; %s%s', who, skipped[0], ', ...' * (len(skipped) > 1))
    for template in found[MAX_TEMPLATES:]:
      _log.info('%s: template %s left out: %d others fit better', who, template.name, MAX_TEMPLATES)
    for template in found[:MAX_TEMPLATES]:
      log_placed(who, template)
    return found[:MAX_TEMPLATES]


class FoundStructures:
  """Structures that a search found for each protein, taken from a folder."""

  notes: tuple[str, ...] = ()

  def __init__(self, options: SearchOptions):
    from alphafold_jax.search.templates import choice, library

    assert options.structures is not None  # SearchOptions has seen to it
    if options.uses_server:  # which fills the folder
      atomic.make_folder(options.structures)
    self._library = library.StructureFolder(options.structures, options.obsolete_pdbs_path)
    self._settings = choice.TemplateLimits(min(MAX_TEMPLATES, options.max_template_hits), options.max_template_date)

  def identity(self) -> str:
    """What the choice among hits depends on."""
    return keys.of_json(vars(self._settings))

  def identity_for(self, job: Job) -> str | None:
    """A protein's hits, and the files that hold their structures."""
    if job.hits is None:
      return None
    digests = [
      keys.of_json([[dataclasses.astuple(hit) for hit in hits], [self._file_of(hit) for hit in hits]])
      for hits in _hits_of(job)
    ]
    return keys.of_json(digests) if job.is_complex else digests[0]

  def _file_of(self, hit: TemplateHit) -> list[Any]:
    """What identifies the file of a hit: name, size and time, since there are too many to read them all."""
    try:
      path = self._library.find(hit.entry, hit.chain)
      return [path.name, path.stat().st_size, path.stat().st_mtime_ns]
    except InputError:
      return []

  def facts(self) -> dict[str, str]:
    """For the record of a run."""
    return {'folder': str(self._library.folder.absolute())}

  def place(self, job: Job) -> Any | None:
    """The best of a protein's hits as schema.Templates; None, with the reasons logged, if none is left."""
    if job.hits is None:
      return None
    hits = zip(_first_of_each(job).items(), _hits_of(job), strict=True)
    found = {sequence: self._for_chain(who, sequence, of_chain) for (sequence, who), of_chain in hits}
    return stacked(job, [found[sequence] for _, sequence in chains_of(job)])

  def _for_chain(self, who: str, sequence: str, hits: list[TemplateHit]) -> Sequence[Any]:
    """The best of a chain's hits."""
    from alphafold_jax.search.templates import choice

    chosen = choice.choose(sequence, hits, self._library, self._settings)
    for line in chosen.accepted:
      _log.info('%s: template %s', who, line)
    for line in chosen.skipped:
      _log.info('%s: template skipped: %s', who, line)
    if not chosen.templates:
      why = f'none of {number(len(hits), "hit")} could be, see log.txt' if hits else 'no known structure was found'
      _log.warning('%s: no template is used: %s', who, why)
    return chosen.templates


def _hits_of(job: Job) -> list[list[TemplateHit]]:
  """The hits of each distinct chain."""
  assert job.hits is not None
  return _read_hits(job.hits, len(job.query.chains.distinct) if job.is_complex else None)


def _read_hits(path: Path, num_chains: int | None = None) -> list[list[TemplateHit]]:
  """The hits that runs.work.searching kept, of one chain, or of so many distinct chains of a complex."""
  try:
    content = untrusted.from_json(path.read_text(encoding='utf-8'))
    found = [[TemplateHit.from_json(hit) for hit in hits] for hits in ([content] if num_chains is None else content)]
    if num_chains is not None and len(found) != num_chains:
      raise ValueError(f'hits of {len(found)} chains instead of {num_chains}')
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise InputError(f'{path}: damaged ({error}); remove it, and the same command searches again') from None
  return found


class MappedStructures(_FromFiles):
  """Structures with their places on the proteins, from a file of a person's own (data/template_map.py)."""

  def __init__(self, path: str | Path, found: Inputs):
    from alphafold_jax.data import template_map

    path = folders.expanded(path)
    names = [(one.query.name, one.name) for one in found.jobs] + [(one.name, one.job) for one in found.failures]
    self._chosen, self.notes = template_map.meant_for(template_map.read_template_map(path), names)
    named = (file for one in self._chosen for file in (one.structure, one.alignment) if file is not None)
    self.files = [path, *named]

  def identity_for(self, job: Job) -> str:
    """The protein's name, by which the file may mean it."""
    return job.query.name

  def place(self, job: Job) -> Any | None:
    """The templates that the file has for a protein; None if it has none.

    Raises:
      InputError: one of them cannot be placed, or there are too many.
    """
    from alphafold_jax.data import template_map

    if job.is_complex and any(one.query in (None, job.query.name) for one in self._chosen):
      raise InputError(
        f'{job.name}: --template-map has templates for it, and a place in one of several chains cannot be said there; '
        'give the structures by --custom-template-path'
      )
    placed = template_map.for_query(self._chosen, job.query.name, job.query.sequence)
    for template in placed:
      log_placed(job.name, template)
    return stacked(job, [placed])
