# SPDX-License-Identifier: Apache-2.0
"""The command line, `alphafold-jax predict | params | doctor`: flags and messages, no more.

Exit codes: 0 all is well; 1 something failed, the rest is done; 2 wrong usage or input, nothing was run; 130 stopped by
the person, 143 by the system. JAX is loaded only when there is something to compute.
"""

import argparse
import ast
import contextlib
import pathlib
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from alphafold_jax.version import __version__

PROGRAM = 'alphafold-jax'
_LATER = {  # flags of colabfold_batch
    **dict.fromkeys(('--templates', '--pdb-hit-file', '--local-pdb-path'), 'searching for templates'),
    **dict.fromkeys(('--amber', '--num-relax', '--use-gpu-relax'), 'relaxation'),
    **dict.fromkeys(('--pair-mode', '--pair-strategy', '--calc-extra-ptm'), 'the prediction of complexes'),
    '--host-url': 'searching for homologues',
    '--initial-guess': 'an initial guess',
}


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a command; returns the exit code."""
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(AttributeError, ValueError):
      stream.reconfigure(errors='replace')  # an Å must not end a run where it cannot be shown
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  parser = _parser()
  if later := [flag for flag in (one.split('=')[0] for one in arguments) if flag in _LATER]:
    _say(f'error: {later[0]}: {_LATER[later[0]]} is not part of this version')
    return 2
  if not arguments:
    parser.print_help()
    return 2
  try:
    options = parser.parse_args(arguments)
  except SystemExit as leaving:  # --help, --version or wrong usage
    return int(leaving.code or 0)
  options.command_line = [PROGRAM, *arguments]
  return _guarded(options)


def _guarded(options: argparse.Namespace) -> int:
  """Runs the chosen command and turns errors into one-screen messages."""
  from alphafold_jax.errors import AlphaFoldError

  debug = getattr(options, 'debug_logging', False)
  try:
    with _terminable():
      return options.run(options)
  except _Terminated:
    _say('stopped by the system (SIGTERM); run the same command again to go on from here')
    return 143
  except KeyboardInterrupt:
    _say('stopped; run the same command again to go on from here')
    return 130
  except BrokenPipeError:  # the reader of our output has gone
    sys.stdout = None
    return 141
  except AlphaFoldError as error:
    if debug:
      traceback.print_exc()
    _say(f'error: {error}')
    return 2
  except Exception as error:
    if debug:
      traceback.print_exc()
    log = pathlib.Path(getattr(options, 'output', '')) / 'log.txt'
    where = f'\n{log} has the details; --debug-logging shows them here' if log.is_file() else ''
    _say(f'unexpected {type(error).__name__}: {error}{where}')
    return 1


def _say(message: str) -> None:
  print(f'{PROGRAM}: {message}', file=sys.stderr)


class _Terminated(KeyboardInterrupt):
  """The system asks the process to end."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
  """Ends in good order on SIGTERM, as clusters send it at a job's time limit."""

  def end(number, frame):
    raise _Terminated

  try:
    before = signal.signal(signal.SIGTERM, end)
  except ValueError:  # not the main thread
    yield
    return
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------------------ the commands


def _predict(given: argparse.Namespace) -> int:
  from alphafold_jax import jobs

  options = _options(given)
  screen = jobs.Screen.of_stdout(quiet=given.quiet, debug=given.debug_logging)
  summary = jobs.run(given.input, given.output, options, screen=screen, command=given.command_line)
  if not given.quiet:
    from alphafold_jax.jobs import report

    print(f'\n{report.closing(summary, live=screen.live)}', flush=True)
  return summary.exit_code


def _options(given: argparse.Namespace):
  """The flags as jobs.Options."""
  from alphafold_jax import jobs
  from alphafold_jax.settings import Settings

  settings = Settings(
      num_recycle=given.num_recycle, recycle_early_stop_tolerance=given.recycle_early_stop_tolerance,
      num_ensemble=given.num_ensemble, max_msa=given.max_msa, masked_msa_fraction=given.masked_msa_fraction,
      use_dropout=given.use_dropout, dtype=given.dtype, kernels=given.kernels)
  same = (
      'msa_mode', 'msa_only', 'model_type', 'num_models', 'model_order', 'num_seeds', 'random_seed', 'max_seq',
      'max_extra_seq', 'custom_template_path', 'rank', 'stop_at_score', 'jobname_prefix', 'save_all', 'save_recycles',
      'save_single_representations', 'save_pair_representations', 'overwrite_existing_results', 'zip',
      'sort_queries_by')
  return jobs.Options(
      **{name: getattr(given, name) for name in same}, settings=settings, config=dict(given.config),
      params=given.params or given.data, skip_output=frozenset(part for parts in given.skip_output for part in parts),
      compilation_cache=not given.no_compilation_cache)


def _params(given: argparse.Namespace) -> int:
  import logging

  from alphafold_jax import config
  from alphafold_jax.weights import official, store
  from alphafold_jax.weights.files import human_size

  logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)

  def expected(model):
    return official.official_shapes(config.model_config(model))

  if given.action == 'download':
    rows = store.download(given.archive, given.data, source=given.source, sha256=given.sha256, expected=expected,
                          force=given.force)
  elif given.action == 'list':
    rows = store.list_params(given.data)
  else:
    rows = store.verify(given.data, expected)
  print(f'Parameters in {given.data or store.default_directory()}')
  for row in rows:
    size = '' if row.size is None else human_size(row.size)
    print(f'  {row.model:<14} {row.status:<11} {size:>10}  {(row.sha256 or "")[:16]:<16}  {row.licence or ""}'.rstrip())
    for line in (*row.problems, *row.remarks):
      print(f'      {line}')
  if given.action == 'list' and not any(row.usable for row in rows):
    print(f'None yet: {PROGRAM} params download fetches them (CC BY 4.0).')
  return int(given.action != 'list' and not all(row.usable for row in rows))


def _doctor(given: argparse.Namespace) -> int:
  from alphafold_jax import doctor

  return doctor.examine(given.data)


# ------------------------------------------------------------------------------------------ the flags


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
      prog=PROGRAM, description='AlphaFold 2 in JAX: predict protein structures.', allow_abbrev=False,
      epilog=f'{PROGRAM} COMMAND --help lists the flags of a command.')
  parser.add_argument('--version', action='version', version=f'{PROGRAM} {__version__}')
  commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
  _add_predict(commands)
  _add_params(commands)
  doctor = commands.add_parser(
      'doctor', help='what this machine has for predictions, and what is missing', allow_abbrev=False,
      description='Says what this machine computes on, where parameters and compiled programs are, and what to do '
                  'about what is missing. Exit code 1 if predictions are not possible yet.')
  doctor.add_argument('--data', metavar='DIR', help='folder of the parameters')
  doctor.set_defaults(run=_doctor)
  return parser


def _add_predict(commands: Any) -> None:
  predict = commands.add_parser(
      'predict', help='structures from sequences and alignments', allow_abbrev=False,
      usage=f'{PROGRAM} predict INPUT OUT [flags]',
      formatter_class=argparse.RawDescriptionHelpFormatter,
      description=(
          'Predicts structures with the published AlphaFold 2 models. Flags and file names are those of\n'
          'colabfold_batch where the meaning is the same. What is done already, by content and settings, is\n'
          'not computed again: run the same command to resume. No sequence leaves this machine.'))
  predict.set_defaults(run=_predict)
  predict.add_argument('input', metavar='INPUT', help='FASTA (one record, one protein), A3M, CSV or TSV with columns '
                       'id,sequence[,a3mpath], features .npz of --msa-only, or a directory of these; also .gz')
  predict.add_argument('output', metavar='OUT', help='folder for the results; made if missing')
  for title, flags in _PREDICT_FLAGS.items():
    group = predict.add_argument_group(title)
    for flag, settings in flags.items():
      group.add_argument(flag, **settings)


def _add_params(commands: Any) -> None:
  params = commands.add_parser('params', help='download, list or verify the published parameters', allow_abbrev=False)
  actions = params.add_subparsers(title='actions', metavar='ACTION', required=True, dest='action')
  texts = {
      'download': 'fetch the published parameters (resumes; CC BY 4.0)',
      'list': 'which parameters are on this machine',
      'verify': 'compare every file with its recorded digest, and its arrays with the models',
  }
  for action, text in texts.items():
    parser = actions.add_parser(action, help=text, description=text[0].upper() + text[1:] + '.', allow_abbrev=False)
    parser.add_argument('--data', metavar='DIR', help="folder (default: $ALPHAFOLD_JAX_PARAMS or the user's cache)")
    parser.set_defaults(run=_params, action=action)
    if action == 'download':
      parser.add_argument('--archive', default='2022-12-06', metavar='NAME', help='which one, or an address '
                          '(default: %(default)s)')
      parser.add_argument('--from', dest='source', metavar='FILE', help='an archive that is on this machine already')
      parser.add_argument('--sha256', metavar='HEX', help='the digest that the archive must have')
      parser.add_argument('--force', action='store_true', help='fetch again even if all is there')


def _pair(text: str) -> tuple[int, int]:
  clusters, _, extra = text.partition(':')
  return int(clusters), int(extra)


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(int(part) for part in text.split(','))


def _words(text: str) -> list[str]:
  return [part.strip() for part in text.split(',') if part.strip()]


def _change(text: str) -> tuple[str, Any]:
  key, equals, value = text.partition('=')
  if not (key and equals):
    raise ValueError
  try:
    return key, ast.literal_eval(value)
  except (ValueError, SyntaxError):
    return key, value


_pair.__name__, _numbers.__name__, _change.__name__ = 'A:B', 'list of numbers', 'KEY=VALUE'  # for messages
_SWITCH = {'action': 'store_true'}
_PREDICT_FLAGS: dict[str, dict[str, dict[str, Any]]] = {
    'input': {
        '--msa-mode': {'choices': ('single_sequence',), 'help': 'fold sequences that have no alignment as they are; '
                       'without this flag they are an error (searching for homologues comes in a later version)'},
        '--msa-only': {**_SWITCH, 'help': 'write the features of each protein as .npz and stop; they can be INPUT'},
        '--custom-template-path': {'metavar': 'PATH', 'help': 'a structure (mmCIF, PDB) or a folder of them, used as '
                                   'template where it fits the protein (models 1 and 2 only)'},
        '--jobname-prefix': {'metavar': 'NAME', 'help': 'name files NAME_0, NAME_1, ... instead of after the proteins'},
        '--sort-queries-by': {'choices': ('none', 'length', 'msa_depth', 'random'), 'default': 'length',
                              'help': 'order of the proteins (default: %(default)s)'},
    },
    'prediction': {
        '--num-recycle': {'type': int, 'metavar': 'N', 'help': 'recycling passes after the first (default: 3)'},
        '--recycle-early-stop-tolerance': {'type': float, 'metavar': 'Å', 'help': 'stop recycling when distances '
                                           'between C-alpha atoms change less (default: never)'},
        '--num-ensemble': {'type': int, 'metavar': 'N', 'help': 'draws of the alignment per pass (default: 1)'},
        '--num-seeds': {'type': int, 'metavar': 'N', 'default': 1, 'help': 'seeds per model (default: %(default)s)'},
        '--random-seed': {'type': int, 'metavar': 'N', 'default': 0, 'help': 'the first seed (default: %(default)s)'},
        '--num-models': {'type': int, 'metavar': 'N', 'default': 5, 'help': 'how many of the models (default: 5)'},
        '--model-type': {'choices': ('auto', 'alphafold2', 'alphafold2_ptm'), 'default': 'auto',
                         'help': 'auto is alphafold2_ptm, which also gives PAE and pTM'},
        '--model-order': {'type': _numbers, 'metavar': '1,2,3,4,5', 'default': (1, 2, 3, 4, 5),
                          'help': 'which models, in which order'},
        '--use-dropout': {**_SWITCH, 'help': 'dropout as in training, for more varied structures'},
        '--max-msa': {'type': _pair, 'metavar': 'A:B', 'help': 'rows of the alignment to use: A clusters, B extra '
                      '(default: as published, 508:5120 or 512:1024 and so on)'},
        '--max-seq': {'type': int, 'metavar': 'A', 'help': 'the first of these alone'},
        '--max-extra-seq': {'type': int, 'metavar': 'B', 'help': 'the second alone'},
        '--masked-msa-fraction': {'type': float, 'metavar': 'X', 'help': 'share of the alignment that is masked '
                                  '(default: 0.15); 0 makes a shallow alignment independent of the seed'},
        '--stop-at-score': {'type': float, 'metavar': 'X', 'default': 100.0, 'help': 'run no further models of a '
                            'protein once one scores more (default: %(default)s)'},
        '--rank': {'choices': ('auto', 'plddt', 'ptm'), 'default': 'auto', 'help': 'auto is mean pLDDT'},
    },
    'output': {
        '--save-all': {**_SWITCH, 'help': 'all arrays of each prediction as .npz'},
        '--save-recycles': {**_SWITCH, 'help': 'the structure after every pass'},
        '--save-single-representations': {**_SWITCH, 'help': 'the single representation as .npy'},
        '--save-pair-representations': {**_SWITCH, 'help': 'the pair representation as .npy'},
        '--skip-output': {'type': _words, 'metavar': 'WHAT', 'action': 'append', 'default': [],
                          'help': 'leave out msa, plots or pae_json; repeat, or separate by commas'},
        '--overwrite-existing-results': {**_SWITCH, 'help': 'compute everything again'},
        '--zip': {**_SWITCH, 'help': "pack each protein's files into {name}.result.zip"},
        '--quiet': {**_SWITCH, 'help': 'show warnings and errors only; OUT/log.txt is complete all the same'},
        '--debug-logging': {**_SWITCH, 'help': 'show more, tracebacks included'},
    },
    'parameters and device': {
        '--data': {'metavar': 'DIR', 'help': 'folder of the published parameters (default: $ALPHAFOLD_JAX_PARAMS or '
                   "the user's cache)"},
        '--params': {'metavar': 'WHAT', 'help': 'instead of --data: a parameter file, a folder, or "random" to try out '
                     'the installation; those structures mean nothing'},
        '--dtype': {'choices': ('float32', 'bfloat16'), 'help': "of the network's trunk (default: float32 on CPUs, "
                    'else bfloat16)'},
        '--kernels': {'metavar': 'NAME', 'help': 'implementation of the expensive operations (default: auto)'},
        '--no-compilation-cache': {**_SWITCH, 'help': 'do not keep compiled programs for later runs'},
        '--config': {'type': _change, 'metavar': 'KEY=VALUE', 'action': 'append', 'default': [],
                     'help': 'advanced: change a setting of config.py, such as evoformer.num_block=8; only parameters '
                     'of that shape fit'},
    },
}
