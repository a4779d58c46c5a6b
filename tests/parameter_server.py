# SPDX-License-Identifier: Apache-2.0
"""Small parameter archives, and an HTTP server on this machine that serves them with the faults a test asks for."""

import contextlib
import http.server
import io
import threading
import time

import numpy as np

from alphafold_jax.weights import store

MODELS = ('model_1', 'model_1_ptm')
SHAPES = {
  'alphafold/alphafold_iteration/distogram_head/half_logits//weights': (12, 8),
  'alphafold/alphafold_iteration/distogram_head/half_logits//bias': (8,),
  'alphafold/alphafold_iteration/evoformer/left_single//weights': (300, 40),
}


def expected(model):
  return SHAPES


def parameter_file(seed, shapes=SHAPES):
  """The bytes of an .npz file with random arrays."""
  rng = np.random.default_rng(seed)
  out = io.BytesIO()
  np.savez(out, **{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
  return out.getvalue()


def good_members():
  return {
    './LICENSE': b'Attribution 4.0 International',
    './params_model_1.npz': parameter_file(1),
    './params_model_1_ptm.npz': parameter_file(2),
    './params_model_1_multimer_v3.npz': parameter_file(3),
  }


class Server(http.server.ThreadingHTTPServer):
  """Serves `content` at every path, with the faults that a test asks for."""

  daemon_threads = True

  def __init__(self, content):
    super().__init__(('127.0.0.1', 0), Handler)
    self.content = content
    self.tag = '"one"'
    self.cuts = []  # for each request to come: break the connection after so many bytes of its body
    self.states = []  # for each request to come: answer this instead; 0 for a good answer
    self.ranges = True
    self.compares_tags = True
    self.pause = 0.0  # s before each answer
    self.headers = {}
    self.requests = []  # (Range header, number of body bytes sent)

  @property
  def url(self):
    return f'http://127.0.0.1:{self.server_address[1]}/alphafold/alphafold_params_test.tar'

  @property
  def archive(self):
    return store.Archive(self.url, models=MODELS)

  def handle_error(self, request, client_address):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    server, wanted = self.server, self.headers.get('Range')
    time.sleep(server.pause)
    state = server.states.pop(0) if server.states else 0
    if state:
      server.requests.append((wanted, 0))
      self.send_error(state)
      return
    content, start = server.content, 0
    if wanted and server.ranges and (self.headers.get('If-Range') == server.tag or not server.compares_tags):
      start = int(wanted.removeprefix('bytes=').removesuffix('-'))
      if start >= len(content):
        self.send_response(416)
        self.send_header('Content-Range', f'bytes */{len(content)}')
        self.end_headers()
        return
      self.send_response(206)
      self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
    else:
      self.send_response(200)
    self.send_header('Content-Length', str(len(content) - start))
    if server.tag:
      self.send_header('ETag', server.tag)
    for name, value in server.headers.items():
      self.send_header(name, value)
    self.end_headers()
    body = content[start:]
    if server.cuts:
      body = body[: server.cuts.pop(0)]
    server.requests.append((wanted, len(body)))
    self.wfile.write(body)

  def log_message(self, *args):
    pass


@contextlib.contextmanager
def serving(content):
  """A server that runs while the block does."""
  with Server(content) as running:
    thread = threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    yield running
    running.shutdown()


def installed(directory):
  """Names of everything in the directory but the lock file."""
  return sorted(path.name for path in directory.iterdir() if path.name != '.lock')


ALL = ['LICENSE', 'NOTICE.txt', 'manifest.json', 'params_model_1.npz', 'params_model_1_ptm.npz']
