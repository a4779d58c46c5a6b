# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile without a Docker engine: its install steps, run in order in a clean virtual environment."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SYSTEM = ('apt-get', 'useradd')  # steps that change the image's system: not run here
FOLDERS = re.compile(r'(?<![\w.}])/(?=(?:opt|work|cache|home)\b)')  # the image's own, moved below a test's folder


def instructions():
  """The Dockerfile as (keyword, rest) pairs, with continued lines joined and comments removed."""
  lines = [line for line in (ROOT / 'Dockerfile').read_text().splitlines() if not line.lstrip().startswith('#')]
  joined = re.sub(r'\\\n', ' ', '\n'.join(lines))
  return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def values(keyword):
  return [rest for word, rest in instructions() if word == keyword]


def without_flags(rest):
  """A RUN or COPY instruction without its --mount= and other flags."""
  return re.sub(r'^(?:--\w+=\S+\s+)+', '', rest)


def context_names():
  """Top-level names that .dockerignore lets into the build context."""
  lines = (ROOT / '.dockerignore').read_text().splitlines()
  assert '*' in lines, '.dockerignore should start from nothing'
  return {line.removeprefix('!') for line in lines if line.startswith('!')}


class Build:
  """Carries out COPY, ENV, WORKDIR and the install steps among RUN, below a folder instead of in an image."""

  def __init__(self, folder, arguments):
    self.root = folder
    self.workdir = folder
    self.arguments = arguments
    unclean = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV')
    keep = {name: value for name, value in os.environ.items() if name not in unclean}
    self.environment = keep | {'PATH': f'{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
    self.ran = []

  def path(self, text):
    return FOLDERS.sub(f'{self.root}/', text)

  def run(self, command):
    environment = self.environment | self.arguments
    step = subprocess.run(
      ['bash', '-c', self.path(command)], cwd=self.workdir, env=environment, capture_output=True, text=True, timeout=900
    )
    assert step.returncode == 0, f'{command}\n{step.stdout[-3000:]}\n{step.stderr[-3000:]}'
    self.ran.append(command)
    return step.stdout

  def do_arg(self, rest):
    name, _, default = rest.partition('=')
    self.arguments.setdefault(name, default)

  def do_env(self, rest):
    for item in shlex.split(rest):
      name, _, value = item.partition('=')
      value = re.sub(r'\$\{(\w+)\}', lambda match: self.environment[match[1]], value)
      self.environment[name] = self.path(value)

  def do_workdir(self, rest):
    self.workdir = pathlib.Path(self.path(rest))
    self.workdir.mkdir(parents=True, exist_ok=True)

  def do_copy(self, rest):
    *sources, target = without_flags(rest).split()
    for source in sources:
      assert pathlib.PurePath(source).parts[0] in context_names(), f'.dockerignore keeps {source} out'
      destination = self.workdir / target
      if target.endswith('/'):
        destination = destination / pathlib.PurePath(source).name
      destination.parent.mkdir(parents=True, exist_ok=True)
      if (ROOT / source).is_dir():
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / source, destination, dirs_exist_ok=True, ignore=ignored)
      else:
        shutil.copy(ROOT / source, destination)

  def do_run(self, rest):
    if not any(word in rest for word in SYSTEM):
      self.run(without_flags(rest))


def test_every_argument_has_a_default_and_the_base_is_one():
  assert all('=' in value for value in values('ARG'))
  assert values('FROM') == ['${BASE_IMAGE}']


def test_the_default_accelerator_is_an_extra_of_the_package():
  extra = next(value for value in values('ARG') if value.startswith('JAX_EXTRA=')).partition('=')[2]
  assert f"'{extra}': ['jax[{extra}]']" in (ROOT / 'setup.py').read_text()


def test_the_container_does_not_run_as_root():
  words = [word for word, _ in instructions()]
  users = values('USER')
  assert users and users[-1] not in ('root', '0')
  last_user = len(words) - 1 - words[::-1].index('USER')
  assert last_user < words.index('ENTRYPOINT') and 'RUN' not in words[last_user:]


def test_dependencies_are_installed_before_the_program_is_copied():
  steps = [f'{word} {rest}' for word, rest in instructions()]
  dependencies = next(i for i, step in enumerate(steps) if 'pip install' in step)
  program = steps.index('COPY alphafold_jax alphafold_jax')
  assert dependencies < program
  assert any('pip install --no-deps' in step for step in steps[program:])


@pytest.mark.slow
def test_the_install_steps_give_a_working_command(tmp_path):
  build = Build(tmp_path, {'JAX_EXTRA': ''})
  for word, rest in instructions():
    getattr(build, f'do_{word.lower()}', lambda rest: None)(rest)
  assert [bool(re.search('pip install', step)) for step in build.ran] == [False, True, True, False]
  entry = shlex.join(json.loads(values('ENTRYPOINT')[0]))
  assert tmp_path in pathlib.Path(build.run(f'command -v {entry}').strip()).parents
  scope = {}
  exec((ROOT / 'alphafold_jax' / 'version.py').read_text(), scope)
  assert scope['__version__'] in build.run(f'{entry} --version')
  assert 'predict' in build.run(f'{entry} {shlex.join(json.loads(values("CMD")[0]))}')
  where = build.run('python -c "import alphafold_jax; print(alphafold_jax.__file__)"')
  assert where.startswith(f'{tmp_path}/opt/alphafold_jax/lib')
  _run_as_printed(build, tmp_path)


def _run_as_printed(build, folder):
  """Predicts by the printed `docker run`, in the image's environment, in folders that stand for those it mounts."""
  names = [item.partition('=')[0] for rest in values('ENV') for item in shlex.split(rest)]
  image = {name: build.environment[name] for name in names}
  mine = folder / 'a folder of mine'
  mounts = {'/work': mine, '/cache': mine / 'cache'}
  assert mounts.keys() == {mount.rpartition(':')[2] for mount in printed_run('predict').mounts}
  mounts['/cache'].mkdir(parents=True)
  (mine / 'proteins.fasta').write_text('>peptide\nGYDPETGTWG\n')
  words = [*printed_run('predict').arguments, '--num-recycle', '0', '--skip-output', 'plots']
  words[words.index('server')] = 'single_sequence'  # nothing leaves the machine
  program = shutil.which('alphafold-jax', path=image['PATH'])
  image |= {'XDG_CACHE_HOME': str(mounts['/cache'])}
  step = subprocess.run([program, *words], cwd=mine, env=image, capture_output=True, text=True, timeout=600)
  assert step.returncode == 0, step.stdout + step.stderr
  assert list((mine / 'out').glob('peptide_unrelaxed_rank_001_mini*.pdb'))
  assert list((mounts['/cache'] / 'alphafold_jax').iterdir())
  assert not [path for path in mine.rglob('*') if path.stat().st_uid != os.getuid()]


class PrintedRun(NamedTuple):
  """A `docker run` as the Dockerfile prints it."""

  mounts: list[str]
  flags: list[str]
  arguments: list[str]  # of the program


def printed_run(command):
  """The line that runs a command, as a shell would take it for the user 1000."""
  text = (ROOT / 'Dockerfile').read_text().replace('$(id -u):$(id -g)', '1000:1000').replace('$PWD', '/data')
  line = next(line for line in text.splitlines() if 'docker run' in line and f'alphafold-jax {command}' in line)
  words = shlex.split(line.lstrip('# '))
  end = words.index('alphafold-jax')
  mounts = [after for word, after in zip(words, words[1:end]) if word == '-v']
  return PrintedRun(mounts, words[2:end], words[end + 1 :])


def test_the_printed_commands_run_as_the_person_who_types_them():
  assert values('ENTRYPOINT') == ['["alphafold-jax"]']
  for command in ('params', 'predict'):
    run = printed_run(command)
    assert run.flags[run.flags.index('--user') + 1] == '1000:1000'
    assert run.mounts == ['/data/cache:/cache', '/data:/work']
  assert '--msa-mode' in printed_run('predict').arguments  # a bare sequence without it is refused


def test_whoever_runs_the_image_may_write_to_its_home_and_cache():
  (made,) = [step for step in values('RUN') if step.startswith('mkdir')]
  assert '--mode=1777' in made
  environment = dict(item.split('=', 1) for rest in values('ENV') for item in shlex.split(rest))
  assert environment['HOME'] in made and environment['XDG_CACHE_HOME'] in made
  assert environment['MPLCONFIGDIR'].startswith(environment['HOME']) and 'USER' in environment
  assert values('VOLUME') == [environment['XDG_CACHE_HOME']]


def test_the_apptainer_definition_installs_what_the_dockerfile_does():
  text = (ROOT / 'docs' / 'apptainer.def').read_text()
  parts = dict(re.findall(r'^%(\w+)\n(.*?)(?=^%|\Z)', text, re.MULTILINE | re.DOTALL))
  copied = {line.split()[0] for line in parts['files'].splitlines() if line.strip()}
  assert copied == {source for rest in values('COPY') for source in without_flags(rest).split()[:-1]} - {
    'alphafold_jax/version.py'
  }
  assert all((ROOT / name).exists() for name in copied)
  default = next(value for value in values('ARG') if value.startswith('JAX_EXTRA=')).partition('=')[2]
  assert f'jax_extra={default}\n' in parts['arguments'] and '".[search${extra:+,$extra}]"' in parts['post']
  assert 'exec alphafold-jax "$@"' in parts['runscript']
  subprocess.run(['sh', '-n'], input=parts['post'], text=True, check=True)
