# SPDX-License-Identifier: Apache-2.0
"""No input ends a parser in anything but a typed error: damaged inputs by chance, and those that once did.

benchmarks/fuzz.py runs a million of the same kind.
"""

import gzip
import io
import tarfile
import time
import zipfile

import fuzz_inputs
import fuzz_parsers
import fuzz_seeds
import numpy as np
import pytest
from fuzz_parsers import BY_NAME, PARSERS
from small_archives import special, tar_of

from alphafold_jax.errors import InputError

NUM_INPUTS = 150
DEEP, LONG, DIGITS = b'[' * 100_000, b'x' * 300, b'1' * 5000
SPARSE = {'GNU.sparse.size': 'x'}


def pax(name: str, **headers: str) -> bytes:
  """A tar archive of one member with these extended headers."""
  info = special(name, size=1)
  info.pax_headers = headers
  return info.tobuf(tarfile.PAX_FORMAT) + b'x'.ljust(512, b'\0') + bytes(1024)


def npz(name: str, content: bytes) -> bytes:
  """An .npz archive of one member."""
  out = io.BytesIO()
  with zipfile.ZipFile(out, 'w') as archive:
    archive.writestr(name, content)
  return out.getvalue()


def of_version(archive: bytes, version: int) -> bytes:
  """A zip archive that says a program of that version is needed to read it."""
  place = archive.index(b'PK\x01\x02') + 6
  return archive[:place] + version.to_bytes(2, 'little') + archive[place + 2 :]


def npy_header(text: bytes) -> bytes:
  return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text


def kept_search(a3m: str) -> bytes:
  found = f'{{"rows": [{{"database": "x", "a3m": {a3m}, "num_found": 1}}], "hits": [], "notes": []}}'
  return gzip.compress(f'{{}}\n{found}\n'.encode())


ONCE_FAULTS = (  # parser, input, whether it is accepted: what is only of this program counts as absent
  ('template map', DEEP, False),
  ('template map', DIGITS, False),
  ('template map', b'[{"structure": "' + LONG + b'"}]', False),
  ('template map', b'[{"structure": "~nobody-of-this-name/x.pdb"}]', False),
  ('CSV', b'id,sequence,a3mpath\na,MKT,' + LONG + b'\n', False),
  ('--database', b'uniref90=' + LONG, False),
  ('database archive', gzip.compress(pax('set', **SPARSE)), False),
  ('database archive', tar_of({'set': b'x'}, [special('set.idx', tarfile.SYMTYPE, 'x' * 300)], packed=True), True),
  ('parameter archive', pax('LICENSE', **SPARSE), False),
  ('server archive', gzip.compress(pax('1abc.cif', **SPARSE)), False),
  ('server archive', tar_of({'pdb70_a3m.ffindex': b'a\t' + DIGITS + b'\t1\n'}, packed=True), True),
  ('server archive', tar_of({'pdb70_a3m.ffindex': 'a\t\u00b2\t1\n'}, packed=True), True),
  ('server answer', DEEP, False),
  ('server ticket', DEEP, True),
  ('record of databases', DEEP, False),
  ('parameter manifest', DEEP, False),
  ('partial download', b'{"url": "https://a/x", "total": {}}', True),
  ('headers of a download', 'Content-Length: \u00b2'.encode(), True),
  ('headers of a download', b'Content-Range: bytes ' + DIGITS + b'-2/3', True),
  ('Retry-After', '\u00b2'.encode(), True),
  ('Retry-After', b'Wed, 21 Oct 99999999999 07:28:00 GMT', True),
  ('hhr', fuzz_seeds.hhr()[0].replace('1 M', f'{"1" * 5000} M', 1).encode(), False),
  ('kept search', kept_search('{}'), True),
  ('kept hits', b'[1]', False),
  ('kept hits', b'\xff', False),
  ('claim', b'\xff', True),
  ('claim', b'{"deaths": "1", "pid": 1e99}', True),
  ('run in a folder', b'{"flags": {"--num-recycle": 1.5}, "settings": "x"}', True),
  ('done record', DEEP, True),
  ('names.json', DEEP, True),
  ('scores', DEEP, False),
  ('trials of kernels', DEEP, True),
  ('parameters', npz('a.npy', npy_header(b'[' * 3000)), False),
  ('parameters', of_version(npz('a.npy', b''), 255), False),
  ('parameters', npz('a.npy', npy_header(b'(' * 60_000)), False),
  (
    'parameters',
    npz('a.npy', npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000,), }")),
    False,
  ),
  ('features', npz('__format__', b'{}'), False),
  ('metrics.csv', b'step,loss\n1,\xb0\n', False),
  ('metrics.csv', 'step,loss\n\u00b2,1\n'.encode() + DIGITS + b',1\n', True),
  ('release date', fuzz_seeds.MMCIF.replace('1 2015', ';1 2015').encode(), True),
  ('table of chains', b'x' * 20_000, False),
  ('--config', b'name={[1]}', True),
)


@pytest.mark.parametrize(
  ('name', 'data', 'accepted'), ONCE_FAULTS, ids=[f'{row[0]} {i}' for i, row in enumerate(ONCE_FAULTS)]
)
def test_inputs_that_once_led_to_a_traceback_are_refused_or_count_as_absent(name, data, accepted):
  with fuzz_parsers.quiet_folder() as folder:
    assert fuzz_parsers.outcome(BY_NAME[name], data, folder) is accepted


@pytest.mark.parametrize('parser', PARSERS, ids=lambda parser: parser.name)
def test_damaged_inputs_end_in_a_typed_error(parser):
  with fuzz_parsers.quiet_folder() as folder:
    for number in range(NUM_INPUTS):
      data, start = fuzz_parsers.made(parser, 0, number), time.process_time()
      try:
        fuzz_parsers.outcome(parser, data, folder)
      except fuzz_parsers.Fault as fault:
        pytest.fail(f'input {number}: {fault}')
      assert time.process_time() - start < 5, f'input {number}'


def test_an_input_is_known_by_its_number():
  for parser in PARSERS:
    assert fuzz_parsers.made(parser, 3, 7) == fuzz_parsers.made(parser, 3, 7)
  some = [fuzz_parsers.made(BY_NAME['FASTA'], 0, number) for number in range(20)]
  assert len(set(some)) > 15


def test_what_is_no_typed_error_is_a_fault(tmp_path):
  def broken(data, folder):
    raise KeyError(data)

  with pytest.raises(fuzz_parsers.Fault, match='KeyError'):
    fuzz_parsers.outcome(fuzz_parsers.Parser('x', fuzz_inputs.of_bytes('x'), broken), b'x', tmp_path)


def test_a_long_message_keeps_its_beginning_and_its_end():
  text = str(InputError(f'file.csv: {"x" * 100_000}; remove it'))
  assert len(text) < fuzz_parsers.LONGEST_MESSAGE
  assert text.startswith('file.csv: xxx') and ' [...] ' in text and text.endswith('xxx; remove it')


def test_undamaged_seeds_are_accepted():
  with fuzz_parsers.quiet_folder() as folder:
    for name, seed in {
      'FASTA': fuzz_seeds.FASTA[0].encode(),
      'A3M': fuzz_seeds.A3M[0].encode(),
      'Stockholm': fuzz_seeds.STOCKHOLM[1].encode(),
      'CSV': fuzz_seeds.CSV[1].encode(),
      'PDB': fuzz_seeds.PDB_HEADED.encode(),
      'mmCIF': fuzz_seeds.MMCIF.encode(),
      'hhr': fuzz_seeds.hhr()[0].encode(),
      'server alignments': fuzz_seeds.SERVER_A3M.encode(),
      'parameters': npz('a.npy', fuzz_inputs.npy(np.ones(3))),
    }.items():
      assert fuzz_parsers.outcome(BY_NAME[name], seed, folder), name
