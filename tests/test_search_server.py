# SPDX-License-Identifier: Apache-2.0
"""The engine that asks an MMseqs2 server, against a server on this machine that speaks the protocol and misbehaves."""

import base64
import email.utils
import gzip
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
from pathlib import Path

import pytest
from msa_server import ENV, Answer, Waits, bomb, cif, entry, serving
from small_archives import special, tar_of

from alphafold_jax import search
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.structures import read_chain
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.search import m8
from alphafold_jax.search.server import archive, client
from alphafold_jax.search.server.client import Credentials, PassingError
from alphafold_jax.search.server.engine import Host, Server
from alphafold_jax.version import __version__

FIRST = 'MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ'
SECOND = 'DAEFRHDSGYEVHHQKLVFFAEDVGSNKGAIIGLMVGGVVIA'
THIRD = 'GSHMSLFDFFKNKGSA'
WANTED = re.compile(r'uniref\.a3m')


@pytest.fixture
def host():
  with serving() as running:
    yield running


def find(host, sequences=(FIRST, SECOND, THIRD), waits=None, **settings):
  """Everything that a search yields, by index."""
  engine = Server(Host(host.url, **settings), (waits or Waits()).clock)
  return dict(engine.search(sequences, lambda fraction, text: None))


def fails(host, pattern, **settings):
  """Expects that nothing can be found, and returns the message."""
  with pytest.raises(SearchError, match=pattern) as caught:
    find(host, **settings)
  return str(caught.value)


# What is found


def test_each_sequence_gets_the_rows_of_both_databases_in_the_order_of_merging(host):
  found = find(host)
  assert list(found) == [0, 1, 2] and host.count('submit') == 1 and host.modes == ['env']
  for index, sequence in enumerate((FIRST, SECOND, THIRD)):
    uniref, env = found[index].rows
    assert (uniref.database, uniref.num_found, env.database, env.num_found) == ('uniref', 2, 'env', 1)
    alignment = parse_a3m(uniref.a3m, 'test')
    assert alignment.query == sequence and alignment.names[1].startswith('HitA\t85')
  assert host.asked[0][1] == f'>101\n{FIRST}\n>102\n{SECOND}\n>103\n{THIRD}\n'


@pytest.mark.parametrize(
  'use_env, filtered, mode',
  [(True, True, 'env'), (False, True, 'all'), (True, False, 'env-nofilter'), (False, False, 'nofilter')],
)
def test_the_mode_says_which_databases_and_whether_to_filter(host, use_env, filtered, mode):
  found = find(host, use_env=use_env, filter=filtered)
  assert host.modes == [mode]
  assert [rows.database for rows in found[0].rows] == ['uniref', 'env'][: 1 + use_env]


def test_an_alignment_does_not_depend_on_the_place_of_its_sequence_in_the_batch(host):
  assert find(host, (FIRST, SECOND))[1] == find(host, (SECOND, THIRD))[0]


def test_many_sequences_go_in_batches_one_after_the_other(host):
  sequences = [FIRST[i:] for i in range(7)]
  told = []
  engine = Server(Host(host.url, batch=3), Waits().clock)
  found = dict(engine.search(sequences, lambda fraction, text: told.append((fraction, text))))
  assert [found[i].rows[0].a3m.split('\n')[1] for i in range(7)] == sequences
  assert [kind for kind, _ in host.asked] == ['submit', 'poll', 'download'] * 3
  fractions = [fraction for fraction, _ in told]
  assert fractions == sorted(fractions) and fractions[-1] == 1
  assert [text for _, text in told if text.startswith('downloading')]


def test_letters_that_the_server_rewrites_are_put_back(host):
  host.change = lambda files: {name: text.replace(sequence, 'MXDELXK') for name, text in files.items()}
  sequence = 'MUBZJOK'
  rows = find(host, [sequence])[0].rows[0]
  assert rows.a3m.startswith(f'>query\n{sequence}\n>HitA')


# States of a ticket


def test_waiting_grows_and_is_told(host):
  host.plans['poll'] = [Answer({'id': 'x', 'status': state}) for state in ('PENDING', 'PENDING', 'RUNNING', 'RUNNING')]
  waits, told = Waits(), []
  list(Server(Host(host.url), waits.clock).search([FIRST], lambda fraction, text: told.append(text.split(' (')[0])))
  assert told == ['waiting in the queue', 'waiting in the queue', 'searching', 'searching', 'downloading', 'done']
  for seconds, expected in zip(waits.slept, (5, 10, 20, 20), strict=True):
    assert 0.75 * expected <= seconds <= 1.25 * expected
  assert len(set(waits.slept)) == 4  # never in step with other clients


@pytest.mark.parametrize('state', ['RATELIMIT', 'MAINTENANCE', 'UNKNOWN'])
def test_a_batch_that_is_not_taken_is_sent_again_later(host, state):
  host.plans['submit'] = [Answer({'status': state}), Answer({'status': state})]
  waits = Waits()
  assert len(find(host, waits=waits)) == 3
  assert host.count('submit') == 3 and sum(waits.slept) >= 10


def test_maintenance_during_a_search_is_waited_out(host):
  host.plans['poll'] = [Answer({'status': 'MAINTENANCE'})]
  assert len(find(host)) == 3 and host.count('submit') == 1


def test_a_sequence_on_which_the_server_fails_does_not_spoil_its_batch(host):
  host.bad = {SECOND}
  found = find(host)
  assert isinstance(found[1], SearchError) and 'reports ERROR for the sequence DAEFRH' in str(found[1])
  assert found[0].rows[0].num_found == found[2].rows[0].num_found == 2


def test_one_bad_sequence_in_a_full_batch_is_singled_out(host):
  sequences = [f'{FIRST}{"A" * i}' for i in range(20)]
  host.bad = {sequences[0]}
  found = find(host, sequences)
  assert [i for i in found if isinstance(found[i], SearchError)] == [0]


def test_a_server_that_fails_on_every_ticket_is_given_up(host):
  sequences = [f'{FIRST}{"A" * i}' for i in range(20)]
  host.bad = set(sequences)
  with pytest.raises(SearchError, match='so did it for the 6 tickets before'):
    find(host, sequences)
  assert host.count('submit') == 7


def test_a_forgotten_ticket_is_asked_for_anew(host):
  host.plans['poll'] = [Answer({'status': 'RUNNING'}), Answer({'status': 'UNKNOWN'})]
  assert len(find(host)) == 3 and host.count('submit') == 2


def test_a_server_that_always_forgets_is_given_up(host):
  host.plans['poll'] = [Answer({'status': 'UNKNOWN'})] * 100
  fails(host, 'forgot its ticket 5 times')
  assert host.count('submit') == 5


def test_results_that_were_thrown_away_are_made_anew(host):
  host.plans['download'] = [Answer(b'no such ticket', 400)]
  assert len(find(host)) == 3 and host.count('submit') == 2


# Broken transfers


@pytest.mark.parametrize('fault', [{'cut': 100}, {'cut': 100, 'length': -1}, {'length': 5}, {'length': 100_000}])
def test_a_cut_download_is_noticed_and_repeated(host, fault):
  whole = tar_of({'uniref.a3m': entry('101', FIRST), ENV: entry('101', FIRST)}, packed=True)
  host.plans['download'] = [Answer(whole, **fault)]
  assert find(host, [FIRST])[0].rows[0].num_found == 2
  assert host.count('download') == 2 and host.count('submit') == 1


def test_every_cut_of_an_archive_is_noticed():
  whole = tar_of({'uniref.a3m': entry('101', FIRST)}, packed=True)
  for length in range(len(whole)):
    with pytest.raises(PassingError, match='damaged or cut off'):
      archive.read(whole[:length], WANTED, 'test')
  assert list(archive.read(whole, WANTED, 'test')) == ['uniref.a3m']


def test_a_changed_byte_of_an_archive_is_noticed():
  whole = bytearray(tar_of({'uniref.a3m': entry('101', FIRST)}, packed=True))
  whole[len(whole) // 2] ^= 1
  with pytest.raises(PassingError):
    archive.read(bytes(whole), WANTED, 'test')


def test_a_download_that_never_comes_whole_is_given_up(host):
  host.plans['download'] = [Answer(b'x' * 1000)] * 100
  fails(host, 'archive is damaged or cut off.*gave up after 7 tries')
  assert host.count('download') == 7


@pytest.mark.parametrize('code', [500, 502, 503, 504, 408])
def test_server_errors_pass(host, code):
  for plans in host.plans.values():
    plans.append(Answer(b'oops', code))
  assert len(find(host)) == 3


def test_server_errors_that_do_not_pass_are_told(host):
  host.plans['submit'] = [Answer(b'<h1>Internal</h1>\nfault', 500)] * 100
  fails(host, r'answered 500 Internal Server Error \(Internal fault\); gave up after 7 tries.*--host-url')


@pytest.mark.parametrize('code', [429, 503])
def test_retry_after_is_honoured_in_seconds_and_as_a_date(host, code):
  then = email.utils.formatdate(time.time() + 500, usegmt=True)
  host.plans['submit'] = [Answer(b'', code, {'Retry-After': '77'}), Answer(b'', code, {'Retry-After': then})]
  waits = Waits()
  find(host, waits=waits)
  assert waits.slept[0] == 77 and 480 <= waits.slept[1] <= 500


def test_a_rate_limit_is_waited_out_however_often_it_comes(host):
  host.plans['submit'] = [Answer({'status': 'RATELIMIT', 'reason': 'slow down'}, 429)] * 20
  assert len(find(host)) == 3


def test_a_page_instead_of_json_is_not_taken_for_a_state(host):
  page = Answer(b'<html>Sign in to the hotel network</html>')
  host.plans['poll'] = [page]
  assert len(find(host)) == 3
  host.plans['submit'] = [page] * 100
  fails(host, 'not that of an MMseqs2 server, but perhaps the page of a proxy')


@pytest.mark.parametrize('body', [b'[]', b'{}', b'null', b'{"status": 3}', b'{"status": "DANCING"}', b'\xff\xfe'])
def test_json_that_is_no_state_is_refused(host, body):
  host.plans['submit'] = [Answer(body)] * 100
  fails(host, 'not that of an MMseqs2 server|does not know')


def test_a_ticket_that_is_no_ticket_is_not_used(host):
  host.plans['submit'] = [Answer({'id': '../../admin', 'status': 'PENDING'})]
  find(host)
  assert all('admin' not in what for _, what in host.asked)


# Refusals


@pytest.mark.parametrize(
  'code, pattern',
  [
    (401, 'asks for credentials, or does not know those given: check user name and password'),
    (403, r'answered 403 Forbidden \(blocked: too many\).*does not serve you'),
    (404, 'answered 404 Not Found.*Check the address'),
  ],
)
def test_a_refusal_is_final_and_says_what_to_do(host, code, pattern):
  host.plans['submit'] = [Answer(b'blocked:\n too many', code)]
  fails(host, pattern)
  assert len(host.asked) == 1


def test_a_connection_that_is_refused_is_told_after_some_tries():
  waits = Waits()
  with pytest.raises(SearchError, match=r'127.0.0.1:9: no connection.*gave up after 7 tries.*--host-url'):
    list(Server(Host('http://127.0.0.1:9'), waits.clock).search([FIRST], lambda *_: None))
  assert len(waits.slept) == 6


def failing(reason):
  """A client whose connection fails for this reason."""

  def open_url(*args, **kwargs):
    raise urllib.error.URLError(reason)

  made = client.Client('https://msa.example', client.Credentials(), contact='', timeout=1, clock=Waits().clock)
  made._opener.open = open_url
  made.begin(1000)
  return made


def test_an_unknown_host_name_and_a_bad_certificate_are_told_at_once():
  certificate = ssl.SSLCertVerificationError(1, 'certificate verify failed')
  certificate.verify_message = 'self-signed certificate'
  for reason, pattern in (
    (socket.gaierror(-2, 'Name or service not known'), 'host name cannot be resolved'),
    (certificate, 'self-signed certificate.*SSL_CERT_FILE'),
  ):
    with pytest.raises(SearchError, match=pattern):
      failing(reason).ask('queue', bytes)


# Alignments that are not what was asked for


def changed(host, change):
  """Results for three sequences after a change of the file uniref.a3m."""
  host.change = lambda files: files | {'uniref.a3m': change(files['uniref.a3m'])}
  return find(host)


@pytest.mark.parametrize(
  'change, pattern',
  [
    (lambda text: '\0'.join(text.split('\0')[::2]), 'no alignments of the sequence DAEFRH'),
    (lambda text: text + entry('102', SECOND), '2 alignments of the sequence DAEFRH'),
    (lambda text: text.replace('>102\n', '>999\n'), 'no alignments of the sequence DAEFRH'),
    (lambda text: text.replace(f'>102\n{SECOND}', f'>102\n{FIRST}'), 'is that of another sequence, MKTAYI'),
    (lambda text: text.replace(f'A{SECOND[1:]}', f'A{SECOND[1:-5]}'), "row 'HitA'.*another number of columns"),
  ],
  ids=['missing', 'duplicate', 'foreign', 'other query', 'short row'],
)
def test_a_faulty_alignment_is_its_sequence_s_error_only(host, change, pattern):
  found = changed(host, change)
  assert isinstance(found[1], SearchError) and re.search(pattern, str(found[1]))
  assert found[0].rows[0].num_found == found[2].rows[0].num_found == 2


def test_alignments_may_come_in_another_order_with_stray_white_space(host):
  found = changed(host, lambda text: '\n\0' + '\0\n'.join(reversed(text.split('\0'))) + '\0\0\n')
  assert [found[i].rows[0].a3m.split('\n')[1] for i in range(3)] == [FIRST, SECOND, THIRD]


def test_insertions_in_lower_case_are_no_columns(host):
  found = changed(host, lambda text: text.replace(f'A{SECOND[1:]}', f'Awwy{SECOND[1:]}'))
  assert 'Awwy' in found[1].rows[0].a3m


def test_results_without_a_database_are_refused(host):
  host.change = lambda files: {'msa.sh': ''}
  fails(host, rf'the results lack uniref.a3m, {ENV}')


# Archives that are not what they should be


@pytest.mark.parametrize(
  'member, fault',
  [
    (special('../uniref.a3m', size=3), 'leaves its directory'),
    (special('a/../../b', size=3), 'leaves its directory'),
    (special('/etc/cron.d/x', size=3), 'leaves its directory'),
    (special('..\\x', size=3), 'leaves its directory'),
    (special('uniref.a3m', tarfile.SYMTYPE, '/etc/passwd'), 'link or a special file'),
    (special('hard', tarfile.LNKTYPE, 'uniref.a3m'), 'link or a special file'),
    (special('pipe', tarfile.FIFOTYPE), 'link or a special file'),
    (special('device', tarfile.CHRTYPE), 'link or a special file'),
    (special('device', tarfile.BLKTYPE), 'link or a special file'),
    (special('uniref.a3m', size=3), 'twice'),
  ],
  ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_hostile_archive_is_refused_whole_and_writes_nothing(host, tmp_path, monkeypatch, member, fault):
  monkeypatch.chdir(tmp_path)
  host.extra = [member]
  fails(host, rf'127.0.0.1.*{fault}')
  assert not list(tmp_path.iterdir())


def test_a_member_that_claims_too_much_is_refused_before_it_is_read():
  info = special('uniref.a3m', size=1 << 40)
  with pytest.raises(SearchError, match='claims 1024.0 GiB'):
    archive.read(gzip.compress(info.tobuf()), WANTED, 'test')


def test_a_decompression_bomb_is_bounded():
  packed = bomb(64 << 20)
  assert len(packed) < 100_000
  with pytest.raises(SearchError, match='unpacks to more than 8 MiB|claims'):
    archive.read(packed, WANTED, 'test', largest=8 << 20)
  with pytest.raises(SearchError, match='unpacks to more than 64 MiB'):  # the headers come on top
    archive.read(packed, re.compile('other'), 'test', largest=64 << 20)


# The deadline, and tickets that outlive a run


def test_a_deadline_that_is_over_is_told_and_the_ticket_kept(host, tmp_path):
  host.plans['poll'] = [Answer({'status': 'RUNNING'})] * 1000
  waits = Waits()
  message = fails(
    host, 'no result within the 2 h allowed, the last word was: state RUNNING', waits=waits, tickets=tmp_path
  )
  assert 'Run the same command again' in message
  assert 7100 < waits.time <= 7200
  assert len(list(tmp_path.iterdir())) == 1


def test_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for(host):
  host.plans['submit'] = [Answer(b'', 503, {'Retry-After': '100000'})]
  waits = Waits()
  fails(host, 'no result within the 10 min allowed', waits=waits, deadline=600)
  assert waits.slept == []


def test_a_later_run_asks_for_the_old_ticket(host, tmp_path):
  host.plans['poll'] = [Answer({'status': 'RUNNING'})] * 5
  fails(host, 'no result', tickets=tmp_path, deadline=20)
  host.plans['poll'] = []
  assert len(find(host, tickets=tmp_path)) == 3
  assert host.count('submit') == 1 and not list(tmp_path.iterdir())


def test_a_killed_process_leaves_its_ticket_to_the_next(host, tmp_path):
  host.plans['poll'] = [Answer({'status': 'RUNNING'})] * 1000
  code = (
    'import sys; from alphafold_jax.search.server.engine import Host, Server; from pathlib import Path;'
    'engine = Server(Host(sys.argv[1], tickets=Path(sys.argv[2])));'
    f'list(engine.search({(FIRST, SECOND)!r}, lambda fraction, text: print(text, flush=True)))'
  )
  root = Path(search.__file__).parents[2]
  child = subprocess.Popen([sys.executable, '-c', code, host.url, str(tmp_path)], cwd=root, stdout=subprocess.PIPE)
  assert child.stdout.readline().startswith(b'searching')
  os.kill(child.pid, signal.SIGKILL)
  child.communicate(timeout=20)
  host.plans['poll'] = []
  assert len(find(host, (FIRST, SECOND), tickets=tmp_path)) == 2
  assert host.count('submit') == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize('answer', [Answer({'status': 'UNKNOWN'}), Answer(b'', 404), Answer(b'no ticket', 400)])
def test_an_old_ticket_that_the_server_does_not_know_is_replaced(host, tmp_path, answer):
  host.plans['poll'] = [Answer({'status': 'RUNNING'})] * 5
  fails(host, 'no result', tickets=tmp_path, deadline=20)
  host.plans['poll'] = [answer]
  assert len(find(host, tickets=tmp_path)) == 3 and host.count('submit') == 2


def test_a_ticket_is_kept_until_all_its_results_are_taken(host, tmp_path):
  results = Server(Host(host.url, tickets=tmp_path), Waits().clock).search([FIRST, SECOND], lambda *_: None)
  next(results)
  assert len(list(tmp_path.iterdir())) == 1
  list(results)
  assert not list(tmp_path.iterdir())


def test_a_damaged_ticket_file_is_not_believed(host, tmp_path):
  host.plans['poll'] = [Answer({'status': 'RUNNING'})]
  fails(host, 'no result', tickets=tmp_path, deadline=1)
  (ticket,) = tmp_path.iterdir()
  for content in ('', '{', '{"ticket": "../x"}', '[]'):
    ticket.write_text(content)
    assert len(find(host, tickets=tmp_path)) == 3
  assert host.count('submit') == 5


# Credentials and privacy


def test_the_user_agent_names_program_version_and_contact(host):
  find(host, contact='me@example.org')
  assert {headers['User-Agent'] for headers in host.headers} == {f'alphafold-jax/{__version__} (me@example.org)'}


def test_credentials_arrive_and_are_never_shown(host, caplog):
  secrets = Credentials(user='me', password='sesame-7', key_header='X-Secret', key='key-12345')
  encoded = base64.b64encode(b'me:sesame-7').decode()
  host.plans['poll'] = [Answer(b'', 500)]
  host.plans['download'] = [Answer(f'you sent key-12345 and {encoded} and sesame-7'.encode(), 403)]
  with caplog.at_level(logging.DEBUG):
    message = fails(host, 'you sent', credentials=secrets)
  assert all(headers['Authorization'] == f'Basic {encoded}' for headers in host.headers)
  assert all(headers['X-Secret'] == 'key-12345' for headers in host.headers)
  engine = Server(Host(host.url, credentials=secrets))
  shown = ' '.join([message, caplog.text, str(engine.identity()), repr(Host(host.url, credentials=secrets))])
  assert 'trying again' in caplog.text
  assert not [secret for secret in ('sesame-7', 'key-12345', encoded) if secret in shown]


def test_without_credentials_none_are_sent(host):
  find(host)
  assert not [headers for headers in host.headers if 'Authorization' in headers or 'X-API-Key' in headers]


def test_credentials_do_not_go_out_unencrypted():
  for secret in (Credentials(user='me', password='x'), Credentials(key='x')):
    with pytest.raises(InputError, match='unencrypted; use https'):
      Server(Host('http://msa.example', credentials=secret))
    Server(Host('http://localhost:8080', credentials=secret))
    Server(Host('https://msa.example', credentials=secret))


@pytest.mark.parametrize(
  'settings, pattern',
  [
    ({'url': 'https://me:sesame@msa.example'}, 'give them apart'),
    ({'url': 'ftp://msa.example'}, 'not the address of a server'),
    ({'url': 'msa.example'}, 'not the address of a server'),
    ({'url': 'https://msa.example/?key=1'}, 'not the address of a server'),
    ({'url': 'https://[1'}, 'not the address of a server'),
    ({'url': 'https://msa.example:port'}, 'not the address of a server'),
    ({'url': 'https://msa.example', 'credentials': Credentials(key='sesame\n')}, 'check for blanks and line ends'),
    ({'url': 'https://msa.example', 'credentials': Credentials(user='a:b', password='sesame')}, 'colon'),
    ({'url': 'https://msa.example', 'contact': 'a\nb'}, 'give a mail address'),
    ({'url': 'https://msa.example', 'batch': 0}, 'must be greater than 0'),
  ],
)
def test_settings_that_cannot_be_used_are_refused_without_a_request(settings, pattern):
  with pytest.raises(InputError, match=pattern) as caught:
    Server(Host(**settings))
  assert 'sesame' not in str(caught.value)


@pytest.mark.parametrize('code', [301, 302, 303, 307, 308])
@pytest.mark.parametrize('kind', ['submit', 'poll', 'download'])
def test_nothing_follows_a_redirection(host, code, kind):
  with serving() as other:
    host.plans[kind] = [Answer(b'', code, {'Location': f'{other.url}/ticket/msa'})]
    fails(host, rf'redirects to {other.url}, where nothing is sent unasked', credentials=Credentials(key='sesame'))
    assert not other.asked


def test_the_identity_is_of_server_and_mode_only(host):
  engine = Server(Host(f'{host.url}/', use_env=False))
  assert engine.identity() == {'engine': 'server', 'url': host.url, 'mode': 'all', 'templates': False}
  assert not host.asked


# Templates


def line(name, target, start, cigar, target_start, evalue='1E-20'):
  """One line of the server's table."""
  counts = [(int(n), step) for n, step in re.findall(r'(\d+)([MID])', cigar)]
  end, target_end = (
    at - 1 + sum(n for n, step in counts if step in kinds) for at, kinds in ((start, 'MI'), (target_start, 'MD'))
  )
  columns = [
    name,
    target,
    '0.9',
    sum(n for n, _ in counts),
    0,
    0,
    start,
    end,
    target_start,
    target_end,
    evalue,
    76,
    cigar,
  ]
  return '\t'.join(map(str, columns)) + '\n'


def test_template_hits_have_the_residue_pairs_of_their_cigars(host, tmp_path):
  host.templates = {'1ABC_A': 'GG' + SECOND[:20] + 'WW' + SECOND[21:], '2xyz_B': SECOND}
  host.table = (
    line('102', '1ABC_A', 1, '20M1I2D21M', 3) + line('102', '2xyz_B', 2, '41M', 2) + line('102', '1ABC_A', 1, '5M', 3)
  )
  found = find(host, templates=True, structures=tmp_path / 'cif')
  first, second = found[1].hits
  assert (first.entry, first.chain, first.start, first.evalue) == ('1abc', 'A', 2, 1e-20)
  assert first.sequence == SECOND[:20] + 'WW' + SECOND[21:]
  assert first.pairs == tuple((i, i) for i in range(20)) + tuple((i, i + 1) for i in range(21, 42))
  assert all(SECOND[q] == first.sequence[t] for q, t in first.pairs)
  assert second.sequence == SECOND[1:] and second.pairs[0] == (1, 0) and len(second.pairs) == 41
  assert found[0].hits == found[2].hits == () and found[1].notes == ()
  assert sorted(path.name for path in (tmp_path / 'cif').iterdir()) == ['1abc.cif', '2xyz.cif']
  assert len(read_chain(tmp_path / 'cif' / '2xyz.cif').sequence) == len(SECOND)


def test_templates_are_fetched_in_groups_of_twenty_at_most_and_each_once(host, tmp_path):
  host.templates = {f'1a{i:02d}_A': FIRST for i in range(30)}
  names = list(host.templates)
  host.table = ''.join(line('101', name, 1, '33M', 1) for name in names[:25]) + ''.join(
    line('102', name, 1, '10M', 1) for name in names[10:]
  )
  found = find(host, templates=True, structures=tmp_path)
  groups = [what.split(',') for kind, what in host.asked if kind == 'template']
  assert [len(group) for group in groups] == [20, 10]
  assert sum(groups, []) == names
  assert [hit.name for hit in found[0].hits] == names[:20]  # the best twenty
  assert [hit.name for hit in found[1].hits] == names[10:]
  assert len(list(tmp_path.iterdir())) == 30


def test_a_template_that_the_server_has_lost_does_not_spoil_the_others(host, tmp_path):
  host.templates = {f'1a{i:02d}_A': FIRST for i in range(20)}
  host.lost = {'1a07_A'}
  host.table = ''.join(line('101', name, 1, '33M', 1) for name in host.templates)
  found = find(host, templates=True, structures=tmp_path)
  assert len(found[0].hits) == 19
  assert found[0].notes == ('template hits left out, their sequences are missing or do not fit: 1a07_A',)
  assert host.count('template') == 1 + 2 * 4  # halved until it is alone


def test_a_template_request_that_fails_for_good_ends_the_search(host):
  host.templates = {'1abc_A': FIRST}
  host.table = line('101', '1abc_A', 1, '33M', 1)
  host.plans['template'] = [Answer(b'', 500)] * 100
  fails(host, 'answered 500', templates=True)


def test_lines_that_do_not_fit_are_left_out_with_a_note(host):
  host.templates = {'1abc_A': FIRST, '2abc_A': 'MKT', '3abc_A': FIRST, '4abc_A': FIRST}
  host.table = (
    line('101', '1abc_A', 1, '33M', 1)
    + line('101', '2abc_A', 1, '33M', 1)
    + line('101', '3abc_A', 20, '33M', 1)
    + line('101', '../..', 1, '33M', 1)
    + 'nonsense\n'
    + line('101', '1abc_A', 0, '3M', 1)
    + line('101', '4abc_A', 1, '999999M', 1)
    + line('101', '5abc_A', 1, '9999999M', 1)
  )
  found = find(host, [FIRST], templates=True)[0]
  assert [hit.name for hit in found.hits] == ['1abc_A']
  assert found.notes[0].startswith('4 lines of') and '2abc_A, 3abc_A, 4abc_A' in found.notes[1]


def test_structures_that_are_there_are_kept_and_odd_names_are_not_written(host, tmp_path):
  folder = tmp_path / 'cif'
  folder.mkdir()
  (folder / '1abc.cif').write_text('mine')
  host.templates = {'1abc_A': FIRST}
  host.table = line('101', '1abc_A', 1, '33M', 1)
  names = ('1abc.cif', 'evil.sh', '.bashrc', 'ABCD.cif', 'toolong.cif', 'sub/9xyz.cif')
  host.plans['template'] = [Answer(tar_of({name: cif(FIRST) for name in names}, packed=True))]
  found = find(host, [FIRST], templates=True, structures=folder)[0]
  assert (folder / '1abc.cif').read_text() == 'mine'
  assert sorted(path.name for path in tmp_path.rglob('*')) == ['1abc.cif', '9xyz.cif', 'cif']
  assert found.hits == ()


def test_templates_are_neither_read_nor_asked_for_unless_wanted(host):
  host.table = line('101', '1abc_A', 1, '33M', 1)
  assert find(host)[0].hits == () and host.count('template') == 0


def test_a_server_without_template_hits_is_told_in_a_note(host):
  host.change = lambda files: {name: text for name, text in files.items() if name != 'pdb70.m8'}
  assert 'pdb70.m8 is missing' in find(host, templates=True)[0].notes[0]


def test_the_steps_of_a_cigar_mean_what_mmseqs_means_by_them():
  # mmseqs 14-7e284: createdb, search -a, convertalis --format-output query,target,...,cigar of this query and target
  query = 'MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQUBZJOAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKR'
  target = 'GGMKTAYIAKQRQISFVKSHFSRLEERLGLIEVQUBZJOAPILSRVGDGTQDNLSWWGAEKAVQVKVKALPDAQFEVVHSLAKWKR'
  text = '101\t1abc_A\t0.964\t85\t0\t2\t1\t83\t3\t86\t3.558E-53\t149\t21M1I32M2D29M\n'
  lines, unread = m8.read_table(text, 20)
  hit = lines['101'][0].hit(target, len(query))
  assert unread == 0 and len(hit.pairs) == 82
  assert all(query[q] == hit.sequence[t] for q, t in hit.pairs)
  assert hit.sequence == target[2:]
