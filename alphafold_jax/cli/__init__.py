# SPDX-License-Identifier: Apache-2.0
"""The command line, `alphafold-jax COMMAND`: flags and messages, no more.

A command is a file, with a function for each action, its tables of flags and `add`, and a place in COMMANDS.

Exit codes: 0 all is well; 1 something failed, the rest is done; 2 wrong usage or input, nothing was run; 130 stopped by
the person, 143 by the system. JAX is loaded only when there is something to compute.
"""

import argparse
import atexit
import contextlib
import logging
import os
import pathlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from alphafold_jax import atomic, machine
from alphafold_jax.cli import (
  cache,
  compile,
  dataset,
  db,
  doctor,
  evaluate,
  flags,
  msa,
  params,
  predict,
  relax,
  train,
  trim,
)
from alphafold_jax.cli.flags import PROGRAM
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.screen import LOG, close_output, name_of_shard, open_streams
from alphafold_jax.version import __version__

_MOMENT = 0.1  # seconds
_STOPPED = (130, 143)  # exit codes of a program that was told to end
COMMANDS = (predict, msa, db, cache, evaluate, relax, trim, train, dataset, params, doctor, compile)


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a command; returns the exit code. Without arguments it is the program itself, which then ends."""
  open_streams()
  logging.getLogger('matplotlib').setLevel(logging.ERROR)  # or it speaks of its own cache where a home is locked
  is_program = arguments is None
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  sys.argv[:] = map(atomic.printable, sys.argv)  # which HMMER writes into what it makes
  arguments = [part for one in arguments for part in _separated(one)]
  code = _guarded(arguments)
  if is_program and code in _STOPPED and _has_jax_to_itself():
    atexit.register(_leave, code)  # the last that is registered is called first
  return code


def _has_jax_to_itself() -> bool:
  """Whether JAX runs here, and no other process waits for it to end in good order, as in training on many machines."""
  return machine.jax_has_begun() and not sys.modules['jax'].distributed.is_initialized()


def _leave(code: int) -> None:
  """Ends the process before JAX clears its caches, which crashes once the compiler was interrupted."""
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(Exception):  # closed, or gone
      stream.flush()
  os._exit(code)


def _run(arguments: Sequence[str], options: argparse.Namespace) -> int:
  """Fills the options and does what they say; returns the exit code."""
  parser = _parser()
  if not arguments:
    parser.print_help()
    return 2
  try:
    if unknown := flags.unknown_flag(parser, arguments):
      unknown[0].error(unknown[1])
    parser.parse_args(arguments, options)
  except SystemExit as leaving:  # --help, --version or wrong usage
    return int(leaving.code or 0)
  options.command_line = [PROGRAM, *arguments]
  with flags.by_flag(parser.chosen(arguments).flags):
    return options.run(options)


def _separated(argument: str) -> tuple[str, ...]:
  """`--config.key=value`, as ml_collections has it, is `--config key=value`."""
  return ('--config', argument.removeprefix('--config.')) if argument.startswith('--config.') else (argument,)


def _guarded(arguments: Sequence[str]) -> int:
  """Runs the chosen command and turns errors into one-screen messages."""
  options = argparse.Namespace()
  try:
    with _terminable():
      return _flushed(_run(arguments, options))
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
    _show_trace(options)
    _say(f'error: {error}')
    return 2
  except OSError as error:  # of a place that no part of the program guards
    _show_trace(options)
    if not _flushed(0):
      _say(f'error: {atomic.of_system(error)}')
    return 1
  except Exception as error:
    _show_trace(options)
    log = _log_of(options)
    where = f'\n{log} has the details; --debug-logging shows them here' if log.is_file() else ''
    _say(f'unexpected {type(error).__name__}: {error}{where}')
    return 1


def _show_trace(options: argparse.Namespace) -> None:
  if getattr(options, 'debug_logging', False):
    traceback.print_exc()


def _flushed(code: int) -> int:
  """The exit code, or 1 with a message where standard output took not all that was said."""
  try:
    close_output()
  except AlphaFoldError as error:
    _say(f'error: {error}')
    return 1
  return code


def _log_of(options: argparse.Namespace) -> pathlib.Path:
  return pathlib.Path(getattr(options, 'output', '')) / name_of_shard(LOG, getattr(options, 'shard', None))


def _say(message: str) -> None:
  flags.say(f'{PROGRAM}: {message}')


class _Terminated(KeyboardInterrupt):
  """The system asks the process to end."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
  """Ends in good order on SIGTERM, as clusters send it at a job's time limit."""

  def end(number: int, frame: Any) -> None:
    raise _Terminated

  try:
    before = signal.signal(signal.SIGTERM, end)
  except ValueError:  # not the main thread
    yield
    return
  hook, sys.unraisablehook = sys.unraisablehook, _again
  try:
    yield
  finally:
    sys.unraisablehook = hook
    signal.signal(signal.SIGTERM, before)


def _again(lost: Any) -> None:
  """Sends a signal once more whose exception Python dropped, since it came inside a callback, such as one of JAX."""
  if lost.exc_type is None or not issubclass(lost.exc_type, KeyboardInterrupt):
    sys.__unraisablehook__(lost)
    return
  number = signal.SIGTERM if issubclass(lost.exc_type, _Terminated) else signal.SIGINT
  timer = threading.Timer(_MOMENT, os.kill, (os.getpid(), number))
  timer.daemon = True
  timer.start()


def _parser() -> flags.CommandParser:
  parser = flags.CommandParser(
    prog=PROGRAM,
    description='AlphaFold 2 in JAX: predict protein structures, and train the network that does.',
    epilog=f'{PROGRAM} COMMAND --help lists the flags of a command.',
  )
  parser.add_argument('--version', action='version', version=f'{PROGRAM} {__version__}')
  commands = parser.with_commands('commands', 'COMMAND')
  for command in COMMANDS:
    command.add(commands)
  return parser
