# SPDX-License-Identifier: Apache-2.0
"""The documents tell the truth: their commands run or say what they need, flags and messages exist, examples work."""

import contextlib
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import alphafold_jax as afj
from alphafold_jax import cli
from alphafold_jax.cli import flags

ROOT = Path(__file__).parents[1]
DOCS, PACKAGE = ROOT / 'docs', ROOT / 'alphafold_jax'
OF_ROOT = 'README.md', 'CONTRIBUTING.md', 'examples/README.md'
PAGES = [page for page in sorted(DOCS.rglob('*.md')) if '_build' not in page.parts] + [ROOT / name for name in OF_ROOT]
RUN = (  # pages whose commands are run here as they stand, unless they say what they need
  'first_steps.md', 'evaluation.md', 'relaxation.md', 'trimming.md',
  'how_to/one_protein.md', 'how_to/a_thousand.md', 'how_to/a_complex.md',
  'how_to/no_homologues.md', 'how_to/my_own_template.md', 'how_to/a_mutant.md', 'how_to/training.md',
)  # fmt: skip
NEEDS = (
  'a GPU', 'the network', 'published parameters', 'a cluster', 'docker', 'apptainer', 'hours', 'two minutes',
  'two machines', 'files of yours', 'a run of yours', 'a compiler',
)  # fmt: skip
OF_CI = ('pip install', 'python3 -m venv', '. .venv', 'pytest', 'ruff', 'mypy', 'pre-commit', '.ci/run', 'sphinx-build')
# A command and its arguments, in a block of a shell.
OURS = re.compile(r'(?<!build )(?<!-t )alphafold-jax(?:\.sif)? +([a-z][^\n;&|"\']*)')
SHELL = ('bash', 'sh')
API = sorted((DOCS / 'api').glob('*.md'))


def name(page: Path) -> str:
  return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
  """The fenced blocks of a page that are in one of these languages."""
  fences = re.findall(r'^```(\w+)\n(.*?)^```', page.read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL)
  return [block for language, block in fences if language in languages]


def one_line_each(block: str) -> list[str]:
  """The lines of a shell's block, those that go on joined."""
  return [line for line in re.sub(r'\\\n\s*', '', block).splitlines() if line.strip()]


def free_blocks(page: Path) -> list[str]:
  """The shell's blocks of a page that do not say what they need."""
  return [block for block in blocks(page, *SHELL) if not re.search('^# needs ', block, re.MULTILINE)]


def commands(block: str) -> list[str]:
  """The commands of a shell's block in one way of writing; the folder that a prediction goes to is the same in all."""
  parts = [shlex.split(part, comments=True) for line in one_line_each(block) for part in line.split(' && ')]
  words_of = [[*words[:3], 'OUT', *words[4:]] if words[1:2] == ['predict'] else words for words in parts if words]
  return [shlex.join(words) for words in words_of]


def refusal(command: str, capsys: pytest.CaptureFixture[str]) -> str:
  """What the program says against the arguments of a command; nothing if it takes them."""
  words = shlex.split(re.sub(r'\$\{?\w+\}?', '1', command), comments=True)
  parser = cli._parser()
  with contextlib.suppress(SystemExit):
    if unknown := flags.unknown_flag(parser, words):
      return unknown[1]
    parser.parse_args(words)
    return ''
  return capsys.readouterr().err


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page, *SHELL)], ids=name)
def test_the_commands_of_a_page_are_parsed_by_the_program(page, capsys):
  ours = [found for block in blocks(page, *SHELL) for found in OURS.findall('\n'.join(one_line_each(block)))]
  assert {command: said for command in ours if (said := refusal(command, capsys))} == {}


def test_every_mark_of_a_block_is_one_that_is_known():
  marks = {mark for page in PAGES for block in blocks(page, *SHELL) for mark in re.findall('# needs (.*)', block)}
  assert marks - set(NEEDS) == set()


def test_every_command_is_run_or_says_what_it_needs():
  run = {command for page in RUN for block in free_blocks(DOCS / page) for command in commands(block)}
  others = {command: name(page) for page in PAGES for block in free_blocks(page) for command in commands(block)}
  left = {command: page for command, page in others.items() if command not in run}
  assert {command: page for command, page in left.items() if not command.startswith(OF_CI)} == {}


def test_every_flag_that_the_pages_for_people_name_exists():
  known = {flag for parser in cli._parser().all_commands() for flag in (*parser.flags, *parser.silent, '--help')}
  wrong = []
  for page in [*(DOCS / 'how_to').glob('*.md'), *(DOCS / 'coming_from').glob('*.md'), DOCS / 'troubleshooting.md']:
    for line in page.read_text(encoding='utf-8').splitlines():
      ours = line.rstrip(' |').rpartition(' | ')[2] if 'coming_from' in page.parts else line
      for code in re.findall(r'`((?:alphafold-jax|--)[^`]*)`', ours):
        wrong += [(page.name, flag) for flag in re.findall(r'(?<!\S)--[a-z][\w-]*', code) if flag not in known]
  assert wrong == []


def test_every_message_of_the_page_of_troubles_is_given_by_the_program():
  code = '\n'.join(path.read_text(encoding='utf-8') for path in sorted(PACKAGE.rglob('*.py')))
  code = re.sub(r"'\n\s*f?'", '', code)  # a text over several lines
  tables = (DOCS / 'troubleshooting.md').read_text(encoding='utf-8').split('## Afterwards')[0]
  messages = [said for row in re.findall(r'^\| (`.*?) \|', tables, re.MULTILINE) for said in re.findall('`(.*?)`', row)]
  assert len(messages) > 25 and [said for said in messages if said not in code] == []


def test_every_public_name_is_documented_and_has_an_example():
  pages = '\n'.join(page.read_text(encoding='utf-8') for page in API)
  examples = '\n'.join(block for page in API for block in blocks(page, 'python'))
  assert [one for one in afj.__all__ if not re.search(rf'\bafj\.{one}\b', examples)] == []
  shown = set(re.findall(r'\.\. auto\w+:: alphafold_jax\.(\w+)$', pages, re.MULTILINE))
  assert set(afj.__all__) - shown == {'__version__'}


@pytest.fixture(scope='module')
def caches(tmp_path_factory):
  """What is searched for and compiled once, for all pages."""
  return tmp_path_factory.mktemp('caches')


@pytest.fixture
def clone(tmp_path, caches, monkeypatch):
  """A folder with what a clone has, and a machine without published parameters."""
  for there in ('examples', 'tests'):
    (tmp_path / there).symlink_to(ROOT / there)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('XDG_CACHE_HOME', str(caches))
  for variable in ('ALPHAFOLD_JAX_PARAMS', 'ALPHAFOLD_JAX_SEARCHES'):
    monkeypatch.delenv(variable, raising=False)
  return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('page', RUN)
def test_the_commands_of_a_page_run(page, clone):
  for block in free_blocks(DOCS / page):
    for line in one_line_each(block):
      words = shlex.split(line, comments=True)
      if words[:1] == ['alphafold-jax']:
        one_pass = ['--num-recycle', '0'] * ('predict' in words and '--num-recycle' not in words)  # to be quick
        assert cli.main([*words[1:], *one_pass]) == 0, line
      else:
        subprocess.run(['bash', '-c', line], cwd=clone, env=os.environ, check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page in API if blocks(page, 'python')], ids=name)
def test_the_examples_of_a_page_of_the_api_run(page, clone):
  scope = {}
  for block in blocks(page, 'python'):
    exec(compile(block, name(page), 'exec'), scope)
