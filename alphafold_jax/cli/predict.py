# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax predict`."""

import argparse
import dataclasses
import typing
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import colabfold, flags, relaxing, searching
from alphafold_jax.cli.flags import Flags, choice, command, count, number, several, switch, value

if typing.TYPE_CHECKING:
  from alphafold_jax.runs import Options


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import runs
  from alphafold_jax.runs import files

  for note in colabfold.notes(given):
    flags.say(f'{flags.PROGRAM}: note: {note}')
  options = _options(given)
  screen = runs.Screen.of_stdout(quiet=given.quiet, debug=given.debug_logging)
  summary = runs.run(given.input, given.output, options, screen=screen, command=given.command_line)
  if not given.quiet:
    print(f'\n{files.closing(summary, live=screen.live)}', flush=True)
  return summary.exit_code


def _options(given: argparse.Namespace) -> 'Options':
  """Makes runs.Options of the flags."""
  from alphafold_jax import runs
  from alphafold_jax.settings import Settings

  relaxing.check_used(given)
  others = {
    'search': searching.options_of(given),
    'settings': Settings(**_same(given, Settings), num_devices=given.devices),
    'config': dict(given.config),
    'params': given.params or given.data,
    'skip_output': frozenset(part for parts in given.skip_output for part in parts),
    'plot_format': frozenset(part for parts in given.plot_format for part in parts) or frozenset({choices.PNG}),
    'compilation_cache': not given.no_compilation_cache,
    'num_relax': None if given.amber and not given.num_relax else given.num_relax or 0,
    'relax': relaxing.plan_of(given),
  }
  return runs.Options(**_same(given, runs.Options) | others)


def _same(given: argparse.Namespace, kind: Any) -> dict[str, Any]:
  """Picks the flags that are named as the fields of a dataclass."""
  return {field.name: getattr(given, field.name) for field in dataclasses.fields(kind) if hasattr(given, field.name)}


_ARGUMENTS: Flags = {
  'input': value(
    'INPUT',
    'FASTA or PIR (one record, one protein; AAA:BBB is a complex of two chains), A3M or Stockholm, CSV or TSV with '
    'columns id,sequence[,a3mpath], PDB or '
    'mmCIF, the JSON input of AlphaFold 3, features .npz of --msa-only, or a directory of these; also .gz',
  ),
  'output': value('OUT', 'folder for the results; made if missing'),
}
_GROUPS: dict[str, Flags] = {
  'input': {
    '--msa-mode': choice(
      choices.MSA_MODES,
      'what becomes of sequences without an alignment: hmmer (jackhmmer) and mmseqs2 search --database on this '
      'machine; server sends them to an MMseqs2 server (mmseqs2_uniref_env is another name for it, '
      'mmseqs2_uniref leaves out environmental sequences, mmseqs2_uniref_env_envpair pairs chains by them as well); '
      'single_sequence folds them as they are, which is far less accurate. Without this flag they are an error',
    ),
    '--complex': flags.COMPLEX,
    '--msa-only': switch('write the features of each protein as .npz and stop; these can be INPUT'),
    '--custom-template-path': value(
      'PATH',
      'a structure (mmCIF, PDB) or a folder of them, used as template where it fits the protein (models 3, 4 and 5 '
      'of single chains take none)',
    ),
    '--template-complex': value(
      'PATH',
      'a structure of several chains, or a folder of them, shown to models of complexes with its interfaces: it steers '
      'how the chains lie',
    ),
    '--initial-guess': value(
      'FILE',
      'a structure (mmCIF, PDB) of the protein or complex that the first pass goes on from, as if it had made it',
    ),
    '--template-map': value(
      'FILE', 'JSON: structures with their residues on the protein, each taken as it is; see docs/search.md'
    ),
    '--jobname-prefix': value('NAME', 'name files NAME_0, NAME_1, ... instead of after the proteins'),
    '--sort-queries-by': choice(
      choices.SORTS, 'order of the proteins: length is shortest first (default: %(default)s)', default='length'
    ),
  },
  'search': searching.ALL,
  'prediction': {
    '--num-recycle': count('recycling passes after the first (default: 3; of alphafold2_multimer_v3 20)'),
    '--recycle-early-stop-tolerance': value(
      'Å',
      'stop recycling when distances between C-alpha atoms change less (default: never; alphafold2_multimer_v3: 0.5)',
      type=float,
    ),
    '--early-stop': choice(
      choices.EARLY_STOPS,
      'which structure counts once recycling stops early: that of the pass that changed little, or of one pass more '
      '(default: colabfold)',
    ),
    '--num-ensemble': count('draws of the alignment per pass (default: 1)'),
    '--num-seeds': count('seeds per model (default: %(default)s)', default=1),
    '--random-seed': count('the first seed (default: %(default)s)', default=0),
    '--num-models': count('how many of the models (default: 5; of mini there is one)', default=5),
    '--model-type': choice(
      choices.MODEL_TYPES,
      'auto is alphafold2_ptm, which also gives PAE and pTM, if published parameters are installed or named, else '
      'mini, the small model that ships with this program; of complexes alphafold2_multimer_v3, if its parameters are '
      'there',
      default='auto',
    ),
    '--model-order': value('1,2,3,4,5', 'which models, in which order', type=flags.numbers, default=choices.ORDER),
    '--use-dropout': switch('dropout as in training, for more varied structures'),
    '--max-msa': value(
      'A:B',
      'rows of the alignment to use: A clusters, B extra (default: as published, 508:5120 or 512:1024 and so on)',
      type=flags.pair,
    ),
    '--max-seq': value('A', 'the first of these alone', type=int),
    '--max-extra-seq': value('B', 'the second alone', type=int),
    '--masked-msa-fraction': number(
      'share of the alignment that is masked (default: 0.15); 0 makes a shallow alignment independent of the seed'
    ),
    '--stop-at-score': number(
      'run no further models of a protein once one scores more (default: %(default)s)', default=100.0
    ),
    '--rank': choice(
      choices.RANKS,
      'auto is mean pLDDT, of complexes multimer: 0.8 ipTM + 0.2 pTM. A single chain has no ipTM, and goes by mean '
      'pLDDT where iptm or multimer is asked for',
      default='auto',
    ),
  },
  'relaxation': {**relaxing.AMBER, **relaxing.PROTOCOL},
  'output': {
    '--save-all': switch('all arrays of each prediction as .npz, with representations and distogram'),
    '--save-recycles': switch('the structure after every pass'),
    '--save-single-representations': switch('the single representation as .npy'),
    '--save-pair-representations': switch('the pair representation as .npy'),
    '--skip-output': several(
      'WHAT',
      f'leave out {", ".join(choices.SKIPPABLE[:-1])} or {choices.SKIPPABLE[-1]}; repeat, or separate by commas',
      type=flags.words,
    ),
    '--plot-format': several(
      'KIND',
      f'kind of the plots, {", ".join(choices.PLOT_FORMATS[:-1])} or {choices.PLOT_FORMATS[-1]}, several at once by '
      f'commas: {choices.SVG} and {choices.PDF} can be enlarged and edited (default: {choices.PNG})',
      type=flags.words,
    ),
    '--naming': choice(
      choices.NAMINGS,
      "of files: afdb gives the best model AlphaFold Database's names (AF-ID-F1-model_v4.cif, ...) and its form of "
      'PAE; ID is the accession of a header of UniProt, else the name (default: %(default)s)',
      default=choices.COLABFOLD_NAMES,
    ),
    '--origin': choice(
      choices.ORIGINS, 'of the proteins, for the mmCIF files (default: %(default)s)', default=choices.NATURAL
    ),
    '--foldcomp': switch('write each structure as .fcz too, a tenth of the size (single chains; extra foldcomp)'),
    '--ipsae-cutoff': number('PAE below which pairs of residues count in ipSAE of complexes, Å (default: 15)'),
    '--overwrite-existing-results': switch('compute everything again'),
    '--zip': switch("pack each protein's files into {name}.result.zip"),
    '--quiet': flags.quiet('OUT'),
    '--debug-logging': flags.DEBUG_LOGGING,
  },
  'many devices': {
    '--workers': count('processes that predict, each with GPUs of its own (default: one for each NVIDIA GPU)'),
    '--batch': value(
      'N',
      'small proteins of one padded length that are computed in one pass, or auto: what the device is good for, on '
      'CPUs one (default: %(default)s)',
      type=flags.whole_or_auto,
      default='auto',
    ),
    '--ray': value(
      'ADDRESS', 'use the GPUs of a Ray cluster, such as head:6379, or auto on a machine of it; see docs/clusters.md'
    ),
    '--shard': value(
      'I/N',
      'be process I of N that share OUT, such as $SLURM_ARRAY_TASK_ID/16: begins with its share of the proteins, then '
      'helps the others',
      type=flags.shard,
    ),
  },
  'parameters and device': {
    '--data': value('DIR', "folder of the published parameters (default: $ALPHAFOLD_JAX_PARAMS or the user's cache)"),
    '--params': value(
      'WHAT',
      'instead of --data: a parameter file, a folder, or "random" to try out the installation; those structures mean '
      'nothing',
    ),
    '--dtype': choice(
      choices.DTYPES,
      "of the network's trunk (default: the output folder's; of a new one bfloat16, on CPUs if it was measured to pay)",
    ),
    '--devices': count(
      'GPUs or TPU cores that share each protein: longer ones fit, the result is the same (default: %(default)s)',
      default=1,
    ),
    '--kernels': value(
      'NAME',
      'how the expensive operations are computed: a kernel, or operation=kernel,... (default: the fastest of those '
      'that compute the same on this device)',
    ),
    '--no-compilation-cache': flags.NO_COMPILATION_CACHE,
    '--config': several(
      'KEY=VALUE',
      'advanced: change a setting of config.py, such as evoformer.num_block=8; only parameters of that shape fit',
      type=flags.change,
    ),
  },
}


def add(commands: Any) -> None:
  parser = command(
    commands,
    'predict INPUT OUT [flags]',
    run,
    'structures from sequences and alignments',
    description=(
      'Predicts structures of proteins and complexes with the published AlphaFold 2 models, or, where these are not '
      'installed, with the '
      'small model that ships with this program, which is far less accurate. Flags and file names are those of '
      'colabfold_batch where the meaning is the same. What is done already, by content and settings, is not '
      'computed again: run the same command to resume. No sequence leaves this machine unless a server is chosen.'
    ),
    arguments=_ARGUMENTS,
    groups=_GROUPS,
  )
  colabfold.add_to(parser)
