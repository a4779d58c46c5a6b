# SPDX-License-Identifier: Apache-2.0
"""Known structures found by their sequences: hmmbuild and hmmsearch in this process (pyhmmer).

The alignment's profile is searched against the sequences of all known structures, `pdb_seqres.txt`, with AlphaFold's
settings (AlphaFold 2.3.2: data/tools/hmmbuild.py, hmmsearch.py). The columns of the profile are the query's residues.
"""

import io
import re
from types import ModuleType
from typing import Any

from alphafold_jax import installed
from alphafold_jax.data.records import split_records
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search import fasta
from alphafold_jax.search.databases import Database
from alphafold_jax.search.found import TemplateHit, Watch
from alphafold_jax.search.templates.library import entry_and_chain

THRESHOLDS = {'F1': 0.1, 'F2': 0.1, 'F3': 0.1, 'E': 100.0, 'domE': 100.0, 'incE': 100.0, 'incdomE': 100.0}
_CHUNK = 1 << 23  # bytes searched at a time, which bounds the memory
_COLUMN = re.compile('[A-Z-][a-z]*')  # a residue or gap, and the insertion behind it
_MOLECULE = re.compile(r'\bmol:(\w+)')  # pdb_seqres also holds nucleic acids


def search(
  a3m: str, database: Database, *, num_threads: int = 1, watch: Watch = lambda fraction, text: None
) -> list[TemplateHit]:
  """Structures whose sequences fit an alignment, best first; several stretches of one chain are several hits.

  Args:
    a3m: A3M text, the query first; AlphaFold takes UniRef90's alignment.
    database: a FASTA file with records as `>4zey_A mol:protein length:84 ...`.
    num_threads: of the search.
    watch: called now and then with the progress.

  Raises:
    SearchError: pyhmmer is missing, or a sequence is longer than HMMER takes.
    InputError: alignment or database cannot be read.
  """
  pyhmmer = installed.module('pyhmmer')
  profile = _profile(pyhmmer, a3m)
  path, parts = database.path, []
  for chunk in fasta.chunks(path, _CHUNK):
    targets = fasta.digitize(chunk, profile.alphabet)
    try:
      parts.append(next(pyhmmer.hmmsearch(profile, targets, cpus=num_threads, parallel='targets', **THRESHOLDS)))
    except (ValueError, OverflowError, RuntimeError) as error:
      raise SearchError(f'{path}: hmmsearch cannot search it ({error})') from None
    watch(chunk.position / path.stat().st_size, f'hmmsearch: {path.name}')
  found = parts[0].merge(*parts[1:])  # with the E-values of a search of the whole
  return [
    _hit(one.name, one.description or '', domain)
    for one in found.included
    for domain in one.domains.included
    if _is_protein(one.description or '')
  ]


def _profile(pyhmmer: ModuleType, a3m: str) -> Any:
  """The profile of an alignment, as `hmmbuild --hand` makes it of the Stockholm text that AlphaFold gives it."""
  alphabet = pyhmmer.easel.Alphabet.amino()
  with pyhmmer.easel.MSAFile(io.BytesIO(_stockholm(a3m)), format='stockholm', digital=True, alphabet=alphabet) as file:
    msa = file.read()
  msa.name = 'query'
  builder = pyhmmer.plan7.Builder(alphabet, architecture='hand')
  return builder.build_msa(msa, pyhmmer.plan7.Background(alphabet))[0]


def _stockholm(a3m: str) -> bytes:
  """An A3M text in Stockholm format, with the query's columns marked as those of the profile."""
  records, _ = split_records(a3m, 'the alignment for the template search')
  rows = [_COLUMN.findall(record.text.replace('.', '')) for record in records]
  if len({len(row) for row in rows}) > 1:
    raise InputError('the alignment for the template search has rows of different widths; make it again')
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [''.join(part.ljust(width, '.') for part, width in zip(row, widths, strict=True)) for row in rows]
  marks = ''.join('x'.ljust(width, '.') for width in widths)
  named = (f'{number} {line}' for number, line in enumerate(lines))
  return '\n'.join(['# STOCKHOLM 1.0', *named, f'#=GC RF {marks}', '//', '']).encode('ascii')


def _is_protein(description: str) -> bool:
  """Whether a record is a protein's, by its description."""
  molecule = _MOLECULE.search(description)
  return molecule is None or molecule[1] == 'protein'


def _hit(name: str, description: str, domain: Any) -> TemplateHit:
  """One stretch of a structure's sequence; in HMMER's alignment insertions are in lower case."""
  entry, chain = entry_and_chain(name)
  aligned = domain.alignment
  pairs, q, t = [], aligned.hmm_from - 1, 0
  for letter in aligned.target_sequence:
    if letter.isupper():
      pairs.append((q, t))
    q, t = q + (not letter.islower()), t + letter.isalpha()
  return TemplateHit(
    entry=entry,
    chain=chain,
    sequence=aligned.target_sequence.replace('-', '').upper(),
    pairs=tuple(pairs),
    start=aligned.target_from - 1,
    description=description,
    evalue=domain.i_evalue,
  )
