# SPDX-License-Identifier: Apache-2.0
"""What the notebook does with its form: checks it, runs the command, and shows what this very run has predicted.

Each folder is named by the content of its form, as ColabFold's are, so no protein is ever shown for another. Nothing a
person types passes through a shell.
"""

import dataclasses
import hashlib
import json
import shlex
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, folders
from alphafold_jax.arguments import check_kind, check_whole, wrong
from alphafold_jax.data.alignment import checked_chains
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.records import read_bytes
from alphafold_jax.errors import AlphaFoldError
from alphafold_jax.output.plots import PLDDT_BANDS

SERVER, UPLOAD, SINGLE = MSA_MODES = 'server', 'upload', 'single_sequence'
MINI, RANDOM, DOWNLOAD = 'mini', 'random', ''
_MOST = 1000  # recycles, seeds


class RunFailed(AlphaFoldError, RuntimeError):
  """A command of the notebook that did not end well; its own messages say why."""


@dataclasses.dataclass(frozen=True)
class Form:
  """The notebook's form as it was filled in, checked."""

  sequence: str
  job_name: str
  msa_mode: str
  alignment: str = ''  # path of an A3M file; with `upload` only
  use_templates: bool = False
  num_models: int = 5
  num_recycle: int = -1  # as the model was published
  num_seeds: int = 1
  parameters: str = ''  # a folder or file, 'mini', 'random'; '': they are downloaded
  more_flags: str = ''

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      if field.type is str:
        check_kind(field.name, getattr(self, field.name), str, 'must be text')
    if self.msa_mode not in MSA_MODES:
      raise wrong('msa_mode', self.msa_mode, f'choose one of {", ".join(MSA_MODES)}')
    check_whole('num_models', self.num_models, 1, 5)
    check_whole('num_recycle', self.num_recycle, -1, _MOST)
    check_whole('num_seeds', self.num_seeds, 1, _MOST)
    if '--zip' in self.flags():
      raise wrong('more_flags', self.more_flags, '--zip packs away what is shown here; the last cell makes an archive')
    if self.use_templates and self.msa_mode != SERVER:
      raise wrong('use_templates', self.use_templates, f'templates are searched for with msa_mode={SERVER!r} only')
    if self.alignment and self.msa_mode != UPLOAD:
      raise wrong('alignment', self.alignment, f'is read with msa_mode={UPLOAD!r} only; choose that, or leave it empty')
    if self.msa_mode != UPLOAD:
      checked_chains(self.letters, 'sequence')
    elif not folders.expanded(self.alignment).is_file():
      raise wrong('alignment', self.alignment, 'with upload, must be the path of an A3M file that is here')
    if self.parameters not in (DOWNLOAD, MINI, RANDOM) and not folders.expanded(self.parameters).exists():
      raise wrong(
        'parameters', self.parameters, f'no such file or folder; or choose {MINI}, or {RANDOM}, or leave it empty'
      )

  @property
  def letters(self) -> str:
    """The sequence without white space and the stop at its end; a colon stands between chains."""
    return ''.join(self.sequence.split()).removesuffix('*')

  @property
  def name(self) -> str:
    """Of the protein, on one line."""
    return ' '.join(self.job_name.split()) or 'protein'

  def flags(self) -> list[str]:
    """The flags of `alphafold-jax predict`."""
    try:
      more = shlex.split(self.more_flags)
    except ValueError as error:
      raise wrong('more_flags', self.more_flags, f'not a list of flags ({error})') from None
    flags = {'num-models': self.num_models, 'num-recycle': self.num_recycle, 'num-seeds': self.num_seeds}
    return [
      *([] if self.msa_mode == UPLOAD else ['--msa-mode', self.msa_mode]),
      *(['--templates'] if self.use_templates else []),
      *_PARAMETER_FLAGS.get(self.parameters, ['--params', self.parameters]),
      *(text for flag, value in flags.items() if value >= 0 for text in (f'--{flag}', str(value))),
      *more,
    ]


_PARAMETER_FLAGS: dict[str, list[str]] = {DOWNLOAD: [], MINI: ['--model-type', MINI]}


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A form with the folder that is its own, and the input in it."""

  form: Form
  folder: Path
  query: Path

  @property
  def results(self) -> Path:
    return self.folder / 'results'


def prepare(place: Path | str = '.', **form: Any) -> Prepared:
  """Checks the form and writes the input into a folder named by the job and by all that is in the form.

  Args:
    place: where the folder is made.
    **form: the fields of Form.

  Raises:
    InputError: a field cannot be used, or the folder cannot be written; the message names it.
    ResourceError: the disk is full.
  """
  filled = Form(**form)
  stem = safe_name(filled.name)
  is_alignment = filled.msa_mode == UPLOAD
  fasta = f'>{stem}\n{filled.letters}\n'  # a header means nothing but a name, whatever was typed
  content = read_bytes(folders.expanded(filled.alignment)) if is_alignment else fasta.encode()
  settings = json.dumps(dataclasses.asdict(filled) | {'alignment': ''}, sort_keys=True).encode()
  digest = hashlib.sha256(hashlib.sha256(content).digest() + settings).hexdigest()[:8]
  folder = Path(place).absolute() / f'{stem}_{digest}'
  query = folder / f'{stem}.{"a3m" if is_alignment else "fasta"}'
  atomic.make_folder(folder)
  with atomic.replacing(query) as file:
    file.write(content)
  return Prepared(filled, folder, query)


def predict(job: Prepared) -> list[Path]:
  """Runs the command, shows what it says as it says it, and returns the structures that it wrote, best first.

  Raises:
    RunFailed: it did not end well, or wrote none; nothing of an earlier run is returned.
  """
  if job.form.parameters == DOWNLOAD:
    run(['params', 'download'])
  run(['predict', str(job.query), str(job.results), *job.form.flags()])
  ranked = sorted(job.results.glob('*_unrelaxed_rank_*.pdb'))
  if not ranked:
    raise RunFailed(f'{job.results}: no structure was written; the messages above say why')
  return ranked


def run(arguments: Sequence[str], seconds: float | None = None) -> None:
  """Runs `alphafold-jax` with arguments, which no shell sees; its words are printed as they come.

  Args:
    arguments: of the command.
    seconds: after which it is asked to stop; None: it is not.

  Raises:
    RunFailed: its exit code is not 0.
  """
  command = [sys.executable, '-m', 'alphafold_jax', *arguments]
  print('$ alphafold-jax', shlex.join(arguments), flush=True)
  streams: dict[str, Any] = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
  with subprocess.Popen(command, **streams) as process:
    assert process.stdout is not None  # it is a pipe
    stop = threading.Timer(seconds or 0, process.terminate)
    try:
      if seconds is not None:
        stop.start()
      for line in process.stdout:
        print(line, end='', flush=True)
    except KeyboardInterrupt:
      process.terminate()  # it ends as it does when a terminal stops it, and goes on from there when it is run again
      raise
    finally:
      stop.cancel()
  if process.returncode:
    raise RunFailed(
      f'alphafold-jax {arguments[0]} ended with exit code {process.returncode}; the messages above say why'
    )


def bands(structure: str) -> dict[tuple[str, str], list[int]]:
  """The residue numbers in each band of confidence, by chain and the band's colour, from a predicted PDB file."""
  found: dict[tuple[str, str], list[int]] = defaultdict(list)
  for line in structure.splitlines():
    if line.startswith('ATOM') and line[12:16].strip() == 'CA':
      plddt = float(line[60:66])
      colour = next(colour for low, _, colour, _ in PLDDT_BANDS if plddt >= low)
      found[line[21], colour].append(int(line[22:26]))
  return dict(found)


def view(structure: str, width: int = 800, height: int = 500) -> Any:
  """A py3Dmol view of a predicted PDB file, each residue in the colour of its band of pLDDT."""
  import py3Dmol

  shown = py3Dmol.view(width=width, height=height)
  shown.addModel(structure, 'pdb')
  for (chain, colour), numbers in bands(structure).items():
    shown.setStyle({'chain': chain, 'resi': numbers}, {'cartoon': {'color': colour}})
  shown.zoomTo()
  return shown


def legend() -> str:
  """The bands and their colours as HTML."""
  squares = (
    f'<span style="background:{colour}">&emsp;</span> {name} ({low}–{high})' for low, high, colour, name in PLDDT_BANDS
  )
  return ' '.join(squares)
