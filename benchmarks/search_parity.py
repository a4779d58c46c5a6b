# SPDX-License-Identifier: Apache-2.0
"""How many aligned rows of our search engines are those that the command-line programs found: table of docs/search.md.

The programs' results are the recorded ones of the tests (tests/data/hmmer, mmseqs and templates; record.sh there made
them). E-values are compared by the tests.
"""

import gzip
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import turns

from alphafold_jax.data.records import read_text, split_records
from alphafold_jax.data.stockholm import stockholm_to_a3m
from alphafold_jax.search.databases import FASTA, Database, parse
from alphafold_jax.search.hmmer import Hmmer
from alphafold_jax.search.mmseqs import making
from alphafold_jax.search.mmseqs.engine import MMseqs, MMseqsSettings
from alphafold_jax.search.templates import hmmsearch

PAGE = turns.ROOT / 'docs' / 'search.md'
DATA, EXAMPLES = turns.ROOT / 'tests' / 'data', turns.ROOT / 'examples' / 'database'
SAMPLE = EXAMPLES / 'uniref_sample.fasta.gz'
Row = tuple[str, str, int, Sequence[str], Sequence[str]]  # program, query, residues, its rows, ours


def queries(folder: str) -> dict[str, str]:
  path = DATA / folder / 'queries.fasta'
  return {record.id: record.text for record in split_records(read_text(path), str(path))[0]}


def rows_of(a3m: str) -> list[str]:
  """Name and letters of each row behind the query."""
  records, _ = split_records(a3m, 'rows')
  return [f'{record.id} {record.text}' for record in records[1:]]


def searched(engine, sequences) -> list[list[str]]:
  found = dict(engine.search(list(sequences), lambda fraction, text: None))
  return [rows_of(found[i].rows[0].a3m) for i in range(len(found))]


def of_jackhmmer() -> Iterator[Row]:
  chosen = queries('hmmer')
  ours = searched(Hmmer([Database('bfd', SAMPLE, FASTA)], 2), chosen.values())
  for (name, sequence), rows in zip(chosen.items(), ours, strict=True):
    recorded = stockholm_to_a3m(read_text(DATA / 'hmmer' / f'{name}.sto.gz'), name)
    yield 'jackhmmer 3.3.2', name, len(sequence), rows_of(recorded), rows


def of_mmseqs() -> Iterator[Row]:
  chosen = queries('mmseqs')
  recorded = {
    'release18_thrice': ("colabfold_search's commands, MMseqs2 18", 3),
    'debian14_once': ('the same with MMseqs2 14, one round', 1),
  }
  with tempfile.TemporaryDirectory() as folder:
    making.build(SAMPLE, Path(folder, 'db'), 2)
    database = parse(f'uniref30={folder}/db')
    for file, (program, rounds) in recorded.items():
      parts = gzip.decompress((DATA / 'mmseqs' / f'{file}.a3m.gz').read_bytes()).decode().split('\0')
      ours = searched(MMseqs([database], 2, MMseqsSettings(iterations=rounds)), chosen.values())
      for (name, sequence), text, rows in zip(chosen.items(), parts, ours, strict=False):
        yield program, name, len(sequence), rows_of(text), rows


def of_hmmsearch() -> Iterator[Row]:
  database = Database('pdb_seqres', EXAMPLES / 'pdb_seqres_sample.txt', FASTA)
  for name in ('4zey_A', '3u8v_A', '1ctq_A'):
    a3m = read_text(DATA / 'templates' / f'{name}.a3m.gz')
    recorded, _ = split_records(stockholm_to_a3m(read_text(DATA / 'templates' / f'{name}.hits.sto.gz'), name), name)
    letters = [record.text.replace('-', '').upper() for record in recorded]
    ours = [hit.sequence for hit in hmmsearch.search(a3m, database)]
    yield 'hmmsearch 3.3.2', name, len(a3m.split('\n')[1]), letters, ours


def table() -> str:
  lines = ['| program | query | residues | its rows | ours | the same, columns and all |', '|:--|:--|--:|--:|--:|--:|']
  for program, name, num_res, its, ours in (*of_jackhmmer(), *of_mmseqs(), *of_hmmsearch()):
    same = sum((Counter(its) & Counter(ours)).values())
    lines.append(f'| {program} | {name} | {num_res} | {len(its)} | {len(ours)} | {same} |')
  return '\n'.join([*lines, '', 'Written by `python benchmarks/search_parity.py`.'])


if __name__ == '__main__':
  text = table()
  print(text)
  turns.write_section('search_parity', text, PAGE)
