# SPDX-License-Identifier: Apache-2.0
"""What people paste: other kinds of files, look-alike letters and names of entries are read, or told apart by name."""

import dataclasses
import gzip
import json
import random
from pathlib import Path

import pytest

from alphafold_jax.data import query_formats
from alphafold_jax.data.alignment import parse_a3m, parse_query
from alphafold_jax.data.alignment_files import checked_query
from alphafold_jax.data.queries import FailedQuery, Query, read_queries, scan_queries
from alphafold_jax.data.records import decode, read_first_record
from alphafold_jax.data.structures import read_chain
from alphafold_jax.errors import InputError
from alphafold_jax.runs import Options, work

DATA = Path(__file__).parent / 'data'
RAS = DATA / '1ctq_A.cif.gz'
SEQUENCE = 'MTEYKLVVVGAGGVGKSALT'  # begins RAS
A3M = f'>q\n{SEQUENCE}\n>h\n{SEQUENCE[:-1]}-\n'


@pytest.fixture
def write(tmp_path):
  """Writes a file and returns its path."""

  def write(name: str, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith('.gz') else content)
    return tmp_path / name

  return write


def only(path: Path) -> Query | FailedQuery:
  """The one item of a file."""
  (item,) = scan_queries(path)
  return item


def refusal(path: Path) -> str:
  """Why the one item of a file cannot be used."""
  item = only(path)
  assert isinstance(item, FailedQuery), item
  return item.message


# ------------------------------------------------------------------------------------------ alignments, by either way


def random_alignment(rng: random.Random) -> bytes:
  """An A3M file, with a fault or an oddity now and then."""
  query = ''.join(rng.choices('ACDEFGHIKLMNPQRSTVWY', k=rng.randint(1, 12)))
  rows = [('ss_pred', 'C' * len(query)), ('ss_conf', '9' * len(query))] * (rng.random() < 0.3)
  rows.append(('q', rng.choice([query, query, query.lower()])))
  for i in range(rng.randint(0, 4)):
    row = ''.join(rng.choice([letter, letter, '-', f'a{letter}', f'.{letter}', letter + 'gg']) for letter in query)
    rows.append((rng.choice([f'h{i}', f'h{i} Ünrelated\tprotein', 'ss_dssp', '']), row))
  text = ''.join(f'>{name}\n{row}\n' for name, row in rows)
  text = rng.choice(['', '', f'#{len(query)}\t1\n', '#A3M#\n', '\ufeff', '\n']) + text
  if rng.random() < 0.5:  # damage
    at = rng.randrange(len(text))
    text = text[:at] + rng.choice(['A', '-', 'a', '1', ' ', '\n', '\r', '>', '\0', '#', '\x01', '']) + text[at + 1 :]
  text = text.replace('\n', rng.choice(['\n', '\n', '\n', '\r\n', '\r']))
  return text.encode(rng.choice(['utf-8', 'utf-8', 'latin-1']), 'replace')


def outcome(read, *arguments):
  """What it returns, or the message with which it refuses."""
  try:
    return read(*arguments)
  except InputError as error:
    return str(error)


def test_a_glance_at_an_alignment_says_what_reading_it_says():
  rng, refused = random.Random(0), 0
  for _ in range(600):
    content = random_alignment(rng)
    seen = outcome(checked_query, content, 'x')
    whole = outcome(lambda content: parse_a3m(decode(content, 'x'), 'x'), content)
    if isinstance(whole, str):
      assert seen == whole
      refused += 1
    else:
      assert seen[0] == whole.query and set(seen[1]) <= set(whole.notes)
  assert 60 < refused < 400


def test_the_head_of_an_alignment_has_its_query_however_far_down(tmp_path):
  rng = random.Random(1)
  for i in range(60):
    content = random_alignment(rng)
    (path := tmp_path / f'{i}.a3m').write_bytes(content)
    if not isinstance(whole := outcome(lambda content: parse_a3m(decode(content, 'x'), 'x'), content), str):
      assert parse_query(read_first_record(path), 'x')[0] == whole.query
  path.write_bytes(b'>ss_pred\n' + b'C' * (3 << 20) + b'\n>q\nMKT\n>h\nMKT\n')  # larger than is read at once
  assert read_first_record(path).endswith('\n>q\nMKT\n')


@pytest.mark.parametrize('name', ['P1_consensus', 'Consensus', 'consensus/1-20', 'cl|1|_consensus a family'])
def test_a_consensus_is_no_query(write, name):
  assert 'is a consensus of the alignment and no protein; remove it' in refusal(write('p.a3m', f'>{name}\nMK\n{A3M}'))


# ------------------------------------------------------------------------------------------ PIR


@pytest.mark.parametrize(
  ('text', 'name', 'sequence'),
  [
    ('>P1;CRAB\nalpha crystallin chain\nGMEGP\nLN*\n', 'CRAB', 'GMEGPLN'),
    ('>F1;x\n\nGMEGPLN*\n', 'x', 'GMEGPLN'),
    ('>P1;x\nCRAMBIN\nGMEG PLN\n*\n', 'x', 'GMEGPLN'),
    ('>p1;x\r\nsequence:x::::::::\r\nGMEGPLN\r\n', 'x', 'GMEGPLN'),
  ],
)
def test_the_description_of_a_pir_record_is_no_sequence(write, text, name, sequence):
  for suffix in ('.fasta', '.pir', '.txt'):
    item = only(write(f'p{suffix}', text))
    assert (item.name, item.sequence) == (name, sequence) and item.notes[0].startswith('read as PIR')


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    (f'>P1;x\n{SEQUENCE}\n{SEQUENCE}\n', 'the header of a PIR file'),
    (f'>P1;x\n{SEQUENCE}A\nMKT*\n', 'may be residues'),
    ('>DL;x\na gene\nACGT*\n', 'nucleic acid by its PIR header'),
    ('>P1;x\nwords here\nMKT*AY\n', "text behind the '*'"),
    ('>P1;x\nwords here\nMKT/AY*\n', "write ':' between those of a complex"),
  ],
)
def test_a_doubtful_pir_record_is_refused_with_that_word(write, text, said):
  assert said in refusal(write('p.fasta', text))


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    ('>x\nMetLysThr\nAlaTyr\n', 'is in three-letter codes (MetLysThr...); write one letter'),
    ('>A|smiles\nCCO\n', 'is no protein (smiles) by its header'),
    ('>rna|name=x\nACGU\n', 'is no protein (rna) by its header'),
    ('#3,4\t1\n>q\nMKTMKTA\n', 'has 2 lengths and 1 numbers of copies'),
    ('>ss_pred\nCCHH\n', 'no sequence besides secondary structure rows'),
    ('>101M:A:secstr\n  HHH  \n', 'no sequence besides secondary structure rows'),
  ],
)
def test_what_would_be_folded_as_another_protein_is_refused(write, text, said):
  assert said in refusal(write('p.fasta', text))


@pytest.mark.parametrize('header', ['ligand', 'RNA polymerase', 'A|protein', 'sp|P1|DNA_HUMAN', 'RNA|binding'])
def test_a_protein_may_be_called_so(write, header):
  assert only(write('p.fasta', f'>{header}\nMKT\n')).notes == ()


# ------------------------------------------------------------------------------------------ structures


def test_the_sequence_of_a_structure_is_a_query(write):
  content = gzip.decompress(RAS.read_bytes())
  for name in ('p.cif', 'p.CIF.GZ', 'p.txt'):
    item = only(write(name, content))
    assert item.sequence == read_chain(RAS).sequence and item.name == 'p' and item.alignment is None
    assert 'sequence of chain A of the structure' in item.notes[0]


def test_a_structure_of_several_chains_is_a_complex_under_their_names(write):
  atom = 'ATOM  {:5d}  CA  ALA {}{:4d}      11.000  12.000 {:7.3f}  1.00 20.00           C  \n'
  chains = ''.join(atom.format(i, chain, i, i) for i, chain in enumerate('AAAABBBB', 1))
  item = only(write('p.pdb', chains.replace(' B ', ' H ')))
  assert (item.sequence, item.lengths, item.chain_names) == ('A' * 8, (4, 4), ('A', 'H'))
  assert item.notes[0] == 'sequences of chains A, H of the structure, whose coordinates are not used'
  gap = ''.join(atom.format(i, 'A', number, i) for i, number in enumerate((1, 2, 7, 8), 1))
  assert any('numbers jump from 2 to 7' in note for note in only(write('q.pdb', gap)).notes)


def test_structures_in_a_directory_are_queries_only_where_there_is_nothing_else(tmp_path, write):
  write('p.cif', gzip.decompress(RAS.read_bytes()))
  assert [query.name for query in read_queries(tmp_path)] == ['p']
  write('q.fasta', '>q\nMKT\n')
  scan = scan_queries(tmp_path)
  assert [item.name for item in scan] == ['q'] and 'p.cif' in scan.notes[0]
  (tmp_path / 'q.fasta').rename(tmp_path / 'config.json')  # as in a folder of results
  with pytest.raises(InputError, match='holds no .fasta'):
    scan_queries(tmp_path)


# ------------------------------------------------------------------------------------------ the input of AlphaFold 3


def job(*others, name='x', dialect='alphafold3', **protein) -> str:
  """The text of a job."""
  sequences = [{'protein': {'id': 'A', 'sequence': SEQUENCE} | protein}, *others]
  return json.dumps({'name': name, 'dialect': dialect, 'version': 2, 'modelSeeds': [1], 'sequences': sequences})


def test_a_job_of_alphafold3_gives_one_protein_with_its_alignment(write):
  write('m.a3m', A3M)
  for name, protein in (('p.json', {'unpairedMsa': A3M}), ('p.json.gz', {'unpairedMsaPath': 'm.a3m'})):
    item = only(write(name, job(**protein, pairedMsa='', templates=[])))
    assert (item.name, item.sequence, item.templates) == ('x', SEQUENCE, ())
    assert item.load_alignment().tokens.shape == (2, 20)
  assert only(write('p.json', job())).alignment is None
  assert len(only(write('p.json', job(unpairedMsa=''))).load_alignment().names) == 1


def test_a_template_of_a_job_is_placed_where_the_job_says(write):
  mmcif, pairs = (
    gzip.decompress(RAS.read_bytes()).decode(),
    {'queryIndices': [*range(15)], 'templateIndices': [*range(15)]},
  )
  (template,) = only(write('p.json', job(templates=[{'mmcif': mmcif, **pairs}]))).templates
  placed = template.place(SEQUENCE)
  assert placed.residue_map == {i: i for i in range(15)} and placed.identity == 1.0
  write('t.cif', mmcif)
  (other,) = only(write('q.json', job(templates=[{'mmcifPath': 't.cif', **pairs}]))).templates
  assert other.identity() == template.identity()
  shifted = pairs | {'templateIndices': [*range(1, 16)]}
  (third,) = only(write('r.json', job(templates=[{'mmcif': mmcif, **shifted}]))).templates
  assert third.identity() != template.identity()


def test_a_run_takes_the_templates_of_a_job_for_it_alone(tmp_path, write):
  mmcif, pairs = (
    gzip.decompress(RAS.read_bytes()).decode(),
    {'queryIndices': [*range(15)], 'templateIndices': [*range(15)]},
  )
  write('p.json', job(unpairedMsa=A3M, templates=[{'mmcif': mmcif, **pairs}]))
  write('q.a3m', A3M)
  found = work.find(tmp_path, takes_bare=False)
  own, other = sorted(found.jobs, key=lambda job: job.query.templates is None)
  source = work.template_source(Options(), found)
  assert source.place(own).mask.tolist() == [1, 0, 0, 0] and source.place(other) is None
  assert source.identity() is None and source.identity_for(other) is None and source.identity_for(own)
  given = work.template_source(Options(custom_template_path=RAS), found)
  assert given.place(other).mask.tolist() == [1, 0, 0, 0] and given.identity_for(other) is None
  assert work.template_source(Options(), dataclasses.replace(found, jobs=(other,))) is None


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    (job({'protein': {'id': 'A', 'sequence': 'MKT'}}), "two chains have the name 'A'"),
    (job({'protein': {'id': 'B', 'sequence': 'MKT'}}, unpairedMsa=A3M), 'chain B: no alignment, though other'),
    (job({'protein': {'id': 'B', 'sequence': 'MK:T'}}), 'give each chain an entry of its own'),
    (job({'protein': {'id': 'B', 'sequence': 'XXX'}}), 'every residue of chain B is of unknown type'),
    (job({'protein': {'id': 'B', 'sequence': 'MKT', 'unpairedMsa': A3M}}, unpairedMsa=A3M), 'its first row must'),
    (job(count=10**9), '1,000,000,000 chains; at most 1,000 are predicted together'),
    (job(count=0), '"count" is 0; expected a whole number'),
    (job(id=['A', 3.5]), '"id" is '),
    (job({'ligand': {'id': 'L', 'ccdCodes': ['ATP']}}), 'holds "ligand"'),
    (job({'dna': {'id': 'D', 'sequence': 'ACGT'}}), 'holds "dna"'),
    (job(unpairedMsa='>q\nMKT\n'), 'the alignment has a query of 3 residues, the sequence has 20'),
    (job(unpairedMsa=f'{A3M}>b\nMK\n'), "record 'b' has 2 aligned columns"),
    (job(unpairedMsa=3), '"unpairedMsa" is 3'),
    (job(unpairedMsaPath='none.a3m'), 'none.a3m does not exist'),
    (job(modifications=3), '"modifications" is 3'),
    (job(templates=[{'mmcif': 'x', 'queryIndices': [20], 'templateIndices': [0]}]), 'queryIndices up to 20'),
    (job(templates=[{'mmcif': 'x', 'queryIndices': [1], 'templateIndices': []}]), '1 queryIndices and 0'),
    (job(templates=[{'mmcifPath': 'none.cif', 'queryIndices': [0], 'templateIndices': [0]}]), 'no file'),
    ('{"plddt": [90]}', 'not the input of AlphaFold 3, which has a list "sequences"; this is the scores'),
    ('[{"structure": "a.cif"}]', 'this is a template map'),
    ('{"sequences": ', 'line 1, column 15: not JSON'),
    ('[' * 100000, 'JSON that cannot be read'),
    ('[]', 'an empty list'),
  ],
)  # fmt: skip
def test_a_job_that_cannot_be_followed_says_why(write, text, said):
  assert said in refusal(write('p.json', text))


def test_jobs_of_alphafold_server_are_a_protein_or_complex_each(write):
  one = {'name': 's', 'sequences': [{'proteinChain': {'sequence': SEQUENCE, 'count': 1}}], 'dialect': 'alphafoldserver'}
  two = {'name': 't', 'sequences': [{'proteinChain': {'sequence': SEQUENCE, 'count': 2}}]}
  first, second = scan_queries(write('p.json', json.dumps([one, two])))
  assert first.sequence == SEQUENCE and first.lengths == ()
  assert second.sequence == 2 * SEQUENCE and second.lengths == (20, 20) and second.chain_names == ('A', 'B')


def test_of_the_json_files_in_a_directory_only_jobs_are_read(tmp_path, write):
  write('a.json', job(name='a'))
  write('b_scores.json', '{"plddt": [90]}')
  write('broken.json', '{"sequences": ')
  scan = scan_queries(tmp_path)
  assert [query.name for query in scan.queries] == ['a'] and len(scan.failures) == 1
  assert 'b_scores.json' in scan.notes[0]


# ------------------------------------------------------------------------------------------ what is not read, by name


@pytest.mark.parametrize(
  ('content', 'what'),
  [
    (b'PK\x03\x04...word/document.xml', 'a Word document'),
    (b'PK\x03\x04...xl/workbook.xml', 'an Excel workbook'),
    (b'%PDF-1.7\n', 'a PDF document'),
    (b'{\\rtf1\\ansi >x\nMKT}', 'a rich-text document'),
    (b'<!DOCTYPE html>\n<html>', 'a web page'),
    (b'LOCUS       NP_000549   142 aa', 'a GenBank flat file'),
    (b'ID   HBA_HUMAN   Reviewed;', 'an EMBL or Swiss-Prot flat file'),
    (b'CLUSTAL O(1.2.4) multiple sequence alignment\n', 'an alignment of ClustalW'),
    (b'!!AA_MULTIPLE_ALIGNMENT 1.0\n', 'an MSF alignment'),
    (b' 5 42\nTurkey    AAGC\n', 'a PHYLIP alignment'),
    (b'HHsearch 1.5\nNAME  x\n', 'a profile of HH-suite'),
    (b'\x80\x04\x95', 'a Python pickle'),
    (b'\x28\xb5\x2f\xfd', 'compressed by zstd'),
    (b'version: 1\nsequences:\n', 'the YAML input of another program'),
  ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named(write, content, what):
  for name in ('p.fasta', 'p.txt', 'p'):
    assert f'this is {what}' in refusal(write(name, content))
  with pytest.raises(InputError, match=f'this is {what}'):
    scan_queries(write('p.other', content))


@pytest.mark.parametrize(
  'name', ['p.fas', 'p.fst', 'p.fsa', 'p.pep', 'p.seq', 'p.txt', 'p', 'p.FASTA', 'P.TXT', 'p.FA.GZ']
)
def test_fasta_is_read_under_these_names(write, name):
  assert only(write(name, '>x\nMKT\n')).sequence == 'MKT'


def test_a_pipe_is_refused(tmp_path):
  with pytest.raises(InputError, match='a pipe or device; it is read more than once'):
    scan_queries('/dev/null')


# ------------------------------------------------------------------------------------------ letters and tables


@pytest.mark.parametrize(
  ('symbol', 'said'),
  [
    ('\u0410', "U+0410 CYRILLIC CAPITAL LETTER A) in record 'x' only looks like the letter A"),
    ('\u03a1', 'U+03A1 GREEK CAPITAL LETTER RHO'),
    ('\uff2d', 'U+FF2D FULLWIDTH LATIN CAPITAL LETTER M'),
    ('\u00ad', 'U+00AD SOFT HYPHEN) in record'),
    ('\u200b', "U+200B ZERO WIDTH SPACE) in record 'x' is invisible"),
    ('\u2013', "U+2013 EN DASH) in record 'x' only looks like '-'"),
  ],
)
def test_a_look_alike_is_named_by_its_code_point(write, symbol, said):
  assert said in refusal(write('p.fasta', f'>x\nMK{symbol}T\n'))
  assert said.split(' ')[0] in refusal(write('p.csv', f'id,sequence\nx,MK{symbol}T\n'))
  assert said.split(' ')[0] in refusal(write('p.sto', f'# STOCKHOLM 1.0\nx MK{symbol}T\n//\n'))
  with pytest.raises(InputError, match=said.split(' ')[0].replace('+', r'\+')):
    Query('x', f'MK{symbol}T')


def test_rows_of_a_table_that_say_nothing_are_counted(write):
  scan = scan_queries(write('p.csv', 'id,sequence,comment\n,,\n\nx,MKT,hm\n,MKA,\n,\n\n'))
  assert [(item.name, item.notes) for item in scan] == [('x', ()), ('p_2', ('its row has no id',))]
  assert [note.partition(': ')[2] for note in scan.notes] == [
    '3 rows without content left out',
    '1 column not read: comment',
  ]


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    ('id,sequence\nx,MKT,AYI\n', "'AYI' stands in a column without a name"),
    ('id,sequence,templatepath\nx,MKT,a.pdb\n', 'the column templatepath is not read'),
    ('id,sequence,Sequence\nx,M,K\n', "the column 'sequence' is there twice"),
    ('id,sequence\n,\n,,\n', 'the table has no rows'),
  ],
)
def test_a_table_loses_nothing_silently(write, text, said):
  assert said in refusal(write('p.csv', text))


@pytest.mark.parametrize(
  'text', ['id;sequence\nx;MKT\n', 'sep=;\nid;sequence\nx;MKT\n', '\ufeff"ID","Sequence"\nx,MKT\n']
)
def test_a_table_of_a_spreadsheet_is_read(write, text):
  assert only(write('p.csv', text)).sequence == 'MKT'


# ------------------------------------------------------------------------------------------ no file at all


@pytest.mark.parametrize(
  ('given', 'said'),
  [
    (SEQUENCE, r"a sequence of 20 letters, [^\n]*\n  printf '>name\\nMTEYKLVVVGAGGVGKSALT\\n' > name.fasta"),
    (SEQUENCE * 30, 'a sequence of 600 letters'),
    ('mteyklvvvgaggvgksaltmtey kl'.replace(' ', ''), 'a sequence of 26 letters'),
    (f'{SEQUENCE}:{SEQUENCE}', 'the chains of a complex'),
    ('>x\nMKT', 'the text of a FASTA file'),
    ('P69905', 'https://rest.uniprot.org/uniprotkb/P69905.fasta'),
    ('a0a024rbg1', 'uniprotkb/A0A024RBG1.fasta'),
    ('sp|P69905|HBA_HUMAN', 'uniprotkb/P69905.fasta'),
    ('HBA_HUMAN', 'uniprotkb/HBA_HUMAN.fasta'),
    ('AF-P69905-F1', 'uniprotkb/P69905.fasta'),
    ('1ABC', 'https://www.rcsb.org/fasta/entry/1ABC'),
    ('1abc_A', 'fasta/entry/1ABC'),
    ('pdb_00001abc', 'fasta/entry/pdb_00001abc'),
    ('PF00042', 'a family of Pfam'),
    ('https://x.org/a.fasta', 'nothing is downloaded'),
    ('*.fasta', 'no file matches'),
    ('-', 'cannot come through a pipe'),
    ('proteins', 'no such file or directory$'),
    ('my_data', 'no such file or directory$'),
    ('2024', 'no such file or directory$'),
    ('', 'the name of the input is empty'),
    (3, '3 is of type int; give the path'),
    (None, 'None is of type NoneType'),
  ],
)  # fmt: skip
def test_what_is_no_file_is_explained(tmp_path, monkeypatch, given, said):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(InputError, match=said):
    read_queries(given)


def test_a_link_that_leads_nowhere_is_a_failed_protein(tmp_path, write):
  write('a.fasta', '>a\nMKT\n')
  (tmp_path / 'b.fasta').symlink_to(tmp_path / 'gone.fasta')
  scan = scan_queries(tmp_path)
  assert [query.name for query in scan.queries] == ['a']
  assert 'b.fasta: is a link to' in scan.failures[0].message


def test_every_suffix_that_messages_name_has_a_reader():
  assert set(query_formats.SHOWN.split(', ')) <= query_formats.READERS.keys()
