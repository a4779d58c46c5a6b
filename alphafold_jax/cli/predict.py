# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax predict`."""

import argparse
import dataclasses
import typing
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import flags, searching

if typing.TYPE_CHECKING:
  from alphafold_jax.runs import Options


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import runs

  options = _options(given)
  screen = runs.Screen.of_stdout(quiet=given.quiet, debug=given.debug_logging)
  summary = runs.run(given.input, given.output, options, screen=screen, command=given.command_line)
  if not given.quiet:
    from alphafold_jax.runs import files

    print(f'\n{files.closing(summary, live=screen.live)}', flush=True)
  return summary.exit_code


def _options(given: argparse.Namespace) -> 'Options':
  """The flags as runs.Options."""
  from alphafold_jax import runs
  from alphafold_jax.settings import Settings

  settings = Settings(**_same(given, Settings), num_devices=given.devices)
  others = {
    'search': searching.options_of(given),
    'settings': settings,
    'config': dict(given.config),
    'params': given.params or given.data,
    'skip_output': frozenset(part for parts in given.skip_output for part in parts),
    'compilation_cache': not given.no_compilation_cache,
  }
  return runs.Options(**_same(given, runs.Options) | others)


def _same(given: argparse.Namespace, kind: Any) -> dict[str, Any]:
  """The values of flags that have the names of a dataclass's fields."""
  return {field.name: getattr(given, field.name) for field in dataclasses.fields(kind) if hasattr(given, field.name)}


def add(commands: Any) -> None:
  predict = commands.add_parser(
    'predict',
    help='structures from sequences and alignments',
    allow_abbrev=False,
    usage=f'{flags.PROGRAM} predict INPUT OUT [flags]',
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description=(
      'Predicts structures with the published AlphaFold 2 models, or, where these are not installed, with the\n'
      'small model that ships with this program, which is far less accurate. Flags and file names are those of\n'
      'colabfold_batch where the meaning is the same. What is done already, by content and settings, is not\n'
      'computed again: run the same command to resume. No sequence leaves this machine unless a server is chosen.'
    ),
  )
  predict.set_defaults(run=run)
  predict.add_argument(
    'input',
    metavar='INPUT',
    help='FASTA (one record, one protein), A3M or Stockholm, CSV or TSV '
    'with columns id,sequence[,a3mpath], features .npz of --msa-only, or a directory of these; also '
    '.gz',
  )
  predict.add_argument('output', metavar='OUT', help='folder for the results; made if missing')
  for title, settings_of in _FLAGS.items():
    group = predict.add_argument_group(title)
    for flag, settings in settings_of.items():
      group.add_argument(flag, **settings)


_FLAGS: dict[str, dict[str, dict[str, Any]]] = {
  'input': {
    **searching.mode_flag(
      'what becomes of sequences without an alignment: hmmer (jackhmmer) and mmseqs2 search --database on this '
      'machine; server sends them to an MMseqs2 server (mmseqs2_uniref_env is another name for it, '
      'mmseqs2_uniref leaves out environmental sequences); single_sequence folds them as they are, which is far '
      'less accurate. Without this flag they are an error'
    ),
    '--msa-only': {**flags.SWITCH, 'help': 'write the features of each protein as .npz and stop; these can be INPUT'},
    '--custom-template-path': {
      'metavar': 'PATH',
      'help': 'a structure (mmCIF, PDB) or a folder of them, used as '
      'template where it fits the protein (models 1 and 2 only)',
    },
    '--template-map': {
      'metavar': 'FILE',
      'help': 'JSON: structures with their residues on the protein, each taken as it is; see docs/search.md',
    },
    '--jobname-prefix': {'metavar': 'NAME', 'help': 'name files NAME_0, NAME_1, ... instead of after the proteins'},
    '--sort-queries-by': {
      'choices': choices.SORTS,
      'default': 'length',
      'help': 'order of the proteins: length is shortest first (default: %(default)s)',
    },
  },
  'search': dict(searching.ALL),
  'prediction': {
    '--num-recycle': {'type': int, 'metavar': 'N', 'help': 'recycling passes after the first (default: 3)'},
    '--recycle-early-stop-tolerance': {
      'type': float,
      'metavar': 'Å',
      'help': 'stop recycling when distances between C-alpha atoms change less (default: never)',
    },
    '--num-ensemble': {'type': int, 'metavar': 'N', 'help': 'draws of the alignment per pass (default: 1)'},
    '--num-seeds': {'type': int, 'metavar': 'N', 'default': 1, 'help': 'seeds per model (default: %(default)s)'},
    '--random-seed': {'type': int, 'metavar': 'N', 'default': 0, 'help': 'the first seed (default: %(default)s)'},
    '--num-models': {
      'type': int,
      'metavar': 'N',
      'default': 5,
      'help': 'how many of the models (default: 5; of mini there is one)',
    },
    '--model-type': {
      'choices': choices.MODEL_TYPES,
      'default': 'auto',
      'help': 'auto is alphafold2_ptm, which also gives PAE and pTM, if published parameters are '
      'installed or named, else mini, the small model that ships with this program',
    },
    '--model-order': {
      'type': flags.numbers,
      'metavar': '1,2,3,4,5',
      'default': choices.ORDER,
      'help': 'which models, in which order',
    },
    '--use-dropout': {**flags.SWITCH, 'help': 'dropout as in training, for more varied structures'},
    '--max-msa': {
      'type': flags.pair,
      'metavar': 'A:B',
      'help': 'rows of the alignment to use: A clusters, B extra '
      '(default: as published, 508:5120 or 512:1024 and so on)',
    },
    '--max-seq': {'type': int, 'metavar': 'A', 'help': 'the first of these alone'},
    '--max-extra-seq': {'type': int, 'metavar': 'B', 'help': 'the second alone'},
    '--masked-msa-fraction': {
      'type': float,
      'metavar': 'X',
      'help': 'share of the alignment that is masked '
      '(default: 0.15); 0 makes a shallow alignment independent of the seed',
    },
    '--stop-at-score': {
      'type': float,
      'metavar': 'X',
      'default': 100.0,
      'help': 'run no further models of a protein once one scores more (default: %(default)s)',
    },
    '--rank': {'choices': choices.RANKS, 'default': 'auto', 'help': 'auto is mean pLDDT'},
  },
  'output': {
    '--save-all': {**flags.SWITCH, 'help': 'all arrays of each prediction as .npz'},
    '--save-recycles': {**flags.SWITCH, 'help': 'the structure after every pass'},
    '--save-single-representations': {**flags.SWITCH, 'help': 'the single representation as .npy'},
    '--save-pair-representations': {**flags.SWITCH, 'help': 'the pair representation as .npy'},
    '--skip-output': {
      'type': flags.words,
      'metavar': 'WHAT',
      'action': 'append',
      'default': [],
      'help': f'leave out {", ".join(choices.SKIPPABLE[:-1])} or {choices.SKIPPABLE[-1]}; '
      'repeat, or separate by commas',
    },
    '--overwrite-existing-results': {**flags.SWITCH, 'help': 'compute everything again'},
    '--zip': {**flags.SWITCH, 'help': "pack each protein's files into {name}.result.zip"},
    '--quiet': {**flags.SWITCH, 'help': 'show warnings and errors only; OUT/log.txt is complete all the same'},
    '--debug-logging': {**flags.SWITCH, 'help': 'show more, tracebacks included'},
  },
  'many devices': {
    '--workers': {
      'type': int,
      'metavar': 'N',
      'help': 'processes on this machine, each with GPUs of its own (default: one for each NVIDIA GPU)',
    },
    '--shard': {
      'type': flags.shard,
      'metavar': 'I/N',
      'help': 'be process I of N that share OUT, such as '
      '$SLURM_ARRAY_TASK_ID/16: begins with its share of the proteins, then helps the others',
    },
  },
  'parameters and device': {
    '--data': {
      'metavar': 'DIR',
      'help': "folder of the published parameters (default: $ALPHAFOLD_JAX_PARAMS or the user's cache)",
    },
    '--params': {
      'metavar': 'WHAT',
      'help': 'instead of --data: a parameter file, a folder, or "random" to try out '
      'the installation; those structures mean nothing',
    },
    '--dtype': {
      'choices': choices.DTYPES,
      'help': "of the network's trunk (default: float32 on CPUs, else bfloat16)",
    },
    '--devices': {
      'type': int,
      'metavar': 'N',
      'default': 1,
      'help': 'GPUs or TPU cores that share each protein: '
      'longer ones fit, the result is the same (default: %(default)s)',
    },
    '--kernels': {
      'metavar': 'NAME',
      'help': 'how the expensive operations are computed: a kernel, or '
      'operation=kernel,... (default: the fastest of those that compute the same on this device)',
    },
    '--no-compilation-cache': {**flags.SWITCH, 'help': 'do not keep compiled programs for later runs'},
    '--config': {
      'type': flags.change,
      'metavar': 'KEY=VALUE',
      'action': 'append',
      'default': [],
      'help': 'advanced: change a setting of config.py, such as evoformer.num_block=8; only parameters '
      'of that shape fit',
    },
  },
}
