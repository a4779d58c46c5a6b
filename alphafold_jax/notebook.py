# SPDX-License-Identifier: Apache-2.0
"""What the notebook does with its form: checks it, runs the command, and shows what this very run has predicted.

Each folder is named by the content of its form, as ColabFold's are, so no protein is ever shown for another. Nothing a
person types passes through a shell.
"""

import dataclasses
import hashlib
import html
import importlib.util
import json
import shlex
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphafold_jax import atomic, choices, folders
from alphafold_jax.arguments import check_kind, check_names, check_whole, wrong
from alphafold_jax.data.alignment import checked_chains
from alphafold_jax.data.jobnames import safe_name
from alphafold_jax.data.records import read_bytes
from alphafold_jax.errors import AlphaFoldError, how_to_install
from alphafold_jax.output.plots import PLDDT_BANDS

SERVER, UPLOAD, SINGLE = MSA_MODES = 'server', 'upload', 'single_sequence'
MINI, RANDOM, DOWNLOAD = 'mini', 'random', ''
_MOST = 1000  # recycles, seeds
_LATER = ('inputs', 'templates', 'rank', 'num_relax')  # fields that older folders do not know
_DRIVE = '/content/drive'  # where Colab shows a person's files


class RunFailed(AlphaFoldError, RuntimeError):
  """A command of the notebook that did not end well; its own messages say why."""


def check_texts(form: Any) -> None:
  """Raises InputError where a field of a form that is for text holds something else."""
  for field in dataclasses.fields(form):
    if field.type is str:
      check_kind(field.name, getattr(form, field.name), str, 'must be text')


def flags_in(more_flags: str) -> list[str]:
  """The flags that a person wrote into a form, as a shell would part them; InputError: a quote is not closed."""
  try:
    return shlex.split(more_flags)
  except ValueError as error:
    raise wrong('more_flags', more_flags, f'not a list of flags ({error})') from None


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
  inputs: str = ''  # a file or a folder of many proteins, in place of the sequence
  templates: str = ''  # a structure of one's own, or a folder of them
  rank: str = 'auto'  # by which score models are ranked
  num_relax: int = 0  # best models that are relaxed
  more_flags: str = ''

  def __post_init__(self) -> None:
    check_texts(self)
    if self.msa_mode not in MSA_MODES:
      raise wrong('msa_mode', self.msa_mode, f'choose one of {", ".join(MSA_MODES)}')
    check_whole('num_models', self.num_models, 1, 5)
    check_whole('num_recycle', self.num_recycle, -1, _MOST)
    check_whole('num_seeds', self.num_seeds, 1, _MOST)
    check_names('rank', [self.rank], choices.RANKS, "'auto'")
    if '--zip' in self.flags():
      raise wrong('more_flags', self.more_flags, '--zip packs away what is shown here; the last cell makes an archive')
    self._check_templates()
    self._check_relaxation()
    self._check_input()
    if self.parameters not in (DOWNLOAD, MINI, RANDOM) and not folders.expanded(self.parameters).exists():
      raise wrong(
        'parameters', self.parameters, f'no such file or folder; or choose {MINI}, or {RANDOM}, or leave it empty'
      )

  def _check_templates(self) -> None:
    if self.use_templates and self.msa_mode != SERVER:
      raise wrong('use_templates', self.use_templates, f'templates are searched for with msa_mode={SERVER!r} only')
    if self.use_templates and self.templates:
      raise wrong(
        'templates', self.templates, 'templates come from one place; switch use_templates off, or leave it empty'
      )
    if self.templates and not folders.expanded(self.templates).exists():
      raise wrong('templates', self.templates, 'no such file or folder; give mmCIF or PDB files that are here')

  def _check_relaxation(self) -> None:
    check_whole('num_relax', self.num_relax, 0, _MOST)
    if self.num_relax and importlib.util.find_spec('openmm') is None:
      raise wrong('num_relax', self.num_relax, f'relaxation needs openmm: {how_to_install("relax")}; or choose 0')

  def _check_input(self) -> None:
    if self.alignment and (self.msa_mode != UPLOAD or self.inputs):
      rule = f'is read with msa_mode={UPLOAD!r} only, and without inputs; choose that, or leave it empty'
      raise wrong('alignment', self.alignment, rule)
    if self.inputs:
      if not folders.expanded(self.inputs).exists():
        raise wrong('inputs', self.inputs, 'no such file or folder; give one that is here, or leave it empty')
    elif self.msa_mode != UPLOAD:
      checked_chains(self.letters, 'sequence')
    elif not folders.expanded(self.alignment).is_file():
      raise wrong('alignment', self.alignment, 'with upload, must be the path of an A3M file that is here')

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
    flags = {'num-models': self.num_models, 'num-recycle': self.num_recycle, 'num-seeds': self.num_seeds}
    return [
      *([] if self.msa_mode == UPLOAD else ['--msa-mode', self.msa_mode]),
      *(['--templates'] if self.use_templates else []),
      *(['--custom-template-path', str(folders.expanded(self.templates).absolute())] if self.templates else []),
      *_PARAMETER_FLAGS.get(self.parameters, ['--params', self.parameters]),
      *(text for flag, value in flags.items() if value >= 0 for text in (f'--{flag}', str(value))),
      *(['--rank', self.rank] if self.rank != 'auto' else []),
      *(['--amber', '--num-relax', str(self.num_relax)] if self.num_relax else []),
      *flags_in(self.more_flags),
    ]

  def settings(self) -> dict[str, Any]:
    """All that shapes the results but the content of the input; fields of later versions where they say something."""
    values = dataclasses.asdict(self) | {'alignment': '', 'inputs': ''}
    defaults = {field.name: field.default for field in dataclasses.fields(self)}
    return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}


_PARAMETER_FLAGS: dict[str, list[str]] = {DOWNLOAD: [], MINI: ['--model-type', MINI]}


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A form with the folder that is its own, and the input in it."""

  form: Form
  folder: Path
  query: Path  # in the folder, or where many inputs lie

  @property
  def results(self) -> Path:
    return self.folder / 'results'


def drive_place(drive_folder: str) -> Path:
  """Where folders are made: a folder of a person's Google Drive, which Colab asks to see; '': here.

  Raises:
    InputError: this is not Colab.
  """
  if not drive_folder:
    return Path('.')
  try:
    from google.colab import drive
  except ImportError:
    raise wrong('drive_folder', drive_folder, 'Google Drive is there in Colab only; leave it empty') from None
  drive.mount(_DRIVE)
  return Path(_DRIVE, 'MyDrive', drive_folder)


def uploaded(files: Mapping[str, bytes], place: Path | str = '.') -> str:
  """Keeps what a file dialogue gave in a folder that holds nothing else, and returns its path.

  Args:
    files: their content by name, as `google.colab.files.upload()` returns it.
    place: where the folder is made.

  Raises:
    InputError: no file was chosen.
  """
  if not files:
    raise wrong('files', '', 'no file was chosen; run the cell again, or write the path of a file into the form')
  digest = hashlib.sha256()
  for name, content in sorted(files.items()):
    digest.update(hashlib.sha256(content).digest() + name.encode(**atomic.TEXT))
  folder = atomic.make_folder(Path(place).absolute() / f'uploaded_{digest.hexdigest()[:8]}')
  for name, content in files.items():
    with atomic.replacing(folder / Path(name).name) as file:
      file.write(content)
  return str(folder)


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
  content = _content(filled, stem)
  settings = json.dumps(filled.settings(), sort_keys=True).encode()
  digest = hashlib.sha256(hashlib.sha256(content).digest() + settings).hexdigest()[:8]
  folder = Path(place).absolute() / f'{stem}_{digest}'
  atomic.make_folder(folder)
  if filled.inputs:
    return Prepared(filled, folder, folders.expanded(filled.inputs).absolute())
  query = folder / f'{stem}.{"a3m" if filled.msa_mode == UPLOAD else "fasta"}'
  with atomic.replacing(query) as file:
    file.write(content)
  return Prepared(filled, folder, query)


def _content(form: Form, stem: str) -> bytes:
  """The input's bytes; of many inputs the digest of each."""
  if not form.inputs:
    is_alignment = form.msa_mode == UPLOAD
    fasta = f'>{stem}\n{form.letters}\n'  # a header means nothing but a name, whatever was typed
    return read_bytes(folders.expanded(form.alignment)) if is_alignment else fasta.encode()
  path = folders.expanded(form.inputs)
  files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
  return json.dumps([(one.name, hashlib.sha256(read_bytes(one)).hexdigest()) for one in files]).encode()


def predict(job: Prepared) -> list[Path]:
  """Runs the command, shows what it says as it says it, and returns the structures that it wrote, best first.

  Of many inputs those of the first protein come first; some may have failed, which is said.

  Raises:
    RunFailed: it did not end well, or wrote none; nothing of an earlier run is returned.
  """
  if job.form.parameters == DOWNLOAD:
    run(['params', 'download'])
  run(['predict', str(job.query), str(job.results), *job.form.flags()], accepted=(0, 1) if job.form.inputs else (0,))
  ranked = sorted(job.results.glob('*_unrelaxed_rank_*.pdb'))
  if not ranked:
    raise RunFailed(f'{job.results}: no structure was written; the messages above say why')
  return ranked


def chosen(ranked: Sequence[Path], rank: int = 1) -> list[Path]:
  """Of what `predict` returned the structures of one rank, of each protein one; relaxed where they were relaxed."""
  found = []
  for path in ranked:
    job, _, rest = path.name.rpartition('_unrelaxed_rank_')
    if rest.startswith(f'{rank:03d}_'):
      relaxed = path.with_name(f'{job}_relaxed_rank_{rest}')
      found.append(relaxed if relaxed.is_file() else path)
  return found


def reports(ranked: Sequence[Path], height: int = 900) -> list[Any]:
  """The report page of each protein, to be shown in a notebook; none where a run left no page."""
  from IPython.display import HTML

  jobs = dict.fromkeys(path.with_name(path.name.rpartition('_unrelaxed_rank_')[0]) for path in ranked)
  pages = [path for job in jobs if (path := job.with_name(f'{job.name}.html')).is_file()]
  frame = (
    '<iframe srcdoc="{}" width="100%" height="{}" style="border:0"></iframe>'  # its scripts and styles are its own
  )
  return [HTML(frame.format(html.escape(page.read_text(encoding='utf-8')), height)) for page in pages]


def run(arguments: Sequence[str], seconds: float | None = None, accepted: Collection[int] = (0,)) -> None:
  """Runs `alphafold-jax` with arguments, which no shell sees; its words are printed as they come.

  Args:
    arguments: of the command.
    seconds: after which it is asked to stop; None: it is not.
    accepted: exit codes with which it did what it could.

  Raises:
    RunFailed: its exit code is another.
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
  if process.returncode not in accepted:
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
