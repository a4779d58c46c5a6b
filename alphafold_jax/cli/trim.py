# SPDX-License-Identifier: Apache-2.0
"""`alphafold-jax trim`."""

import argparse
import re
import typing
from collections import Counter
from pathlib import Path
from typing import Any

from alphafold_jax import choices
from alphafold_jax.cli import flags
from alphafold_jax.cli.flags import PROGRAM, Flags, choice, command, count, number, switch, value
from alphafold_jax.errors import AlphaFoldError, InputError
from alphafold_jax.naming import listed

if typing.TYPE_CHECKING:
  from alphafold_jax.trimming import TrimmedModel

_SETTINGS = ('min_plddt', 'b_factors', 'domains', 'max_domains', 'min_fragment', 'min_domain')
_MOST_RANGES = 8  # of a domain that are shown; the JSON has all
_OURS = re.compile(r'.+_(?:trimmed|domain_\d+)')  # files of an earlier trimming in a folder


def run(given: argparse.Namespace) -> int:
  from alphafold_jax import trimming

  *paths, output = given.paths
  if not paths:
    raise InputError(f'{output}: give FILES and OUT, the folder for what is made of them')
  settings = {name: getattr(given, name) for name in _SETTINGS}
  trimming.TrimSettings(**settings)  # wrong flags end it before anything is read
  found, failures = _structures(paths)
  if given.pae and len(found) > 1:
    raise InputError(f'--pae {given.pae}: the PAE of one structure, but there are {len(found)}; trim them one by one')
  done = 0
  for path, name in found:
    try:
      trimmed = trimming.trim(path, output, pae=given.pae, name=name, overwrite=given.overwrite, **settings)
    except AlphaFoldError as error:
      failures.append(str(error))
      continue
    done += 1
    for warning in trimmed.model.warnings:
      flags.say(f'{PROGRAM}: warning: {path}: {warning}')
    if not given.quiet:
      print(_account(trimmed), flush=True)
  for failure in failures:
    flags.say(f'{PROGRAM}: error: {failure}')
  if failures and done:
    flags.say(f'{PROGRAM}: {len(failures)} of {len(failures) + done} could not be trimmed; the rest is in {output}')
  elif done and not given.quiet:
    print(f'Files are in {output}', flush=True)
  return 0 if not failures else 1 if done else 2


def _structures(paths: list[str]) -> tuple[list[tuple[Path, str]], list[str]]:
  """Each structure with the name of its files, of a results folder the best model of each protein; and what failed."""
  from alphafold_jax.data.jobnames import unique_job_names
  from alphafold_jax.evaluation.finding import find_predictions

  found: dict[Path, str] = {}
  failures = []
  for path in paths:
    try:
      for one in find_predictions(path):
        if not (Path(path).is_dir() and _OURS.fullmatch(one.id)):
          found.setdefault(one.path, one.id if one.rank in (None, 1) else re.sub(r'\.\w+(\.gz)?$', '', one.path.name))
    except AlphaFoldError as error:
      failures.append(str(error))
  times = Counter(found.values())
  names = [name if times[name] == 1 else re.sub(r'\.gz$', '', path.name) for path, name in found.items()]
  return list(zip(found, unique_job_names(names), strict=True)), failures


def _account(trimmed: 'TrimmedModel') -> str:
  """What became of a structure, in some lines."""
  total, pae = len(trimmed.residues), trimmed.pae_file
  domains = f'{len(trimmed.domains)} domain{"s" * (len(trimmed.domains) != 1)}'
  source = f', PAE of {pae.name}' if pae else ''
  lines = [f'{trimmed.name}: {trimmed.num_kept} of {total} residues kept, {domains}{source}']
  for domain in trimmed.domains:
    lines.append(
      f'  domain {domain.number}: {len(domain.residues)} residues, mean pLDDT {domain.mean_plddt:.1f}, '
      f'Vrms {domain.vrms:.2f} Å: {listed(map(str, domain.stretches), _MOST_RANGES)}'
    )
  return '\n'.join([*lines, *(f'  note: {note}' for note in (*trimmed.model.labels, *trimmed.notes))])


_ARGUMENTS: Flags = {
  'paths': value(
    'PATH',
    f'predicted structures: PDB or mmCIF files (also .gz) of any program, or folders of them, of a results folder of '
    f'`{PROGRAM} predict` or ColabFold the best model of each protein; and last the folder for the files, made if '
    'missing',
    nargs='+',
  ),
  '--pae': value(
    'FILE',
    'predicted aligned error of the structure, as JSON or .npz (default: the file beside it, by the names of '
    'AlphaFold, AlphaFold DB, ColabFold, AlphaFold 3, Boltz and this program)',
  ),
  '--min-plddt': number('leave out residues whose pLDDT is not above this (default: %(default)s)', default=70.0),
  '--b-factors': choice(
    choices.B_FACTORS,
    "how B-factors are made from pLDDT: by the formula of phenix.process_predicted_model or MrParse's; or keep pLDDT "
    '(default: phenix)',
    default='phenix',
  ),
  '--domains': choice(
    choices.DOMAINS,
    "by which parameters domains are found in the PAE: Phenix's, its alternative ones for smaller domains, those of "
    'pae_to_domains; none makes each chain one (default: phenix)',
    default='phenix',
  ),
  '--max-domains': count(
    'merge those of smallest PAE between them until there are so many (default: as many as there are)', default=0
  ),
  '--min-fragment': count('leave out stretches of fewer residues (default: 5; with phenix_alt 10)'),
  '--min-domain': count('leave out domains of fewer residues (default: 10; with phenix_alt 20)'),
  '--overwrite': switch('replace files of an earlier trimming by others'),
  '--quiet': switch('print warnings and errors only'),
}


def add(commands: Any) -> None:
  command(
    commands,
    'trim FILES... OUT [flags]',
    run,
    'predictions made ready for molecular replacement',
    description='Leaves out what is not to be relied on in predicted structures, splits the rest into domains, and '
    'makes B-factors from pLDDT. docs/trimming.md says how, and how to go on with Phaser.',
    arguments=_ARGUMENTS,
  )
