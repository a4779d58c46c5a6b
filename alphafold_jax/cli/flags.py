# SPDX-License-Identifier: Apache-2.0
"""How a command states its flags: rows of tables, the kinds of values they take, and the parser made of them."""

import argparse
import ast
from collections.abc import Callable, Mapping
from typing import Any

PROGRAM = 'alphafold-jax'
Flag = dict[str, Any]  # settings of argparse's add_argument
Flags = Mapping[str, Flag]  # by name, in the order of --help


def value(metavar: str, help: str | None = None, **settings: Any) -> Flag:
  """An argument or flag that takes one value."""
  return {'metavar': metavar, 'help': help, **settings}


def count(help: str, **settings: Any) -> Flag:
  """A flag that takes a whole number."""
  return value('N', help, type=int, **settings)


def number(help: str, **settings: Any) -> Flag:
  """A flag that takes a real number."""
  return value('X', help, type=float, **settings)


def several(metavar: str, help: str, **settings: Any) -> Flag:
  """A flag that may be repeated; its values are a list."""
  return {'metavar': metavar, 'help': help, 'action': 'append', 'default': [], **settings}


def choice(choices: tuple[str, ...], help: str, **settings: Any) -> Flag:
  """A flag whose value is one of some names."""
  return {'choices': choices, 'help': help, **settings}


def switch(help: str) -> Flag:
  """A flag without a value: off, or on."""
  return {'action': 'store_true', 'help': help}


def quiet(folder: str) -> Flag:
  """The flag `--quiet` of a command that writes a log file into a folder."""
  return switch(f'show warnings and errors only; {folder}/log.txt is complete all the same')


DEBUG_LOGGING = switch('show more, tracebacks included')
NO_COMPILATION_CACHE = switch('do not keep compiled programs for later runs')


def command(
  commands: Any,
  usage: str,
  run: Callable[[argparse.Namespace], int],
  help: str,
  *,
  arguments: Flags,
  groups: Mapping[str, Flags] | None = None,
  description: str | None = None,
) -> None:
  """Adds a command.

  Args:
    commands: sub-parsers of argparse, of the program or of `actions`.
    usage: its name, and what its --help shows after it (by default all arguments).
    run: does it with the parsed flags, and returns the exit code.
    help: one line for the list of commands.
    arguments: positional arguments and flags.
    groups: further flags, under titles.
    description: the text of its --help; line breaks are kept. By default `help` as a sentence; '' for none.
  """
  name, _, shown = usage.partition(' ')
  if description is None:
    description = f'{help[0].upper()}{help[1:]}.'
  parser = commands.add_parser(
    name,
    help=help,
    allow_abbrev=False,
    usage=f'{PROGRAM} {usage}' if shown else None,
    formatter_class=argparse.RawDescriptionHelpFormatter if '\n' in description else argparse.HelpFormatter,
    description=description,
  )
  parser.set_defaults(run=run)
  for argument, settings in arguments.items():
    parser.add_argument(argument, **settings)
  for title, rows in (groups or {}).items():
    group = parser.add_argument_group(title)
    for flag, settings in rows.items():
      group.add_argument(flag, **settings)


def actions(commands: Any, name: str, help: str) -> Any:
  """Adds a command that has commands of its own, and returns their sub-parsers; the chosen one is `action`."""
  parser = commands.add_parser(name, help=help, allow_abbrev=False)
  return parser.add_subparsers(title='actions', metavar='ACTION', required=True, dest='action')


# ------------------------------------------------------------------------------------------ kinds of values


def pair(text: str) -> tuple[int, int]:
  """Reads `512:1024`; ValueError if it is anything else, as in all of these."""
  clusters, _, extra = text.partition(':')
  return int(clusters), int(extra)


def numbers(text: str) -> tuple[int, ...]:
  """Reads `1,2,3`."""
  return tuple(int(part) for part in text.split(','))


def shard(text: str) -> tuple[int, int]:
  """Reads `3/16`."""
  place, _, total = text.partition('/')
  return int(place), int(total)


def words(text: str) -> list[str]:
  """Reads `msa, plots`."""
  return [part.strip() for part in text.split(',') if part.strip()]


def change(text: str) -> tuple[str, Any]:
  """Reads `evoformer.num_block=8`; what is no literal of Python stays text."""
  key, equals, literal = text.partition('=')
  if not (key and equals):
    raise ValueError
  try:
    return key, ast.literal_eval(literal)
  except (ValueError, SyntaxError):
    return key, literal


pair.__name__, numbers.__name__, change.__name__ = 'A:B', 'list of numbers', 'KEY=VALUE'  # for messages
shard.__name__ = 'I/N, such as 3/16,'
