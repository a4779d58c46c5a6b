# SPDX-License-Identifier: Apache-2.0
"""Whether a structure can be the first guess of a run's proteins, before anything is searched for or loaded."""

from pathlib import Path

from alphafold_jax import folders
from alphafold_jax.data.queries import FailedQuery
from alphafold_jax.errors import InputError
from alphafold_jax.runs.work.inputs import Inputs


def with_guess(path: str | Path | None, found: Inputs) -> Inputs:
  """The proteins that a structure is of, the others among the failures.

  Args:
    path: PDB or mmCIF, also .gz; None: there is no guess.
    found: the proteins of the run.

  Raises:
    InputError: the file cannot be read, or is of none of them.
  """
  if path is None:
    return found
  from alphafold_jax.data.initial_guess import chains_of_structure
  from alphafold_jax.data.structures import read_chains

  read_chains(path := folders.expanded(path))
  wrong: dict[tuple[str, ...], str | None] = {}  # by the chains of a protein: why not
  for job in found.jobs:
    if (chains := job.query.chains).sequences not in wrong:
      try:
        chains_of_structure(chains, path)
        wrong[chains.sequences] = None
      except InputError as error:
        wrong[chains.sequences] = str(error)
  jobs, failures = [], []
  for job in found.jobs:
    if (why := wrong[job.query.chains.sequences]) is None:
      jobs.append(job)
    else:
      failures.append(FailedQuery(job.query.name, job.query.source, f'{job.name}: --initial-guess: {why}', job.name))
  if not jobs:
    more = f' (and {len(failures) - 1} more proteins alike)' if len(failures) > 1 else ''
    raise InputError(f'{failures[0].message}{more}')
  return Inputs(tuple(jobs), (*found.failures, *failures), found.notes, found.warnings)
