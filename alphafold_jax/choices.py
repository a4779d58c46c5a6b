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
MODEL_TYPES = ('auto', 'alphafold2', 'alphafold2_ptm', MINI)
ORDER = (1, 2, 3, 4, 5)  # numbers of the models of a published type
MAX_TEMPLATES = 4  # of a protein; Suppl. 1.2.3
DTYPES = ('float32', 'bfloat16')  # of the network's trunk
RANKINGS: Mapping[str, Callable[[Any], float]] = {  # scores of a prediction or confidence, 0 to 100
  'plddt': lambda scored: scored.mean_plddt,
  'ptm': lambda scored: 100 * scored.ptm,
}
RANKS = ('auto', *RANKINGS)
SORTS = ('none', 'length', 'longest', 'msa_depth', 'random')
SKIPPABLE = ('msa', 'plots', 'pae_json')
PARAMETERS = '2022-12-06'  # the published archive that is installed by default

SINGLE = 'single_sequence'
SERVER_MODES = {'server': True, 'mmseqs2_uniref_env': True, 'mmseqs2_uniref': False}  # with environmental sequences
MSA_MODES = (SINGLE, 'hmmer', 'mmseqs2', *SERVER_MODES)
PUBLIC_HOST = 'https://api.colabfold.com'  # of the server modes

INITIAL, FINETUNE, TRAIN_MULTIMER, TRAIN_MINI = EXPERIMENTS = (
  'train_initial',
  'train_finetune',
  'train_multimer',
  'train_mini',
)
