# SPDX-License-Identifier: Apache-2.0
"""The former name of `alphafold_jax.runs`, kept for programs that use it."""

from alphafold_jax.runs import Failure, Options, Outcome, Screen, SearchOptions, Summary, run

__all__ = ['Failure', 'Options', 'Outcome', 'Screen', 'SearchOptions', 'Summary', 'run']
