# SPDX-License-Identifier: Apache-2.0
"""A server on this machine that speaks the protocol of MMseqs2 servers, with the faults that a test asks for."""

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import json
import re
import tarfile
import threading
import urllib.parse

from small_archives import tar_of

from alphafold_jax.search.server.client import RequestClock

ENV = 'bfd.mgnify30.metaeuk30.smag30.a3m'


def entry(name, sequence, rows=('A', 'C')):
  """An alignment as the server gives it: each row differs from the query in its first residue."""
  found = ''.join(f'>Hit{letter}\t85\t1.00\t1.3E-17\n{letter}{sequence[1:]}\n' for letter in rows)
  return f'>{name}\n{sequence}\n{found}'


def pair_rows(sequence):
  """Paired rows as the server gives them: one of each of three taxa."""
  return ''.join(f'>Pair{letter}\n{sequence[:-1]}{letter}\n' for letter in 'WYH')


def cif(sequence, chain='A'):
  """An mmCIF file of a straight chain of alanines."""
  lines = [
    f'ATOM {i} C CA . ALA {chain} 1 {i} ? {3.8 * i:.3f} 0.000 0.000 1.00 10.00 ? {i} ALA {chain} CA 1'
    for i in range(1, len(sequence) + 1)
  ]
  names = (
    'group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id '
    'label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv pdbx_formal_charge '
    'auth_seq_id auth_comp_id auth_asym_id auth_atom_id pdbx_PDB_model_num'
  ).split()
  return 'data_TEST\n#\nloop_\n' + ''.join(f'_atom_site.{name}\n' for name in names) + '\n'.join(lines) + '\n#\n'


@dataclasses.dataclass
class Answer:
  """What is sent back for one request."""

  body: bytes | dict
  code: int = 200
  headers: dict = dataclasses.field(default_factory=dict)
  cut: int | None = None  # break the connection after so many bytes
  length: int | None = None  # state this Content-Length; -1: state none

  @property
  def content(self):
    return json.dumps(self.body).encode() if isinstance(self.body, dict) else self.body


class MsaServer(http.server.ThreadingHTTPServer):
  """Searches by making rows up; `plans` override what it answers to the next requests."""

  daemon_threads = True

  def __init__(self):
    super().__init__(('127.0.0.1', 0), Handler)
    kinds = ('submit', 'pair', 'poll', 'download', 'template')
    self.plans = {kind: [] for kind in kinds}  # answers to come, before the usual ones
    self.asked = []  # (kind, what was asked for)
    self.headers = []  # of each request
    self.batches = {}  # ticket: {name: sequence}
    self.pairs = {}  # sequence: the rows that pair it, as text; of others they are made up
    self.kinds = {}  # ticket: 'submit' or 'pair'
    self.modes = []
    self.bad = set()  # sequences that make a ticket end in ERROR
    self.table = ''  # pdb70.m8
    self.templates = {}  # target: sequence
    self.lost = set()  # targets that spoil an archive
    self.change = lambda files: files  # of {file name: text}, before they are packed
    self.extra = ()  # further tar members

  @property
  def url(self):
    return f'http://127.0.0.1:{self.server_address[1]}'

  def count(self, kind):
    return sum(asked == kind for asked, _ in self.asked)

  def results(self, ticket):
    """The files of a ticket."""
    batch = self.batches[ticket].items()
    if self.kinds[ticket] == 'pair':
      blocks = [f'>{name}\n{sequence}\n{self.pairs.get(sequence, pair_rows(sequence))}' for name, sequence in batch]
      text = '\0'.join(blocks * (1 + self.modes[-1].endswith('-env'))) + '\0'
      return tar_of(self.change({'pair.a3m': text, 'pair.sh': '#!/bin/sh\n'}), self.extra, packed=True)
    files = {
      'uniref.a3m': '\0'.join(entry(*item) for item in batch) + '\0',
      ENV: '\0'.join(entry(*item, rows='E') for item in batch) + '\0',
      'pdb70.m8': self.table,
      'msa.sh': '#!/bin/sh\n',
    }
    return tar_of(self.change(files), self.extra, packed=True)

  def template_archive(self, targets):
    index, data = '', ''
    for target in targets:
      text = f'>ss_pred PSIPRED\nCCC\n>{target}\n{self.templates[target]}\n>other\n{self.templates[target].lower()}\n'
      index += f'{target}\t{len(data)}\t{len(text) + 1}\n'
      data += f'{text}\0'
    cifs = {f'{target.split("_")[0].lower()}.cif': cif(self.templates[target]) for target in targets}
    return tar_of({'pdb70_a3m.ffdata': data, 'pdb70_a3m.ffindex': index, **cifs}, packed=True)

  def handle_error(self, request, client_address):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
  def do_POST(self):
    form = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
    kind = {'msa': 'submit', 'pair': 'pair'}.get(self.path.partition('/ticket/')[2])
    if kind is None:
      return self.answer('nothing', Answer(b'404 page not found\n', 404), self.path)
    query, mode = form['q'][0], form['mode'][0]
    ticket = hashlib.sha224(f'{query} {mode}'.encode()).hexdigest()[:16]

    def usual():
      self.server.batches[ticket] = dict(re.findall(r'>(\w+)\n(\w+)\n', query))
      self.server.modes.append(mode)
      self.server.kinds[ticket] = kind
      return Answer({'id': ticket, 'status': 'PENDING'})

    return self.answer(kind, usual, query)

  def do_GET(self):
    path = self.path.split('/')
    if path[1:3] == ['result', 'download']:
      return self.answer('download', lambda: Answer(self.server.results(path[3])), path[3])
    if path[1] == 'template':
      return self.answer('template', lambda: self.templates(path[2].split(',')), path[2])
    return self.answer('poll', lambda: Answer(self.state(path[2])), path[2])

  def state(self, ticket):
    if ticket not in self.server.batches:
      return {'id': ticket, 'status': 'UNKNOWN'}
    failed = self.server.bad & set(self.server.batches[ticket].values())
    return {'id': ticket, 'status': 'ERROR' if failed else 'COMPLETE'}

  def templates(self, targets):
    whole = self.server.template_archive([target for target in targets if target not in self.server.lost])
    return Answer(whole[:-20] + b'open: no such file\n' if self.server.lost & set(targets) else whole)

  def answer(self, kind, usual, what):
    self.server.asked.append((kind, what))
    self.server.headers.append(dict(self.headers))
    plans = self.server.plans.get(kind)
    answer = plans.pop(0) if plans else usual() if callable(usual) else usual
    content = answer.content
    self.send_response(answer.code)
    if answer.length != -1:
      self.send_header('Content-Length', str(answer.length or len(content)))
    for name, value in answer.headers.items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(content[: answer.cut])

  def log_message(self, *args):
    pass


@contextlib.contextmanager
def serving():
  """A server that runs while the block does."""
  with MsaServer() as running:
    thread = threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()


class Waits:
  """A clock that only waiting moves."""

  def __init__(self):
    self.time, self.slept = 0.0, []

  def sleep(self, seconds):
    self.slept.append(seconds)
    self.time += seconds

  @property
  def clock(self):
    return RequestClock(now=lambda: self.time, sleep=self.sleep)


def bomb(num_bytes):
  """A small archive of one member with many zeros."""
  out = io.BytesIO()
  info = tarfile.TarInfo('uniref.a3m')
  info.size = num_bytes
  with gzip.GzipFile(fileobj=out, mode='wb', compresslevel=9) as packed:
    packed.write(info.tobuf())
    for _ in range(num_bytes >> 20):
      packed.write(bytes(1 << 20))
  return out.getvalue()
