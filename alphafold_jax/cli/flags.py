# SPDX-License-Identifier: Apache-2.0
"""How a command states its flags: rows of tables, the kinds of values they take, and the parser made of them."""

import argparse
import ast
import contextlib
import difflib
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from alphafold_jax.errors import InputError

PROGRAM = 'alphafold-jax'
Flag = dict[str, Any]  # settings of argparse's add_argument
Flags = Mapping[str, Flag]  # by name, in the order of --help
_LONGEST_HEADING = 60  # letters
_OTHERWISE = {'num_devices': '--devices'}  # arguments of programs whose flags are named otherwise


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
  """A flag whose value is one of some names, which its help begins with where they are too many for its heading."""
  if len(','.join(choices)) > _LONGEST_HEADING:
    return {'choices': choices, 'metavar': 'NAME', 'help': f'{", ".join(choices)}: {help}', **settings}
  return {'choices': choices, 'help': help, **settings}


def switch(help: str) -> Flag:
  """A flag without a value: off, or on."""
  return {'action': 'store_true', 'help': help}


def quiet(folder: str) -> Flag:
  """The flag `--quiet` of a command that writes a log file into a folder."""
  return switch(f'show warnings and errors only; {folder}/log.txt is complete all the same')


COMPLEX = switch('the records of a FASTA file are the chains of one complex')
DEBUG_LOGGING = switch('show more, tracebacks included')
NO_COMPILATION_CACHE = switch('do not keep compiled programs for later runs')


class CommandParser(argparse.ArgumentParser):
  """A parser that knows what a person may have meant: similar flags, commands and values."""

  def __init__(self, **settings: Any):
    """Takes what `argparse.ArgumentParser` takes."""
    super().__init__(formatter_class=_HelpInParagraphs, allow_abbrev=False, **settings)
    self.flags: tuple[str, ...] = ()  # that its --help lists
    self.silent: tuple[str, ...] = ()  # that it takes as well
    self.commands: Any = None  # sub-parsers, if it has any
    self.advice: Callable[[str, str], str | None] = lambda flag, value: None  # about a value that a flag refuses

  def with_commands(self, title: str, metavar: str, **settings: Any) -> Any:
    """Its sub-parsers."""
    self.commands = self.add_subparsers(title=title, metavar=metavar, required=True, **settings)
    return self.commands

  def chosen(self, arguments: Sequence[str]) -> 'CommandParser':
    """The parser of the command that the arguments name, or this one."""
    choices = self.commands.choices if self.commands else {}
    for i, argument in enumerate(arguments):
      if argument in choices:
        return choices[argument].chosen(arguments[i + 1 :])
    return self

  def all_commands(self) -> 'list[CommandParser]':
    """The parsers of all commands that do something."""
    below = self.commands.choices.values() if self.commands else []
    return [parser for one in below for parser in one.all_commands()] or [self]

  def _print_message(self, message: str, file: Any = None) -> None:
    """Writes; that standard output took not all of it is an error, which argparse would drop."""
    if file is sys.stdout and file is not None:
      file.write(message)
    else:
      super()._print_message(message, file)

  def error(self, message: str) -> NoReturn:
    """Ends the program with exit code 2; a wrong choice comes with what is similar."""
    wrong = re.search(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message)
    if wrong:
      flag, value, choices = wrong.groups()
      why = self.advice(flag, value)
      near = similar(value, [choice.strip(" '") for choice in choices.split(',')])
      message += f'; {why}' if why else near
    if (more := message.removeprefix('unrecognized arguments: ')) != message:
      message = f'more than the command takes: {more}; quote names with spaces, and put several files into a folder'
    self.print_usage(sys.stderr)
    say(f'{self.prog}: error: {message}')
    self.exit(2)


def similar(given: str, names: Iterable[str]) -> str:
  """`; did you mean NAME?` where one of the names is like what was given, else nothing."""
  folded = {name.casefold(): name for name in names}
  asked = given.replace('_', '-') if given.startswith('-') else given
  found = difflib.get_close_matches(asked.casefold(), folded, 1, 0.7)
  return f'; did you mean {folded[found[0]]}?' if found else ''


def unknown_flag(parser: CommandParser, arguments: Sequence[str]) -> tuple[CommandParser, str] | None:
  """The first flag that the chosen command does not have, with its parser and what may have been meant; else None."""
  chosen = parser.chosen(arguments)
  if re.match('--[A-Za-z]', arguments[0]) and arguments[0] not in ('--help', '--version'):
    return (
      parser,
      f'{arguments[0]} stands before the command; write it behind: {parser.prog} COMMAND {arguments[0]} ...',
    )
  for argument in arguments:
    flag = argument.partition('=')[0]
    if argument == '--':
      break
    if not re.match('--[A-Za-z]', argument) or flag in ('--help', '--version', *chosen.flags, *chosen.silent):
      continue
    others = [other.prog for other in parser.all_commands() if flag in other.flags]
    named = f'; it is a flag of `{others[0]}`' if others and not chosen.commands else ''
    return chosen, f'unknown flag {flag}{named or similar(flag, chosen.flags)}'
  return None


class _HelpInParagraphs(argparse.HelpFormatter):
  """Help that fills the width of the terminal, paragraph by paragraph, and breaks no words."""

  def _fill_text(self, text: str, width: int, indent: str) -> str:
    return '\n\n'.join(wrapped(' '.join(part.split()), width, indent) for part in text.split('\n\n'))

  def _split_lines(self, text: str, width: int) -> list[str]:
    return wrapped(' '.join(text.split()), width).split('\n')


def wrapped(text: str, width: int | None = None, indent: str = '') -> str:
  """A text in lines that end between words; what is indented already, such as a command to copy, stays as it is.

  Args:
    text: lines.
    width: of a line; by default that of the terminal.
    indent: before each line.
  """
  wrap = textwrap.TextWrapper(
    width=width or shutil.get_terminal_size().columns,
    initial_indent=indent,
    subsequent_indent=indent,
    break_long_words=False,
    break_on_hyphens=False,
  )
  return '\n'.join(line if line.startswith('  ') else wrap.fill(line) for line in text.split('\n'))


def say(text: str) -> None:
  """Writes to standard error; on a terminal in lines that end between words."""
  with contextlib.suppress(OSError):  # there is no other place to say it
    print(wrapped(text) if sys.stderr.isatty() else text, file=sys.stderr)


@contextlib.contextmanager
def by_flag(known: Collection[str], prefix: str = '--') -> Iterator[None]:
  """Tells of a wrong value by its flag, as a person gave it, where programs are told the name of an argument.

  Args:
    known: the flags of the command; values of other arguments are told as they are.
    prefix: of these flags, before the name of the argument.
  """
  try:
    yield
  except InputError as error:
    argument = error.argument or ''
    flag = _OTHERWISE.get(argument, f'{prefix}{argument.replace("_", "-")}')
    if flag not in known:
      raise
    raise InputError(f'{flag} {str(error).removeprefix(f"{argument}=")}') from error


def command(
  commands: Any,
  usage: str,
  run: Callable[[argparse.Namespace], int],
  help: str,
  *,
  arguments: Flags,
  groups: Mapping[str, Flags] | None = None,
  description: str | None = None,
) -> CommandParser:
  """Adds a command.

  Args:
    commands: sub-parsers of argparse, of the program or of `actions`.
    usage: its name, and what its --help shows after it (by default all arguments).
    run: does it with the parsed flags, and returns the exit code.
    help: one line for the list of commands.
    arguments: positional arguments and flags.
    groups: further flags, under titles.
    description: the text of its --help; empty lines are between paragraphs. By default `help` as a sentence; '' for
      none.

  Returns:
    the command's parser.
  """
  name, _, shown = usage.partition(' ')
  if description is None:
    description = f'{help[0].upper()}{help[1:]}.'
  parser = commands.add_parser(name, help=help, usage=f'{PROGRAM} {usage}' if shown else None, description=description)
  parser.set_defaults(run=run)
  for argument, settings in arguments.items():
    parser.add_argument(argument, **_filled(settings))
  for title, rows in (groups or {}).items():
    group = parser.add_argument_group(title)
    for flag, settings in rows.items():
      group.add_argument(flag, **_filled(settings))
  every = [*arguments, *(flag for rows in (groups or {}).values() for flag in rows)]
  parser.flags = tuple(flag for flag in every if flag.startswith('--'))
  return parser


def _filled(settings: Mapping[str, Any]) -> Mapping[str, Any]:
  """The settings of an argument; a text that it takes must not be empty."""
  is_text = settings.get('action', 'append') == 'append' and not {'type', 'choices'} & settings.keys()
  return {**settings, 'type': _text} if is_text else settings


def _text(given: str) -> str:
  if not given.strip():
    raise argparse.ArgumentTypeError('it is empty, as of a shell variable that is not set')
  return given


def actions(commands: Any, name: str, help: str) -> Any:
  """Adds a command that has commands of its own, and returns their sub-parsers; the chosen one is `action`."""
  return commands.add_parser(name, help=help).with_commands('actions', 'ACTION', dest='action')


# ------------------------------------------------------------------------------------------ kinds of values


def pair(text: str) -> tuple[int, int]:
  """Reads `512:1024`; ValueError if it is anything else, as in all of these."""
  clusters, _, extra = text.partition(':')
  return int(clusters), int(extra)


def whole_or_auto(text: str) -> int | None:
  """Reads `4`; `auto` is None."""
  return None if text == 'auto' else int(text)


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
  except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
    return key, literal


pair.__name__, numbers.__name__, change.__name__ = 'A:B', 'list of numbers', 'KEY=VALUE'  # for messages
shard.__name__ = 'I/N, such as 3/16,'
