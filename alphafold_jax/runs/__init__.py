# SPDX-License-Identifier: Apache-2.0
"""Many proteins, from files to ranked files: what `alphafold-jax predict` does, for programs too.

    from alphafold_jax import runs

    summary = runs.run('proteins/', 'out/', runs.Options(num_models=2, settings=Settings(num_recycle=6)))
    search = runs.SearchOptions('hmmer', databases=('uniref90.fasta.gz',))
    summary = runs.run('proteins.fasta', 'out/', runs.Options(search=search))

options    what a person may choose, checked
inputs     proteins and templates found and read
searching  homologues and templates for bare sequences
templates  where templates come from
aligning   alignments alone: what `alphafold-jax msa` does
keys       digests of content: what makes two predictions the same
book       what is known of each protein of a run, and how it ended
claims     who works on which protein, over processes and hosts
queue      which protein comes next; the shares of shards
models     parameters located, identified, loaded and kept
results    raw results on disk, for resuming
outputs    the files of one protein, ranked
progress   how far it has come, time left
report     config.json, failures.json, summary.csv and the closing table
predicting one protein with all its models and seeds
overlap    features made ahead and files written behind, in threads
starting   JAX and the predictor of a process
processes  this one, or several on one machine; actors: on Ray, cluster: which Ray; places: the devices of each
batch      the run over all proteins

Nothing here loads JAX before there is something to compute.
"""

from alphafold_jax.runs.batch import run
from alphafold_jax.runs.files.report import Failure, Outcome, Summary
from alphafold_jax.runs.options import Options
from alphafold_jax.screen import Screen
from alphafold_jax.search.options import SearchOptions

__all__ = ['Failure', 'Options', 'Outcome', 'Screen', 'SearchOptions', 'Summary', 'run']
