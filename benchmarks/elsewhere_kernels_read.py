# SPDX-License-Identifier: Apache-2.0
"""What the compiled programs of `elsewhere_kernels.py` say of the kernels in them."""

import base64
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ('forward', 'to_queries', 'to_keys', 'to_bias', '_kernel')  # the functions of our kernels
_ENTRY = re.compile(r'^\.visible \.entry (\w+)', re.MULTILINE)
_ARCHITECTURE = re.compile(r'^\.target (\w+)', re.MULTILINE)
_USED = re.compile(r'Used (\d+) registers(?:.*?, (\d+) bytes smem)?')
_SPILLED = re.compile(r'(\d+) bytes spill stores, (\d+) bytes spill loads')
_LAUNCH = re.compile(r' (\w+) grid: .* shared_memory: (\d+) bytes')
_BODY = re.compile(r'"body":"([^"]+)"')
_SCOPED = re.compile(r'"used_scoped_memory_configs":\[\{"memory_space":"1","offset":"\d+","size":"(\d+)"')


def on_gpu(folder: Path) -> dict[str, dict[str, Any]]:
  """Registers of a thread, spilled bytes and shared memory of a block by kernel, from XLA's folder of a program."""
  found: dict[str, dict[str, Any]] = {}
  for path in folder.glob('*.ptx'):
    text = path.read_text(encoding='utf-8')
    for name in _ENTRY.findall(text):
      if name in NAMES:
        found[name] = assembled(path, _ARCHITECTURE.findall(text)[0])
  for path in folder.glob('*.thunk_sequence.txt'):
    for name, size in _LAUNCH.findall(path.read_text(encoding='utf-8')):
      if name in found:
        found[name]['shared_memory'] = int(size)
  return found


def assembled(path: Path, architecture: str) -> dict[str, Any]:
  """What `ptxas` says of a program of one kernel; {} where there is none."""
  program = assembler()
  if program is None:
    return {}
  command = [program, '-v', f'-arch={architecture}', str(path), '-o', '/dev/null']
  done = subprocess.run(command, capture_output=True, encoding='utf-8', check=False)
  used, spilled = _USED.search(done.stderr), _SPILLED.search(done.stderr)
  if done.returncode or not used or not spilled:
    return {'refused': ' '.join(done.stderr.split())[:300]}
  return {'registers': int(used[1]), 'spilled': int(spilled[1]) + int(spilled[2]), 'architecture': architecture}


def assembler() -> str | None:
  """The path of NVIDIA's assembler: on PATH, or in their packages."""
  spec = importlib.util.find_spec('nvidia')
  places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
  inside = (str(path) for place in places for path in sorted(place.glob('*/bin/ptxas')))
  return shutil.which('ptxas') or next(inside, None)


def on_tpu(text: str) -> dict[str, dict[str, Any]]:
  """Bytes of fast memory by kernel, from the text of a program."""
  found: dict[str, dict[str, Any]] = {}
  for line in text.splitlines():
    body, size = _BODY.search(line), _SCOPED.search(line)
    if 'tpu_custom_call' in line and body:
      found[_name(base64.b64decode(body[1]))] = {'vmem': int(size[1]) if size else 0}
  return found


def _name(body: bytes) -> str:
  """The kernel of a serialised module, which has the names of the functions and files that it comes from."""
  if b'transition_pallas' in body:
    return '_kernel'
  return next((name for name in ('to_queries', 'to_keys', 'to_bias') if name.encode() in body), 'forward')
