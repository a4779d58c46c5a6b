# SPDX-License-Identifier: Apache-2.0
"""Which source the templates of a run come from; those that came with a protein go before it."""

from typing import Any

from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import keys
from alphafold_jax.runs.work.complex_templates import GivenComplexes
from alphafold_jax.runs.work.inputs import Inputs, Job
from alphafold_jax.runs.work.templates import (
  FoundStructures,
  GivenStructures,
  MappedStructures,
  chains_of,
  log_placed,
  stacked,
)


class OwnStructures:
  """Templates that came with proteins of a run; for its other proteins those of another source, if there is one."""

  def __init__(self, others: 'GivenStructures | MappedStructures | FoundStructures | None'):
    """Takes the source for proteins that say nothing of templates."""
    self._others = others
    self.notes: tuple[str, ...] = others.notes if others else ()

  def identity(self) -> str | None:
    """That of the other source."""
    return self._others.identity() if self._others else None

  def identity_for(self, job: Job) -> str | None:
    """A protein's own templates, or what the other source has for it."""
    if job.query.templates is not None:
      return keys.of_json([template.identity() for template in job.query.templates])
    return self._others.identity_for(job) if self._others else None

  def facts(self) -> dict[str, str]:
    """For the record of a run: those of the other source."""
    return self._others.facts() if self._others else {}

  def place(self, job: Job) -> Any | None:
    """A protein's own templates as schema.Templates, or those of the other source; None if there are none.

    Raises:
      InputError: one of its own cannot be placed.
    """
    from alphafold_jax.data import templates

    if job.query.templates is None:
      return self._others.place(job) if self._others else None
    placed = templates.place_on_chains(job.query.templates, job.query.chains, job.name)
    for (who, _), of_chain in zip(chains_of(job), placed, strict=True):
      for template in of_chain:
        log_placed(who, template)
    return stacked(job, placed)


TemplateSource = GivenStructures | MappedStructures | FoundStructures | OwnStructures


def template_source(options: Options, found: Inputs) -> TemplateSource | None:
  """Where the templates of a run on the proteins found come from; None if there are none.

  Args:
    options: of the run.
    found: its proteins, some of which may bring templates of their own.

  Raises:
    InputError: the structures that were given cannot be read, or are for none of the proteins.
  """
  others = _source_for_all(options, found)
  said = [job.query.templates for job in found.jobs if job.query.templates is not None]
  return OwnStructures(others) if any(said) or (said and others) else others


def _source_for_all(options: Options, found: Inputs) -> GivenStructures | MappedStructures | FoundStructures | None:
  if options.custom_template_path:
    return GivenStructures(options.custom_template_path)
  if options.template_complex:
    return GivenComplexes(options.template_complex)
  if options.template_map:
    return MappedStructures(options.template_map, found)
  return FoundStructures(options.search) if options.search and options.search.templates else None
