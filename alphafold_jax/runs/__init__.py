# SPDX-License-Identifier: Apache-2.0
"""Many proteins, from files to ranked files: what `alphafold-jax predict` does, for programs too.

    from alphafold_jax import runs

    summary = runs.run('proteins/', 'out/', runs.Options(num_models=2, settings=Settings(num_recycle=6)))
    search = runs.SearchOptions('hmmer', databases=('uniref90.fasta.gz',))
    summary = runs.run('proteins.fasta', 'out/', runs.Options(search=search))

options     what a person may choose, checked
batch       the run over all proteins, in three rooms:
  work/       what is to be done: inputs, alignments, templates, keys
  fleet/      who does it: this process, others, other machines
  files/      what is left behind: predictions on disk, ranked files, reports
alignments  alignments alone: what `alphafold-jax msa` does

Nothing here loads JAX before there is something to compute.
"""

from alphafold_jax.runs.batch import run
from alphafold_jax.runs.files import Failure, Outcome, Summary
from alphafold_jax.runs.options import Options
from alphafold_jax.screen import Screen
from alphafold_jax.search.options import SearchOptions

__all__ = ['Failure', 'Options', 'Outcome', 'Screen', 'SearchOptions', 'Summary', 'run']
