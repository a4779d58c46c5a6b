# SPDX-License-Identifier: Apache-2.0
"""What to cite: the works behind a prediction, as BibTeX, from `citations.bib`."""

import re
from pathlib import Path

from alphafold_jax.search.databases import HHSUITE
from alphafold_jax.search.options import SearchOptions

_MMSEQS = ('Steinegger2017', 'Mirdita2022')
_OF_MODE = {
  'single_sequence': (),
  'hmmer': ('Eddy2011', 'Larralde2023'),
  'mmseqs2': _MMSEQS,
  'server': _MMSEQS,
  'mmseqs2_uniref_env': _MMSEQS,
  'mmseqs2_uniref': _MMSEQS,
}


def bibtex(search: SearchOptions | None) -> str:
  """The entries for the network, and for what searched for homologues and templates."""
  cited = ['Jumper2021', *(_OF_MODE[search.mode] if search else ())]
  if search and search.templates and not search.uses_server:
    database = search.template_database
    cited += ['Steinegger2019' if database and database.kind == HHSUITE else 'Eddy2011', 'Lassmann2020']
  text = Path(__file__).with_suffix('.bib').read_text(encoding='utf-8')
  entries = dict(re.findall(r'^(?=@\w+\{(\w+),)(.*?^\}\n)', text, re.MULTILINE | re.DOTALL))
  return '\n'.join(entries[key] for key in dict.fromkeys(cited))
