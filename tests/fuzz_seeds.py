# SPDX-License-Identifier: Apache-2.0
"""Small valid inputs of every parser, from which tests/fuzz_parsers.py makes damaged ones."""

import functools
import gzip
import hashlib
import json
from pathlib import Path
from random import Random

import numpy as np
import small_cache
from fuzz_inputs import Make, changed, npy, of_bytes, of_json

from alphafold_jax import sharing
from alphafold_jax.data import features as feature_files
from alphafold_jax.data.alignment import parse_a3m
from alphafold_jax.data.training import packing
from alphafold_jax.fields import leaves

_DATA = Path(__file__).parent / 'data'
SEQUENCE = 'MKTAYIAKQRQISFVKSHFSRQ'
_SHA256 = 'a' * 64

# ------------------------------------------------------------------------------------------ sequences and alignments

FASTA = (
  f'>one first protein\n{SEQUENCE}\n>two\nMKTAYIAKQR\nQISFVKSHFS*\n',
  f'\ufeff>\u00e9t\u00e9|x\r\n{SEQUENCE.lower()}\r\n\r\n>two\r\nBZUOJX\r\n',
  f'>P1;CRAB\nalpha crystallin\nGMEGPLNLAH\nQQSRRADRLL*\n>one\n{SEQUENCE}',
  f'>one\n{SEQUENCE}:{SEQUENCE}*:MKTAY\n>two\n:MKT::\n',
)
PIR = '>P1;CRAB_HUMAN\nalpha crystallin B chain\nGMEGPLNLAH QQSRRADRLL\nAAGK*\n>F1;TWO\n\nMKTAYIAKQR*\n'
_ROWS = f'>query\n{SEQUENCE}\n>a/1-20 x\nMKTAYIAKQRqisQISFVKSHFS--\n>b\n-KTAYIAKQRQISFVKSHF..SRQ\n'
A3M = (
  _ROWS,
  f'#22\t1\n{_ROWS}',
  f'#10,12\t2,1\n>101\t102\n{SEQUENCE}\n>a\tb\nMKTAYIAKqR--ISFVKSHFSR-\n>101\n{SEQUENCE[:10]}------------\n',
  f'#22\t3\n>101\n{SEQUENCE}\n{_ROWS}',
  f'>ss_pred\nCCCCHHHHHHHHHHHHCCCCCC\n{_ROWS}\0{_ROWS}',
  f'>query\n{SEQUENCE}\n>query\n{SEQUENCE}\n>Consensus\n{SEQUENCE.lower()}\n',
)
STOCKHOLM = (
  f'# STOCKHOLM 1.0\n#=GF ID x\n#=GS a DE some protein\n\nquery  {SEQUENCE}\na      MKTAYIAKQRQISF..SHFS--\n'
  '#=GR a PP 9999999999999..9999..\n#=GC RF xxxxxxxxxxxxxxxxxxxxxx\n//\n',
  '# STOCKHOLM 1.0\n\nquery MKTAY-IAK\na     MK-AYcIAK\n\nquery QRQISF\na     QRQ.SF\n//\n',
)
CSV = (
  f'id,sequence\none,{SEQUENCE}\n"two, more",{SEQUENCE.lower()}\n',
  f'id,sequence,a3mpath\none,{SEQUENCE},pair.a3m\ntwo,,pair.a3m\n,MKTAYIAKQR,\n',
  f'id,sequence,a3mpath\none,{SEQUENCE}:MKT:{SEQUENCE},\ntwo,{SEQUENCE}:MKT,pair.a3m\n',
)
_TEMPLATE = {'mmcif': 'data_x\n', 'queryIndices': [0, 1], 'templateIndices': [1, 2]}
_PROTEIN = {'id': 'A', 'sequence': SEQUENCE, 'modifications': [], 'unpairedMsa': _ROWS, 'pairedMsa': ''}
AF3 = (
  {
    'name': 'x', 'modelSeeds': [1], 'dialect': 'alphafold3', 'version': 1,
    'sequences': [{'protein': _PROTEIN | {'templates': [_TEMPLATE]}}],
  },
  {
    'name': 'w',
    'sequences': [
      {'protein': {'id': ['A', 'B'], 'sequence': SEQUENCE, 'unpairedMsa': _ROWS, 'pairedMsa': _ROWS}},
      {'protein': {'id': 'C', 'sequence': 'MKTAY', 'unpairedMsa': '', 'templates': [_TEMPLATE]}},
    ],
  },
  {'name': 'y', 'modelSeeds': [1, 2], 'sequences': [{'protein': {'id': ['A', 'B'], 'sequence': SEQUENCE}}]},
  [{'name': 'z', 'sequences': [{'proteinChain': {'sequence': SEQUENCE, 'count': 1}}], 'modelSeeds': []}],
)  # fmt: skip
PAIR = f'>query\n{SEQUENCE}\n>near\n{SEQUENCE}\n'

# ------------------------------------------------------------------------------------------ structures

PDB = small_cache.pdb_text(SEQUENCE[:14])
_PDB_LINE = PDB.index('\n') + 1  # bytes
PDB_HEADED = (
  'HEADER    SIGNALING PROTEIN                       06-JUL-15   4ZEY\nEXPDTA    X-RAY DIFFRACTION\n'
  'REMARK   2\nREMARK   2 RESOLUTION.    1.80 ANGSTROMS.\nREVDAT   1   29-JUL-15 4ZEY    0\n'
  'MODRES 4ZEY MSE A    2  MET  SELENOMETHIONINE\n'
  'SEQRES   1 A   14  MET LYS THR ALA TYR ILE ALA LYS GLN ARG GLN ILE SER\n'
  f'MODEL        1\n{PDB.replace("END", "TER")}ENDMDL\nMODEL        2\n{PDB[: 10 * _PDB_LINE]}ENDMDL\nEND\n'
)
_NAMES = (
  'group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id label_seq_id '
  'pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num'
).split()


def _atoms() -> str:
  """_atom_site of nine residues with three atoms each."""
  lines = [
    f'ATOM {3 * i + k} {name[0]} {name} {"." if i != 4 else "AB"[k % 2]} {residue} A 1 {i + 1} ? '
    f'{3.8 * i + k:.3f} {1.4 * k:.3f} 0.5 1.00 10.0 {i + 10} A 1'
    for i, residue in enumerate('MET LYS THR ALA TYR ILE MSE LYS GLN'.split())
    for k, name in enumerate(('N', 'CA', 'C'))
  ]
  return 'loop_\n' + ''.join(f'_atom_site.{name}\n' for name in _NAMES) + '\n'.join(lines) + '\n#\n'


MMCIF_LOOSE = f'data_X\n#\n{_atoms()}'
MMCIF = (
  "data_4ZEY\n_entry.id 4ZEY\n#\n_exptl.method 'X-RAY DIFFRACTION'\n#\n_refine.ls_d_res_high 1.80\n#\nloop_\n"
  '_pdbx_audit_revision_history.ordinal\n_pdbx_audit_revision_history.revision_date\n1 2015-07-29\n2 2020-01-01\n#\n'
  'loop_\n_entity_poly_seq.entity_id\n_entity_poly_seq.num\n_entity_poly_seq.mon_id\n'
  + ''.join(f'1 {i} {name}\n' for i, name in enumerate('MET LYS THR ALA TYR ILE MSE LYS GLN'.split(), 1))
  + '#\n_struct_asym.id A\n_struct_asym.entity_id 1\n#\n_struct.title\n;A title of\ntwo lines\n;\n#\n'
  + _atoms()
)
OBSOLETE = (
  ' LIST OF OBSOLETE COORDINATE ENTRIES AND SUCCESSORS\nOBSLTE    31-JUL-94 116L     216L\nOBSLTE 29-JAN-96 125D\n'
)
TEMPLATE_MAP = (
  [{'structure': 'near.pdb', 'chain': 'A', 'pairs': [[i, i] for i in range(12)]}],
  [{'structure': 'near.pdb', 'alignment': 'pair.a3m', 'query': 'x'}, {'structure': 'near.pdb'}],
)

# ------------------------------------------------------------------------------------------ results of searches


def hhr() -> tuple[str, ...]:
  """Two hits of a true result, and a result without hits."""
  text = gzip.decompress((_DATA / 'templates' / 'yCD.hhr.gz').read_bytes()).decode()
  head, _, rest = text.partition(' No Hit')
  table, _, blocks = rest.partition('\n\nNo 1')
  two = 'No 1' + blocks.partition('\nNo 3')[0] + '\n'
  return f'{head} No Hit' + '\n'.join(
    table.split('\n')[:3]
  ) + f'\n\n{two}', f'{head} No Hit{table.split(chr(10))[0]}\n\n'


M8 = (
  '101\t1abc_A\t0.964\t22\t0\t2\t1\t22\t3\t24\t3.558E-53\t149\t22M\n'
  '101\t2abc_B\t0.9\t20\t0\t2\t2\t20\t1\t20\t1E-9\t90\t10M1I8M1D\n102\t3abc_C\t1\t2\t0\t0\t1\t2\t1\t2\t0\t9\tMM\n'
)
SERVER_A3M = f'>101\n{SEQUENCE}\n>Hit\t85\t1.00\nAKTAYIAKQRqQISFVKSHFSRQ\n\0>102\n{SEQUENCE}\n\0'
SERVER_PAIRS = f'>101\n{SEQUENCE}\n>a\nAKTAYIAKQRqQISFVKSHFSRQ\n\0>102\nMKTAYIAKQR\n>b\nMK-AYIA---\n\0'
ANSWERS = ({'id': 'abc-1', 'status': 'PENDING'}, {'status': 'ERROR'}, {'id': 'x', 'status': 'COMPLETE', 'more': []})
TEMPLATE_ARCHIVE: dict[str, Make] = {
  'pdb70_a3m.ffdata': of_bytes(f'>ss_pred\nCCC\n>1abc_A\n{SEQUENCE}\n>x\nMKT\n\0>2abc_B\nMKTAY\n\0'),
  'pdb70_a3m.ffindex': of_bytes('1abc_A\t0\t45\n2abc_B\t46\t15\n'),
  '1abc.cif': of_bytes('data_X\n#\n'),
}
DATABASE_ARCHIVE: dict[str, Make] = {
  name: of_bytes(content)
  for name, content in {'set': 'x' * 40, 'set.dbtype': '\0\0\0\0', 'a/set.index': '0\t0\t4\n'}.items()
}
PARAMETER_ARCHIVE: dict[str, Make] = {
  name: of_bytes(content)
  for name, content in {'./LICENSE': 'CC BY', 'a/params_model_1.npz': 'PK', 'x.npz': 'PK'}.items()
}
_PROGRAM = {
  'format': 1, 'facts': {}, 'what': 'one_pass', 'seconds': 1.5, 'sha256': hashlib.sha256(b'code').hexdigest(),
}  # fmt: skip
PROGRAM = json.dumps(_PROGRAM) + '\ncode'
_PROGRAM_NAME = f'program-{"0" * 32}'
_LISTED = {'size': len(PROGRAM), 'sha256': hashlib.sha256(PROGRAM.encode()).hexdigest()}
PROGRAM_ARCHIVE: dict[str, Make] = {
  'programs.json': of_json({'format': 1, 'facts': {}, 'programs': {_PROGRAM_NAME: _LISTED}}),
  _PROGRAM_NAME: of_bytes(PROGRAM),
}
HITS = [
  {
    'entry': '1abc', 'chain': 'A', 'sequence': SEQUENCE, 'pairs': [[0, 0], [1, 1]], 'start': 0, 'description': 'x',
    'probability_sum': None, 'evalue': 1e-9,
  }
]  # fmt: skip


def kept_search() -> Make:
  """The two lines of an entry of the cache of searches."""
  heading = {'format': 1, 'num_res': 22, 'engine': 'hmmer', 'num_rows': 3}
  found = {'rows': [{'database': 'uniref90', 'a3m': A3M[0], 'num_found': 2}], 'hits': HITS, 'notes': ['x']}
  first, second = of_json(heading), of_json(found)
  whole = json.dumps(heading).encode(), json.dumps(found).encode()

  def make(rng: Random) -> bytes:
    one, other = (lambda _: whole[0]) if rng.random() < 0.5 else first, second
    return one(rng) + b'\n' + other(rng) + b'\n'

  return make


# ------------------------------------------------------------------------------------------ arrays

PARAMETERS = {'a//w': np.ones((3, 4), np.float32), 'a//b': np.zeros(4, np.float16), 'b': np.float32(2.0)}
_N = 5
PREDICTION = {
  'aatype': np.arange(_N, dtype=np.int32),
  'residue_index': np.arange(_N, dtype=np.int32),
  'asym_id': np.ones(_N, np.int32),
  'atom_positions': np.ones((_N, 37, 3), np.float32),
  'atom_mask': np.ones((_N, 37), np.float32),
  'plddt': np.full(_N, 50, np.float32),
  'pae': np.ones((_N, _N), np.float32),
}
_PASS = {'index': 0, 'mean_plddt': 50.0, 'ptm': 0.5, 'change': 0.0, 'seconds': 1.0}
RESULT = {
  'key': 'key', 'tag': 'tag', 'model_name': 'model_1_ptm', 'seed': 0, 'mean_plddt': 50.0, 'ptm': 0.5,
  'passes': [_PASS], 'notes': [],
}  # fmt: skip
PREDICTION['__result__'] = np.frombuffer(json.dumps(RESULT).encode(), np.uint8)
FORMAT = {'format': 'alphafold_jax features', 'version': 1, 'metadata': {'name': 'x', 'sequence': SEQUENCE}}


@functools.cache
def features() -> dict[str, np.ndarray]:
  """The arrays of a features file."""
  batch = feature_files.make_batch(parse_a3m('>q\nMKTAY\n>a\nMKaT-Y\n', 'x'), num_templates=1)
  arrays = {name: np.asarray(value) for name, _, value in leaves(batch)}
  return arrays | {'__format__': np.frombuffer(json.dumps(FORMAT).encode(), np.uint8)}


def record() -> Make:
  """A record of the training cache."""
  tokens = np.array([[0, 1, 2, 3, 4], [0, 21, 2, 3, 4]], np.uint8)
  chain = packing.ChainRecord(
    id='x', sequence='ARNDC', residue_index=np.arange(5, dtype=np.int32), tokens=tokens, deletions=tokens * 0,
    atom_positions=np.ones((5, 37, 3), np.float32), atom_mask=np.ones((5, 37), np.float32),
    profile=np.ones((5, 22), np.float32) / 22,
  )  # fmt: skip
  content = packing.pack(chain)
  line, _, rest = content.partition(b'\n')
  header = of_json(json.loads(line))
  return lambda rng: header(rng) + b'\n' + rest if rng.random() < 0.6 else changed(rng, [content, npy(tokens)])


# ------------------------------------------------------------------------------------------ records, settings, tables

DOWNLOADS = {'sets': {'uniref90': {'url': 'https://a/b', 'sha256': _SHA256, 'files': {'near.pdb': [10, 20]}}}}
_ENTRY = {'size': 10, 'mtime_ns': 5, 'sha256': _SHA256, 'archive': 'a.tar', 'date': '2026-01-01'}
MANIFEST = {
  'format': 1,
  'files': {'near.pdb': _ENTRY},
  'archives': {'a.tar': {'url': 'https://a', 'sha256': _SHA256, 'size': 3}},
}
HEADERS = (
  'Content-Length: 90\nETag: "one"\nContent-Range: bytes 10-99/100\nx-goog-hash: a=b,md5=CY9rzUYh03PK3k6DJie09g==\n',
  'Content-Length: 100\nETag: W/"two"\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\nContent-Encoding: gzip\n',
)
PART = {'url': 'https://a/x', 'total': 100, 'validator': '"one"', 'md5': None}
_OF_RANK = {
  'rank': 1,
  'tag': 't',
  'model': 'm',
  'seed': 0,
  'mean_plddt': 50.0,
  'ptm': None,
  'passes': 1,
  'seconds': 1.0,
}
DONE = {'job': 'x', 'num_res': 5, 'key': 'key', 'predictions': [_OF_RANK], 'files': ['near.pdb', 'a.pdb']}
JOURNAL = {'input': 'key', 'files': ['a.pdb', 'b.cif']}
CLAIM = {
  'host': 'h', 'machine': sharing.MACHINE, 'pid': 1, 'ended': None, 'key': 'k', 'deaths': 1,
  'failures': [{'error': 'x'}], 'predictions': [_OF_RANK], 'files': ['a.pdb'], 'taken': '2026-01-01',
}  # fmt: skip
COMMAND = {
  'host': 'h', 'machine': sharing.MACHINE, 'pid': 1, 'born': '77', 'program': 'predict', 'settings': 'digest',
  'flags': {'--num-recycle': '--num-recycle 3'}, 'state': 'running',
}  # fmt: skip
SCORES = {'plddt': [50.0, 60.5], 'ptm': 0.5, 'max_pae': 30.0, 'pae': [[0.0, 1.0], [1.0, 0.0]]}
PAE_MATRIX = np.array([[0.25, 3.5], [4.5, 0.25]], np.float32)
PAE = (
  [{'predicted_aligned_error': PAE_MATRIX.tolist(), 'max_predicted_aligned_error': 31.75}],
  {'predicted_aligned_error': PAE_MATRIX.tolist()},
  [{'residue1': [1, 1, 2, 2], 'residue2': [1, 2, 1, 2], 'distance': [0, 1, 2, 3]}],
)
CACHE = {'format': 'alphafold_jax training cache', 'version': 1, 'num_records': 2, 'num_bytes': 100, 'settings': {}}
_CHECKPOINT = {'step': 7, 'score': 0.3, 'feed': {'step': 7}, 'config': {'name': 'mine', 'step': {'batch_size': 4}}}
RUN = {
  'format': 'alphafold_jax training run',
  'version': 1,
  'last': _CHECKPOINT,
  'best': _CHECKPOINT | {'step': 3},
  'layout': [[".params['w']", 'float32', [2, 3]]],
}
CHAINS = (
  'id,cluster,split,resolution,method,release_date,exclude\n1abc_A,c1,train,1.8,X-RAY,2015-07-29,\n2abc_B,,,,,,yes\n'
)
TRIALS = [{'operation': 'attention', 'row': 'xla', 'seconds': 0.1, 'error': 0.0, 'reason': ''}]
RATIOS = {'product': [1.5, 1.6, 1.5, 1.6, 1.5], 'network': [1.4, 1.5, 1.4, 1.5, 1.4]}
SETTINGS = (
  'evoformer.num_block=8', 'dtype=bfloat16', 'templates=None', "extra_msa.pair.order=('a', 'b')", 'name={"a": [1]}',
)  # fmt: skip


def index() -> str:
  """index.csv of a training cache."""
  columns = 'id length num_resolved resolution method release_date cluster split largest_share depth depth_found'
  names = [*columns.split(), 'alignment', 'is_distillation']
  return (
    f'{",".join(names)}\n1abc_A,22,22,1.8,"X-RAY, x",2015-07-29,c1,train,0.2,3,3,a.a3m,0\nx,5,5,0,,,x,val,0.2,1,1,,1\n'
  )
