# SPDX-License-Identifier: Apache-2.0
"""What a person chooses by name: the values of flags and options.

Light, so that `alphafold-jax --help` lists the names without loading what they stand for. Whatever acts on a choice
imports its name from here.
"""

from collections.abc import Callable, Mapping
from typing import Any

MAX_SEED = 2**31 - 1  # of a prediction
MAX_TOGETHER = 64  # proteins in one pass; more gain nothing, and their results come late
MINI = 'mini'  # the model that ships with the package
FOR_COMPLEXES = 'alphafold2_multimer_v3'  # the model type that `auto` is of complexes
MODEL_TYPES = (
  'auto', 'alphafold2', 'alphafold2_ptm', 'alphafold2_multimer_v1', 'alphafold2_multimer_v2', FOR_COMPLEXES, MINI,
)  # fmt: skip
EARLY_STOPS = COLABFOLD, DEEPMIND = ('colabfold', 'deepmind')  # that pass counts; one more is run, and counts
ORDER = (1, 2, 3, 4, 5)  # numbers of the models of a published type
MAX_TEMPLATES = 4  # of a protein; Suppl. 1.2.3
DTYPES = ('float32', 'bfloat16')  # of the network's trunk
RANKINGS: Mapping[str, Callable[[Any], float]] = {  # scores of a prediction or confidence, 0 to 100
  'plddt': lambda scored: scored.mean_plddt,
  'ptm': lambda scored: 100 * scored.ptm,
  'iptm': lambda scored: 100 * scored.iptm,
  'multimer': lambda scored: 80 * scored.iptm + 20 * scored.ptm,  # Evans et al. 2021
}
RANKS = ('auto', *RANKINGS)
SORTS = ('none', 'length', 'longest', 'msa_depth', 'random')
SKIPPABLE = ('msa', 'plots', 'pae_json', 'report', 'viewers')
B_FACTORS = ('phenix', 'mrparse', 'keep')  # of trimmed predictions: trimming.bfactors.FORMULAS
DOMAINS = ('phenix', 'phenix_alt', 'croll', 'none')  # trimming.domains.RULES, and none
PLOT_FORMATS = PNG, SVG, PDF = ('png', 'svg', 'pdf')
NAMINGS = COLABFOLD_NAMES, AFDB_NAMES = ('colabfold', 'afdb')  # of files: colabfold_batch's, AlphaFold DB's
ORIGINS = NATURAL, DESIGNED = ('natural', 'designed')  # of proteins
RELAX_PROTOCOLS = ('official', 'fast')
PARAMETERS = '2022-12-06'  # the published archive that is installed by default

SINGLE = 'single_sequence'
ENV_PAIRS = 'mmseqs2_uniref_env_envpair'
SERVER_MODES = {  # with environmental sequences
  'server': True,
  'mmseqs2_uniref_env': True,
  'mmseqs2_uniref': False,
  ENV_PAIRS: True,  # and environmental pairs
}
MSA_MODES = (SINGLE, 'hmmer', 'mmseqs2', *SERVER_MODES)
PUBLIC_HOST = 'https://api.colabfold.com'  # of the server modes
PAIR_MODES = UNPAIRED_PAIRED, PAIRED, UNPAIRED = ('unpaired_paired', 'paired', 'unpaired')  # rows of a complex
PAIR_STRATEGIES = GREEDY, COMPLETE = ('greedy', 'complete')  # a taxon in two chains or more; in all of them

INITIAL, FINETUNE, TRAIN_MULTIMER, TRAIN_MINI = EXPERIMENTS = (
  'train_initial',
  'train_finetune',
  'train_multimer',
  'train_mini',
)


def ranking(rank: str, scored: Any) -> str:
  """Which of RANKINGS ranks a prediction: auto is multimer of several chains and plddt of one, which has no ipTM."""
  if getattr(scored, 'iptm', None) is None:
    return rank if rank == 'ptm' else 'plddt'
  return 'multimer' if rank == 'auto' else rank


def ranking_score(rank: str, scored: Any) -> float:
  """The score of a prediction, a confidence or a row of a record by one of RANKS, 0 to 100."""
  return RANKINGS[ranking(rank, scored)](scored)
