# SPDX-License-Identifier: Apache-2.0
"""How tests compile in which a small network learns something by heart."""

import contextlib

import jax

QUICKER = {'xla_backend_optimization_level': 1}  # for steps that run hundreds of times: as fast, compiled in less time


@contextlib.contextmanager
def compiled_fast():
  """For programs that run a few times."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
