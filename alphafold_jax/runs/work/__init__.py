# SPDX-License-Identifier: Apache-2.0
"""What is to be done: proteins with all that shapes their predictions.

inputs     proteins found and put in order
loading    read, and made features of
searching  homologues and templates for bare sequences
guesses    whether a first guess is of them
templates  the sources of templates; complex_templates: of whole complexes; template_sources: which one is taken
keys       digests of content: what makes two predictions the same
provenance what is known of how a protein came to be predicted
"""

from alphafold_jax.runs.work.guesses import with_guess
from alphafold_jax.runs.work.inputs import Inputs, Job, depth, find, in_order
from alphafold_jax.runs.work.keys import Keys, of_input, of_run
from alphafold_jax.runs.work.loading import LoadedJob, load
from alphafold_jax.runs.work.provenance import of_job
from alphafold_jax.runs.work.searching import Searches, found_text, is_bare, search_for, try_to_keep
from alphafold_jax.runs.work.template_sources import TemplateSource, template_source

__all__ = [
  'Inputs', 'Job', 'Keys', 'LoadedJob', 'Searches', 'TemplateSource', 'depth', 'find', 'found_text', 'in_order',
  'is_bare', 'load', 'of_input', 'of_job', 'of_run', 'search_for', 'template_source', 'try_to_keep',
  'with_guess',
]  # fmt: skip
