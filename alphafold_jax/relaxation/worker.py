# SPDX-License-Identifier: Apache-2.0
"""A process that relaxes one structure: `python -m alphafold_jax.relaxation.worker REQUEST.json`.

The request names the structure, the protocol, the platforms to try and the file for the answer, which is written whole:
the relaxed structure with its record, or what went wrong. A minimisation that never ends, or a driver that takes the
process with it, ends no more than this process. Without a request it tries whether it could, and prints why not.
"""

import dataclasses
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import atomic, installed
from alphafold_jax.constants import residues
from alphafold_jax.errors import AlphaFoldError, ResourceError, how_to_install
from alphafold_jax.geometry.violations import count_violations, violating_residues
from alphafold_jax.relaxation import protocols, starting, writing
from alphafold_jax.relaxation.engine import PACKAGES
from alphafold_jax.relaxation.forms import format_of
from alphafold_jax.relaxation.minimising import Minimised, minimise
from alphafold_jax.relaxation.protocols import Protocol
from alphafold_jax.relaxation.starting import Start
from alphafold_jax.version import __version__

_CA = residues.ATOM_INDEX['CA']
_LOOK = 1.0  # seconds between looks whether the parent lives


def main(arguments: Sequence[str]) -> int:
  """Answers a request; returns the exit code, which is 0 also where the answer is an error that was foreseen."""
  threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
  warnings.simplefilter('ignore')
  if not arguments:
    return _tried()
  request = json.loads(Path(arguments[0]).read_text(encoding='utf-8'))
  try:
    answer: dict[str, Any] = relaxed(request['source'], protocols.from_json(request['protocol']), request['platforms'])
  except Exception as error:  # whatever OpenMM or pdbfixer says
    own = isinstance(error, AlphaFoldError)
    said = str(error) if own else f'{type(error).__name__}: {error}'
    answer = {'error': type(error).__name__ if own else 'AlphaFoldError', 'message': said}
  atomic.write_text(request['answer'], json.dumps(answer))
  return 0


def _tried() -> int:
  """0, or 1 with the reason why nothing can be relaxed."""
  try:
    _check_engine(['CPU'])
    return 0
  except AlphaFoldError as error:
    print(error)
    return 1


def _check_engine(platforms: Sequence[str]) -> None:
  """Raises ResourceError, the remedy, where OpenMM or pdbfixer is broken, or OpenMM has none of these platforms."""
  for name in PACKAGES:
    installed.module(name, 'relax', ResourceError)
  from openmm import Platform

  known = {Platform.getPlatform(i).getName() for i in range(Platform.getNumPlatforms())}
  if known.isdisjoint(platforms):
    faults = '; '.join(Platform.getPluginLoadFailures()) or f'nothing is in {Platform.getDefaultPluginsDirectory()}'
    raise ResourceError(
      f'openmm is installed, but its platform {platforms[-1]} cannot be loaded ({" ".join(faults.split())[:400]}); '
      f'{how_to_install("relax")} anew, and unset OPENMM_PLUGIN_DIR'
    )


def relaxed(source: str | Path, protocol: Protocol, platforms: Sequence[str]) -> dict[str, Any]:
  """The relaxed structure of a file: its `text`, its `form` (the ending of its name) and its `record`.

  Raises:
    AlphaFoldError: it cannot be relaxed.
  """
  began, spent = time.monotonic(), time.process_time()
  _check_engine(platforms)
  start = starting.read_start(source)
  found, platform, notes = _on_first_platform(start, protocol, platforms)
  form = format_of(source)
  record = _record(source, start, found, protocol) | {
    'platform': platform,
    'seconds': round(time.monotonic() - began, 2),
    'cpu_seconds': round(time.process_time() - spent, 2),
    'notes': [*start.notes, *notes],
  }
  said = f'Relaxed by alphafold_jax {__version__} with OpenMM {record["openmm"]}, {protocol.name} protocol'
  return {'text': writing.text_of(start, found, form, [*start.remarks, said]), 'form': form, 'record': record}


def _on_first_platform(start: Start, protocol: Protocol, names: Sequence[str]) -> tuple[Minimised, str, list[str]]:
  """Relaxes on the first platform that can; notes on those that could not."""
  import openmm

  notes: list[str] = []
  for name in names:
    try:
      return minimise(start, protocol, openmm.Platform.getPlatformByName(name)), name, notes
    except AlphaFoldError:
      if name == names[-1]:
        raise
      notes.append(f'{name} gave no finite energies that fall')
    except Exception as error:  # of a driver that is not there, or fails
      if name == names[-1]:
        raise
      notes.append(f'{name} could not be used ({" ".join(str(error).split())[:200]})')
  raise ResourceError('no platform of OpenMM was named')


def _record(source: str | Path, start: Start, found: Minimised, protocol: Protocol) -> dict[str, Any]:
  """What is known of a relaxation, as JSON can hold it; energies in kcal/mol, distances in Å."""
  before = count_violations(start.aatype, start.positions, start.mask, start.neighbours)
  after = count_violations(start.aatype, found.heavy, found.mask, start.neighbours)
  out_before = violating_residues(start.aatype, start.positions, start.mask, start.neighbours)
  moved = np.linalg.norm(found.heavy - start.positions, axis=-1)
  first, last = found.rounds[0], found.rounds[-1]
  return {
    'program': 'alphafold_jax',
    'version': __version__,
    'openmm': installed.version('openmm'),
    'pdbfixer': installed.version('pdbfixer'),
    'source': Path(source).name,
    'protocol': dataclasses.asdict(protocol),
    'num_res': len(start),
    'num_atoms': len(found.positions),
    'added_heavy_atoms': found.molecule.added,
    'energy_before': first.energy_before,
    'energy_after': last.energy_after,
    'restraint_energy_after': last.restraint_energy,
    'violations_before': dataclasses.asdict(before),
    'violations_after': dataclasses.asdict(after),
    'violating_residues_before': int(out_before.sum()),
    'remaining_violations': found.violating.astype(float).tolist(),
    'remaining_violations_count': float(found.violating.sum()),
    'rmsd_heavy_atoms': float(np.sqrt(np.mean(moved[start.mask] ** 2))),
    'rmsd_ca': float(np.sqrt(np.mean(moved[start.mask[:, _CA], _CA] ** 2))),
    'largest_shift': float(moved[start.mask].max()),
    'rounds': [dataclasses.asdict(one) for one in found.rounds],
  }


def _end_with_parent(parent: int) -> None:
  """Ends this process once the one that asked has gone."""
  while os.getppid() == parent:
    time.sleep(_LOOK)
  os._exit(1)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
