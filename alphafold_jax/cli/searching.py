# SPDX-License-Identifier: Apache-2.0
"""The flags of a search, shared by `predict` and `msa`."""

import argparse
import dataclasses
import typing

from alphafold_jax import choices
from alphafold_jax.cli.flags import Flags, choice, count, several, switch, value
from alphafold_jax.errors import InputError

if typing.TYPE_CHECKING:
  from alphafold_jax.search.options import SearchOptions


def options_of(given: argparse.Namespace) -> 'SearchOptions | None':
  """The flags of a search; None without --msa-mode.

  Raises:
    InputError: flags that do not go together, or a database that is not there.
  """
  from alphafold_jax.search import options

  values = vars(given)
  if given.msa_mode is None:
    usual = {field.name: field.default for field in dataclasses.fields(options.SearchOptions)}
    given_flags = [flag for flag in ALL if values.get(_name(flag)) not in (None, False, [], usual.get(_name(flag)))]
    if set_flags := [flag for flag in given_flags if flag not in ('--host-url', '--offline')]:
      raise InputError(f'{set_flags[0]}: of use only with --msa-mode; choose one of {", ".join(choices.MSA_MODES)}')
    return None
  known = {flag: values[_name(flag)] for flag in ALL if _name(flag) in values}
  changed = {_FIELDS.get(flag, _name(flag)): one for flag, one in known.items() if one is not None}
  return options.SearchOptions(mode=given.msa_mode, **changed)


def _name(flag: str) -> str:
  return flag.removeprefix('--').replace('-', '_')


_FIELDS = {'--database': 'databases'}
SEARCH: Flags = {
  '--database': several(
    '[ROLE=]PATH',
    'what is searched; repeat for several: FASTA files for hmmer (also .gz), MMseqs2 databases for mmseqs2. ROLE is '
    'uniref90, mgnify, bfd, small_bfd, uniref30, env; uniprot, which only pairs the chains of complexes; or of '
    'templates pdb_seqres, pdb70, pdb100; by default the file name shows',
  ),
  '--host-url': value('URL', f'the server of --msa-mode server (default: {choices.PUBLIC_HOST})'),
  '--host-user': value(
    'NAME',
    'user name on a private server; its password is read from ALPHAFOLD_JAX_HOST_PASSWORD, an API key from '
    'ALPHAFOLD_JAX_HOST_API_KEY',
  ),
  '--offline': switch('refuse whatever would contact another machine'),
  '--num-threads': count('of the search (default: all processors)'),
  '--gpu': switch('let MMseqs2 search on a GPU, if it can'),
  '--search-cache': value('DIR', "where searches are kept (default: $ALPHAFOLD_JAX_SEARCHES or the user's cache)"),
  '--pair-mode': choice(
    choices.PAIR_MODES,
    'which rows are searched for where a complex comes without alignments: rows of its chains side by side, rows of '
    'each chain alone, or both '
    f'(default: {choices.PAIR_MODES[0]})',
  ),
  '--pair-strategy': choice(
    choices.PAIR_STRATEGIES,
    'greedy pairs the rows of a taxon that two or more chains have, complete only where all chains have some '
    f'(default: {choices.PAIR_STRATEGIES[0]})',
  ),
}
TEMPLATES: Flags = {
  '--templates': switch('find templates by the alignment as well (models 3, 4 and 5 of single chains take none)'),
  '--local-pdb-path': value('DIR', 'folder of the structures (mmCIF or PDB) of a template search'),
  '--obsolete-pdbs-path': value('FILE', "the PDB's obsolete.dat: entries withdrawn or replaced"),
  '--max-template-date': value('YYYY-MM-DD', 'no templates released later'),
  '--max-template-hits': count('hits to look at (default: 20)'),
}
ALL: Flags = {**SEARCH, **TEMPLATES}
