# SPDX-License-Identifier: Apache-2.0
"""Input files: every good record becomes a job, every bad one a message that names its place."""

import gzip
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.jobnames import safe_name, unique_job_names
from alphafold_jax.data.queries import FailedQuery, Query, read_queries, scan_queries
from alphafold_jax.errors import InputError
from alphafold_jax.runs.work.inputs import Contents

A3M = Path(__file__).parent / 'data' / '4zey_A.a3m.gz'
SMALL_A3M = '>q\nMKTAY\n>a\nM-TAY\n'


@pytest.fixture
def write(tmp_path):
  """Writes a file and returns its path."""

  def write(name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if name.endswith('.gz') else content)
    return path

  return write


def summary(path: Path) -> list[tuple[str, str]]:
  """Name and sequence of each item, the message for a failed one."""
  return [
    (item.name, item.sequence if isinstance(item, Query) else item.message.replace(str(path), 'FILE'))
    for item in scan_queries(path)
  ]


def test_every_fasta_record_is_a_job(write):
  path = write('p.fasta', '>one first protein\nMKT\nAY\n>two\nACDE\n')
  assert summary(path) == [('one first protein', 'MKTAY'), ('two', 'ACDE')]
  assert [query.alignment for query in read_queries(path)] == [None, None]
  assert [query.job for query in read_queries(str(path))] == ['one_first_protein', 'two']
  assert 'record 2 (line 4)' in read_queries(path)[1].source


@pytest.mark.parametrize('name', ['p.fa', 'p.faa', 'p.FASTA', 'p.fasta.gz', 'p.fa.GZ'])
def test_fasta_goes_by_these_suffixes(write, name):
  path = write(name.replace('GZ', 'gz'), '>x\nMKT\n')
  assert summary(path.rename(path.with_name(name))) == [('x', 'MKT')]


@pytest.mark.parametrize(
  ('text', 'sequence', 'note'),
  [
    ('>x\r\nMK\r\nT\r\n', 'MKT', ()),
    ('>x\rMKT\r', 'MKT', ()),
    ('\n\n  >x\n\n MK \n\nT\n\n', 'MKT', ()),
    ('\ufeff>x\nMKT\n', 'MKT', ()),
    ('>x\nMKT', 'MKT', ()),
    ('>x\nMKT\n\0', 'MKT', ()),
    ('>x\nmkT\n', 'MKT', ('lower-case letters read as residues',)),
    ('>x\nMKT*\n', 'MKT', ("the stop '*' at the end left out",)),
    ('>x\nMK\nT\n*\n', 'MKT', ("the stop '*' at the end left out",)),
    ('>x\nMBZUJOX\n', 'MBZUJOX', ('B read as D; Z read as E; U read as C; J read as unknown; O read as unknown; '
                                  'X read as unknown',)),
    ('>x\n' + 'CCHHHEE' * 4, 'CCHHHEE' * 4,
     ('only the letters of secondary structure (H, E, C, T, S, G, I, B); read as a protein',)),
    ('>x\n' + 'ACGU' * 6, 'ACGU' * 6, ('U read as C', 'only the letters of DNA or RNA; read as a protein')),
  ],
)  # fmt: skip
def test_a_readable_sequence_is_read_and_repairs_are_noted(write, text, sequence, note):
  (query,) = read_queries(write('p.fasta', text))
  assert (query.name, query.sequence, query.notes) == ('x', sequence, note)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('>x\nMKT*AY1AK-U\n', "FILE, line 2, column 4: '*' in record 'x' is a stop in the middle"),
    ('>x\nMK\nT1Y\n', "FILE, line 3, column 2: '1' in record 'x' is a digit"),
    ('>x\nMK-T\n', "FILE, line 2, column 3: '-' in record 'x' is an alignment gap"),
    ('>x\nMKT:\n', "FILE, line 2, column 4: ':' in record 'x' stands between the chains of a complex, and chain 2"),
    (
      '>x\nMK\nT::AY\n',
      "FILE, line 3, column 2: ':' in record 'x' stands between the chains of a complex, and chain 2",
    ),
    ('>x\nMKT/AYK\n', "FILE, line 2, column 4: '/' in record 'x' divides chains in some programs, in others not"),
    ('>x\nMK\0T\n', "FILE, line 2, column 3: '\\x00' in record 'x' is no residue"),
    ('>x\nMKΔ\n', "FILE, line 2, column 3: 'Δ' (U+0394 GREEK CAPITAL LETTER DELTA) in record 'x' is no residue"),
    ('>x\nMKT**\n', "FILE, line 2, column 4: '*' in record 'x' is a stop"),
    ('>x\n*\n', "FILE, line 1: record 'x' has no sequence"),
    ('>x desc\n\n', "FILE, line 1: record 'x' has no sequence"),
  ],
)
def test_a_bad_record_is_named_and_the_others_stay(write, text, message):
  path = write('p.fasta', text + '>good\nACDE\n')
  bad, good = summary(path)
  assert bad[1].startswith(message)
  assert good == ('good', 'ACDE')
  with pytest.raises(InputError, match="record 'x'"):
    read_queries(path)


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('p.fasta', b'', 'FILE: the file is empty'),
    ('p.fasta', b'\r\n \r\n', 'FILE: the file is empty'),
    ('p.fasta', b'MKTAYIAK\n', "FILE, line 1: 'MKTAYIAK' stands before any '>' header; put a line '>name' above"),
    ('p.fasta', '>x\nMKT\n'.encode('utf-16'), 'FILE: the file is UTF-16 text; save it as UTF-8'),
    ('p.fasta', '>x\nMKT\n'.encode('utf-16-le'), 'FILE: every other byte is NUL, as in UTF-16 text'),
    ('p.fasta', '>x\nMKT\n'.encode('utf-16-be'), 'FILE: every other byte is NUL, as in UTF-16 text'),
    ('p.fasta', '>x\nMKT\n'.encode('utf-32'), 'FILE: the file is UTF-32 text'),
    ('p.fasta', b'\x7fELF\x02\x01\x01' + bytes(range(256)), 'FILE, line 1: byte 0x7f does not occur in text'),
    ('p.fasta', b'>x\nMKT\n\x00\x01', 'FILE, line 3: byte 0x01 does not occur in text; is this a binary file?'),
    ('p.a3m', b'>q\nMKT\n>a\nMKTA\n', "FILE, line 3: record 'a' has 4 aligned columns, expected 3"),
    ('p.a3m', b'>q\nM-T\n', "FILE, line 2, column 2: '-' in record 'q' is a gap in the query"),
    ('p.csv', b'', 'FILE: the file is empty; expected a table'),
    ('p.csv', b'name,seq\nx,MKT\n', "FILE, line 1: no column 'id' and 'sequence'; the first line must name"),
    ('p.csv', b'id,seq\nx,MKT\n', "FILE, line 1: no column 'sequence'"),
    ('p.csv', b'id,sequence\n', 'FILE: the table has no rows'),
    ('p.csv', b'id,sequence\nx,"MKT\n' + b'A' * 200000, 'FILE, line 3: not a table (field larger than'),
    ('p.csv', b'id,sequence\nx,"MKT\ny,ACD\n', 'FILE, line 3: not a table (unexpected end of data)'),
  ],
)
def test_a_bad_file_is_one_failure_with_its_reason(write, name, content, message):
  path = write(name, content)
  ((stem, said),) = summary(path)
  assert stem == 'p' and said.startswith(message)


def test_truncated_and_damaged_gzip_are_told_apart(tmp_path):
  packed = gzip.compress(b'>x\nMKTAYIAKQR\n' * 50)
  (tmp_path / 'cut.fasta.gz').write_bytes(packed[:-9])
  (tmp_path / 'bad.fasta.gz').write_bytes(packed[:12] + b'\xff\xff\xff' + packed[15:])
  bad, cut = scan_queries(tmp_path).failures
  assert 'break off before their end' in cut.message and 'damaged gzip' in bad.message


def test_a_path_of_no_use_is_refused_outright(tmp_path, write):
  with pytest.raises(InputError, match='no such file or directory'):
    read_queries(tmp_path / 'nothing.fasta')
  with pytest.raises(InputError, match='no such file or directory|cannot be read'):
    scan_queries('a\0b')
  with pytest.raises(InputError, match=r"unknown kind of file '.xyz'; give .fasta"):
    scan_queries(write('x.xyz', '3'))
  with pytest.raises(InputError, match=r'the directory holds no .fasta.* it has 1 other file or folder \(x.xyz\)'):
    scan_queries(tmp_path)


def test_a_directory_reads_its_files_in_order_and_notes_the_rest(tmp_path, write):
  write('b.fasta', '>b\nMKT\n')
  write('a.a3m', SMALL_A3M)
  write('c.csv', 'id,sequence\nc,MKV\n')
  write('broken.a3m', '>q\nMKT\n>a\nM\n')
  write('model.pdb', 'ATOM')
  write('.hidden.fasta', '>h\nMKT\n')
  (tmp_path / 'folder.fasta').mkdir()
  scan = scan_queries(tmp_path)
  assert [item.name for item in scan] == ['a', 'b', 'broken', 'c']
  assert [type(item) for item in scan] == [Query, Query, FailedQuery, Query]
  (note,) = scan.notes
  assert note.startswith(f'{tmp_path}: 2 other files or folders ignored (folder.fasta, model.pdb); structures are read')
  assert len(scan.queries) == 3 and len(scan.failures) == 1


def test_the_examples_are_one_protein_with_an_alignment():
  examples = Path(__file__).parents[1] / 'examples'
  (query,) = read_queries(examples)
  assert query.job == '4zey_A' and query.load_alignment().tokens.shape == (128, 84)
  assert read_queries(examples / 'single_sequence')[0].sequence == query.sequence


def test_an_a3m_is_named_by_its_file_and_loaded_when_asked(write):
  (query,) = read_queries(A3M)
  assert (query.name, len(query.sequence), query.alignment) == ('4zey_A', 84, A3M)
  assert query.load_alignment().tokens.shape == (401, 84)
  path = write('x.a3m.gz', SMALL_A3M)
  (query,) = read_queries(path)
  path.write_bytes(gzip.compress(b'>q\nMKTAW\n'))
  with pytest.raises(InputError, match=r'has W at residue 5 of its query, the sequence has Y'):
    query.load_alignment()
  path.unlink()
  with pytest.raises(InputError, match='no such file'):
    query.load_alignment()


@pytest.mark.parametrize('number', [1, 50, 51, 120])
@pytest.mark.parametrize('ending', ['.a3m', '.a3m.gz', '.sto'])
def test_a_bad_row_fails_its_protein_however_many_files_there_are(tmp_path, number, ending):
  good, bad = {
    '.a3m': ('>ss_pred\nCCHHH\n>q\nMKTAY\n>b\nMKTAY\n', '>q\nMKTAY\n>a\nM\n'),
    '.sto': ('# STOCKHOLM 1.0\nq MKTAY\nb MKTAY\n//\n', '# STOCKHOLM 1.0\nq MKTAY\na M\n//\n'),
  }[ending.removesuffix('.gz')]
  pack = gzip.compress if ending.endswith('.gz') else bytes
  for i in range(number):
    (tmp_path / f'p{i:03}{ending}').write_bytes(pack((bad if i == number - 1 else good).encode()))
  scan = scan_queries(tmp_path)
  assert {query.sequence for query in scan.queries} == ({'MKTAY'} if number > 1 else set())
  assert [query.notes for query in scan.queries] == [()] * (number - 1)
  (failure,) = scan.failures
  assert f'p{number - 1:03}{ending}' in failure.message and "'a'" in failure.message and 'column' in failure.message


def test_a_query_may_be_made_by_hand():
  assert Query('my protein', 'MKT').job == 'my_protein' and Query('x', 'MKT').load_alignment() is None
  assert Query('x', 'mkt').sequence == 'MKT'
  with pytest.raises(InputError, match="sequence 'x', residue 3: '1' is no residue"):
    Query('x', 'MK1')
  alignment = parse_a3m(SMALL_A3M, 'x')
  assert Query('x', 'MKTAY', alignment).load_alignment() is alignment
  with pytest.raises(InputError, match='has a query of 5 residues, the sequence has 3'):
    Query('x', 'MKT', alignment).load_alignment()


@pytest.mark.parametrize('name', ['p.csv', 'p.csv.gz', 'p.tsv'])
def test_a_table_gives_id_sequence_and_alignment(write, name):
  write('x.a3m', SMALL_A3M)
  text = 'ID,sequence,a3mpath\r\none,MKT,\r\ntwo,,x.a3m\r\n"three, too",mktay,x.a3m\r\n,AAA,\r\n'
  if name.endswith('.tsv'):
    text = text.replace('three, too', 'three; too').replace(',', '\t').replace(';', ',')
  path = write(name, text)
  assert summary(path) == [('one', 'MKT'), ('two', 'MKTAY'), ('three, too', 'MKTAY'), ('p_4', 'AAA')]
  rows = [query.load_alignment() for query in read_queries(path)]
  assert [None if row is None else len(row.names) for row in rows] == [None, 2, 2, None]


def test_bad_rows_of_a_table_are_named_and_the_others_stay(write):
  write('x.a3m', SMALL_A3M)
  path = write(
    'p.csv', 'id,sequence,a3mpath\na,MK1\nb,MKV,x.a3m\nc,MKTAY,none.a3m\nd\ne,MKTAW,x.a3m\nf,NaN\ngood,MKT\n'
  )
  said = dict(summary(path))
  assert said['a'].startswith("FILE, line 2, residue 3: '1' in record 'a' is a digit")
  assert said['b'].startswith('FILE, line 3: the alignment x.a3m has a query of 5 residues, the sequence has 3')
  assert said['c'].startswith('FILE, line 4: its a3mpath ') and 'none.a3m does not exist' in said['c']
  assert said['d'].startswith("FILE, line 5: row 'd' has no sequence; add it or remove the row")
  assert said['f'].startswith("FILE, line 7: row 'f' has no sequence ('NaN' is an empty cell)")
  assert 'has Y at residue 5 of its query, the sequence has W' in said['e']
  assert said['good'] == 'MKT'


@pytest.mark.parametrize(
  ('name', 'safe'),
  [
    ('sp|P68871|HBB_HUMAN', 'sp_P68871_HBB_HUMAN'),
    ('Rhône', 'Rhone'),
    ('../../etc/passwd', '_.._etc_passwd'),
    ('-rf', 'rf'),
    ('.hidden', 'hidden'),
    ('dot.', 'dot'),
    ('con', 'con_'),
    ('NUL.txt', 'NUL.txt_'),
    ('a\tb\nc', 'a_b_c'),
  ],
)
def test_a_job_name_is_safe_on_every_file_system(name, safe):
  assert safe_name(name) == safe


@pytest.mark.parametrize('name', ['', '..', '///', '蛋白质', '\ud800', 'x' * 5000, 'ü' * 300])
def test_no_name_is_too_odd_or_too_long(name):
  safe = safe_name(name)
  assert 1 <= len(safe) <= 100 and safe.isascii() and '/' not in safe and not safe.startswith('.')


def test_names_that_fall_together_are_told_apart_whatever_their_order():
  names = ['a/b', 'a b', 'ABC', 'abc', 'Abc/', 'x']
  jobs = unique_job_names(names)
  assert len({job.casefold() for job in jobs}) == len(names)
  assert jobs[0].startswith('a_b_') and jobs[1].startswith('a_b_') and jobs[5] == 'x'
  assert unique_job_names(names[::-1]) == jobs[::-1]
  assert unique_job_names(['a_b', 'a b'])[0] == 'a_b'  # safe as written: stays


def test_equal_names_are_numbered_and_never_take_anothers():
  assert unique_job_names(['x', 'x', 'x_2', 'x']) == ['x', 'x_3', 'x_2', 'x_4']
  rng = random.Random(0)
  names = [''.join(rng.choices('aA_/ 2', k=rng.randint(0, 3))) for _ in range(500)]
  assert len({job.casefold() for job in unique_job_names(names)}) == 500


def test_records_of_one_name_are_both_kept(write):
  queries = read_queries(write('p.fasta', '>x\nMKT\n>x\nACD\n>a/b\nMKV\n>a b\nMKW\n'))
  assert [query.name for query in queries] == ['x', 'x', 'a/b', 'a b']
  assert len({query.job for query in queries}) == 4


def test_random_bytes_and_random_damage_raise_nothing_but_input_errors(write):
  rng = random.Random(1)
  pieces = [b'>', b'\n', b'\r', b'\0', b',', b'"', b'id', b'sequence', b'MKT', b'*', b'-', b'x.a3m', b'\t', b'\xff\xfe']
  good = {
    'p.fasta': b'>x\nMKT\nAY\n>y\nACD\n',
    'p.a3m': SMALL_A3M.encode(),
    'p.csv': b'id,sequence,a3mpath\nx,MKT,\ny,MKTAY,x.a3m\n',
    'p.tsv': b'id\tsequence\nx\tMKT\n',
  }
  write('x.a3m', SMALL_A3M)
  usable = 0
  for i in range(800):
    name = rng.choice(list(good))
    content = bytearray(good[name] if i % 2 else b'')
    for _ in range(rng.randint(0, 4 if i % 2 else 20)):
      at = rng.randrange(len(content) + 1)
      content[at : at + rng.randint(0, 3)] = rng.choice(pieces) if rng.random() < 0.9 else rng.randbytes(2)
    path = write(name, bytes(content))
    usable += len(scan_queries(path).queries)
  assert 100 < usable < 800


def test_many_files_are_scanned_without_holding_their_alignments(tmp_path):
  for i in range(200):
    (tmp_path / f'p{i:03}.a3m').write_text('>q\nMKTAY\n' + ''.join(f'>{j}\nM{"ACDEF"[j % 5]}TAY\n' for j in range(300)))
  scan = scan_queries(tmp_path)
  assert len(scan.queries) == 200
  held = sum(sys.getsizeof(value) for query in scan.queries for value in vars(query).values())
  assert held < 200 * 1500 and not any(isinstance(query.alignment, np.ndarray) for query in scan.queries)


def test_a_file_that_changes_after_it_was_checked_is_not_taken_for_what_it_was(write):
  path = write('x.a3m', SMALL_A3M)
  contents = Contents(max_bytes=0)  # nothing is kept, as of a run too large for memory
  assert contents.depth(path) == 2 and contents.read(path) == SMALL_A3M.encode()
  digest = contents.digest(path)
  path.write_text('>q\nMKTAY\n')
  with pytest.raises(InputError, match='x.a3m: changed since the run began'):
    contents.read(path)
  assert contents.digest(path) == digest


STOCKHOLM = '# STOCKHOLM 1.0\n\nq MK-TAYI\na/1-6 MKA.AYI\n\nq AKQ-\na/1-6 A-QR\n//\n'


@pytest.mark.parametrize('name', ['p.sto', 'p.stk', 'p.a3m', 'p.STO', 'p.fasta', 'p.txt', 'p'])
def test_a_stockholm_alignment_is_read_as_what_it_is(tmp_path, name):
  (tmp_path / name).write_text(STOCKHOLM)
  (query,) = scan_queries(tmp_path / name).queries
  assert query.sequence == 'MKTAYIAKQ' and query.name == 'p'
  same = parse_a3m('>q\nMKTAYIAKQ\n>a/1-6\nMKa-AYIA-Qr\n', 'x')
  np.testing.assert_array_equal(query.load_alignment().tokens, same.tokens)
  np.testing.assert_array_equal(query.load_alignment().deletions, same.deletions)


def test_the_summary_of_a_folder_of_results_is_no_table_of_queries(tmp_path):
  (tmp_path / 'p.a3m').write_text(SMALL_A3M)
  (tmp_path / 'summary.csv').write_text('job,status\n')
  assert [item.name for item in scan_queries(tmp_path)] == ['p', 'summary']
  (tmp_path / 'config.json').write_text('{}')
  assert [item.name for item in scan_queries(tmp_path)] == ['p']
