# SPDX-License-Identifier: Apache-2.0
"""Settings of the whole test run: one arithmetic, fast compiling, one cache of programs for all its processes."""

import gc
import os
import shutil
import tempfile

import jax
import pytest

_CACHE = pytest.StashKey[str]()
_EMITTERS = 'xla_cpu_use_fusion_emitters'
_LONGEST = (  # each takes minutes
  'test_training_step.py',
  'test_training_run.py',
  'test_parity_network.py',
  'test_gradients.py',
  'test_jobs.py',
  'test_cli.py',
  'test_network.py',
)


def pytest_configure(config: pytest.Config) -> None:
  """Sets JAX up, before any test file is read."""
  if not hasattr(config, 'workerinput'):
    config.stash[_CACHE] = tempfile.mkdtemp(prefix='compiled-')
    if getattr(config.option, 'numprocesses', None):
      _compile_fast()
  directory = getattr(config, 'workerinput', {}).get('compiled') or config.stash[_CACHE]
  jax.config.update('jax_compilation_cache_dir', directory)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
  jax.config.update('jax_enable_x64', False)


def _compile_fast() -> None:
  """Has all processes of this run compile without XLA's fusion emitters, where it can: they take half of its time.

  What is to be compiled as users compile it asks for it (oracle.AS_USERS).
  """
  try:  # in this process, which runs no test; a flag that XLA does not know ends a process
    jax.jit(lambda: 0, compiler_options={_EMITTERS: False}).lower().compile()
  except jax.errors.JaxRuntimeError:
    return
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --{_EMITTERS}=false'.strip()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
  """Tells a process of pytest-xdist where the cache is."""
  node.workerinput['compiled'] = node.config.stash[_CACHE]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Begins with the longest files, so that no process ends with one of them while the others are done."""
  rank = {name: index for index, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_unconfigure(config: pytest.Config) -> None:
  if _CACHE in config.stash:
    shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


@pytest.fixture(scope='module', autouse=True)
def forget_programs():
  """Frees the programs of a test file; kept by every process until the end, they would take gigabytes."""
  yield
  jax.clear_caches()
  gc.collect()
