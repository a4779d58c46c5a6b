# SPDX-License-Identifier: Apache-2.0
"""Settings of the whole test run: one arithmetic, fast compiling, one cache of programs for all its processes."""

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest

_CACHE = pytest.StashKey[str]()
_FLAGS = (  # a test compiles for longer than it computes; what is to be as users have it asks for oracle.AS_USERS
  '--xla_cpu_use_fusion_emitters=false',
  '--xla_backend_optimization_level=0',
  '--xla_llvm_disable_expensive_passes=true',
  '--xla_cpu_parallel_codegen_split_count=1',  # in parts a program would take a sixth more to compile
)
_LONGEST = (  # each takes minutes
  'test_training_step.py',
  'test_training_run.py',
  'test_parity_network.py',
  'test_overfitting.py',
  'test_axial_prediction.py',
  'test_gradients.py',
  'test_jobs.py',
  'test_cli.py',
  'test_network.py',
)
_LIMIT = 900  # seconds of one test in these files, where pyproject.toml has less
_FAST = {  # file -> pattern of its tests that compile little; '': all of them
  'test_alignment.py': '',
  'test_benchmarks.py': '',
  'test_block_deletion.py': '',
  'test_cartoon.py': '',
  'test_chains.py': '',
  'test_classification_losses.py': '',
  'test_cli.py': 'help|version|usage|by_name|input|output_that|template_that|params',
  'test_coevolution.py': 'made_up|padded_sizes|no_alignment|levels|channels|refused',
  'test_complex_queries.py': '^(?!.*another_sequence)',
  'test_complexes.py': '',
  'test_complex_evaluation.py': 'stand_for|exchanged|dimer|lie$|whole_decides|perfect|as_one|lddt_between|refused',
  'test_config.py': '',
  'test_confidence.py': '',
  'test_constants.py': '',
  'test_couplings_input.py': 'no_model|from_before|come_back|in_memory|experiments',
  'test_docs.py': 'parsed|needs|mark|flag|message|public',
  'test_download.py': '',
  'test_deposit.py': '',
  'test_dockq.py': '',
  'test_dtypes.py': '^(?!.*(small_programs|without_the_unit|whole_run))',
  'test_elsewhere.py': '^(?!.*(really|lowered))',
  'test_elsewhere_figures.py': '',
  'test_elsewhere_reading.py': '^(?!.*really)',
  'test_environment.py': '^(?!.*forked)',
  'test_evaluation.py': '',
  'test_fape.py': '',
  'test_features.py': '',
  'test_feeding.py': '',
  'test_fuzzing.py': 'once_led|number|fault|message|undamaged',
  'test_gpu_day.py': 'missing|another_machine|every_part|table|no_result',
  'test_hhr.py': '',
  'test_jobs.py': 'key_is|ordered|dropped_when|clock',
  'test_labels.py': '',
  'test_layering.py': '',
  'test_lengths.py': '',
  'test_naming.py': 'key_of|missing|version_that|header',
  'test_npz.py': '',
  'test_official.py': 'names_and_shapes',
  'test_outlook.py': '',
  'test_output.py': '',
  'test_page.py': '',
  'test_packaging.py': 'page|package$|ci_|commits|name_in_the_tables|by_a_name|style|citation|pyproject',
  'test_pae_files.py': '',
  'test_padding.py': '',
  'test_params_check.py': 'of_a_file|as_published|does_not_use|is_not_what|truncated|summary|on_a_terminal',
  'test_phases.py': '^(?!.*(changes_phase|muon))',
  'test_program_archive.py': '',
  'test_queries.py': '',
  'test_query_formats.py': '',
  'test_queue.py': 'claim|shares|helps|gpus|written|ahead',
  'test_runs_together.py': 'wrong|single_sequences',
  'test_relax.py': '',
  'test_sampling.py': '',
  'test_scores.py': '',
  'test_search_cache.py': '',
  'test_search_download.py': '',
  'test_search_hmmer.py': '',
  'test_search_mmseqs.py': 'refused|named|told|missing|gpu',
  'test_search_mmseqs_pairs.py': 'of_a_table',
  'test_search_options.py': '',
  'test_search_pairs.py': '^(?!.*two_processes)',
  'test_search_server.py': '',
  'test_smooth_lddt.py': '',
  'test_stereochemistry.py': '',
  'test_stockholm.py': '',
  'test_store.py': '',
  'test_structure.py': '',
  'test_superposition.py': '',
  'test_template_choice.py': '',
  'test_template_hits.py': '^(?!.*(several_processes|a_share|cluster_too))',
  'test_template_map.py': '',
  'test_template_search.py': '',
  'test_templates.py': '',
  'test_testing.py': '',
  'test_together.py': 'cpus|accelerator|parameters_once|give_way|other_programs|wrong',
  'test_torsion_loss.py': '',
  'test_training_run.py': 'another_end|best_by_validation|without_its_data|without_a_training_set',
  'test_trimming.py': '',
  'test_tuning.py': '',
  'test_viewers.py': '',
  'test_violation_counts.py': '',
}


def pytest_configure(config: pytest.Config) -> None:
  """Sets up the processes of this run and those that they start, before any test file is read."""
  if not hasattr(config, 'workerinput'):
    config.stash[_CACHE] = tempfile.mkdtemp(prefix='compiled-')
    os.environ['JAX_COMPILATION_CACHE_DIR'] = config.stash[_CACHE]
    os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
    os.environ['XLA_FLAGS'] = known_flags(f'{os.environ.get("XLA_FLAGS", "")} {" ".join(_FLAGS)}'.strip())
  jax.config.update('jax_compilation_cache_dir', os.environ['JAX_COMPILATION_CACHE_DIR'])
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_enable_x64', False)
  hear_sigint()


def hear_sigint() -> None:
  """Undoes that a shell has its background jobs ignore Ctrl-C, which the processes of tests would inherit."""
  if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def known_flags(flags: str) -> str:
  """The flags if this XLA knows them all, else what there was before: one that it does not know ends a process."""
  before = os.environ.get('XLA_FLAGS', '')
  program = [sys.executable, '-c', 'import jax; jax.devices()']
  asked = subprocess.run(program, env=os.environ | {'XLA_FLAGS': flags}, capture_output=True, check=False)
  return before if asked.returncode else flags


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
  """Does not even read the other files where only fast tests are asked for."""
  name = collection_path.name
  return True if config.option.markexpr == 'fast' and name.startswith('test_') and name not in _FAST else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Begins with the longest files, so that no process ends with one of them while the others are done."""
  rank = {name: index for index, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
  for item in items:
    if item.path.name in _FAST and re.search(_FAST[item.path.name], item.name.split('[')[0]):
      item.add_marker('fast')
    if item.path.name in rank and not item.get_closest_marker('timeout'):
      item.add_marker(pytest.mark.timeout(_LIMIT))


def pytest_unconfigure(config: pytest.Config) -> None:
  if _CACHE in config.stash:
    shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


@pytest.fixture(scope='module', autouse=True)
def forget_programs():
  """Frees the programs of a test file; kept by every process until the end, they would take gigabytes."""
  yield
  jax.clear_caches()
  gc.collect()
