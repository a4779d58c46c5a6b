# SPDX-License-Identifier: Apache-2.0
"""Structures of whole complexes that a person gives, as templates of the complexes of a run."""

import logging
from pathlib import Path
from typing import Any

from alphafold_jax.choices import MAX_TEMPLATES
from alphafold_jax.errors import InputError
from alphafold_jax.runs.work.inputs import Job
from alphafold_jax.runs.work.templates import GivenStructures

_log = logging.getLogger(__name__)


class GivenComplexes(GivenStructures):
  """Structures whose chains are shown together, so that they say how the chains lie beside one another."""

  def place(self, job: Job) -> Any | None:
    """The structures that fit most of a complex as schema.Templates; None, with reasons logged, if none fits."""
    from alphafold_jax.data import complex_templates

    if not job.is_complex:
      _log.warning('%s: --template-complex is for complexes, and this is a single chain', job.name)
      return None
    found = []
    for file in self.files:
      try:
        found.append(complex_templates.place_complex(job.query.chains, file))
      except InputError as error:
        _log.warning('%s: template %s skipped: %s', job.name, Path(file).name, error)
    found.sort(key=lambda placed: -placed.num_res)
    for placed in found[:MAX_TEMPLATES]:
      names = (one.name if one is not None else 'none' for one in placed.templates)
      _log.info('%s: template %s, for the chains in order: %s', job.name, placed.name, ', '.join(names))
    for placed in found[MAX_TEMPLATES:]:
      _log.info('%s: template %s left out: %d others fit better', job.name, placed.name, MAX_TEMPLATES)
    return complex_templates.stack_complexes(job.query.chains, found[:MAX_TEMPLATES]) if found else None
