# SPDX-License-Identifier: Apache-2.0
"""Which files are predictions, which are references, and which belong together.

Predictions: a results folder of `alphafold-jax predict` or ColabFold ({job}_unrelaxed_rank_001_{tag}.pdb or .cif; of
relaxed and unrelaxed the relaxed one, of PDB and mmCIF the mmCIF), any folder of structure files, or one file.
A prediction's id is its job, or its file's name without extension.

References: a folder of structure files, or one file, which then serves every prediction. Upper and lower case count as
equal, and 'pdb1abc.ent' is 1abc. A prediction belongs to the reference whose name is

1. its id (4zey_A: 4zey_A.cif), else
2. the longest that its id begins with, up to '_', '-' or '.' (4zey_A: 4zey.cif), or all but its last letter, being the
   chain (4zeyA: 4zey.cif); what follows names the chain if the file has one of that name, else the chain whose sequence
   is most like the prediction's is taken; else
3. the only one that goes on from its id in that way (4zey: 4zey_A.cif).

A table with the columns prediction and reference (and perhaps chain) says it outright.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alphafold_jax.data.records import read_text
from alphafold_jax.errors import InputError

_STRUCTURE = re.compile(r'(?P<stem>.+?)\.(pdb|ent|cif|mmcif)(\.gz)?', re.IGNORECASE)
_RANKED = re.compile(r'(?P<job>.+)_(?P<kind>unrelaxed|relaxed)_(?P<tag>rank_(?P<rank>\d+)_.+)')
_PASS = re.compile(r'.*_seed_\d+(\.r|_r)\d+')  # the structure after one recycling pass
_BORDER = '_-.'
_NAMES = 'names.json'


@dataclasses.dataclass(frozen=True)
class Predicted:
  """A file that holds a prediction."""

  id: str
  path: Path
  rank: int | None = None  # from 1; None where the file's name does not tell
  scores: Path | None = None  # the scores JSON beside it
  name: str = ''  # as the protein was called before its name was made safe, if it was


@dataclasses.dataclass(frozen=True)
class Reference:
  """The file with the true structure of a prediction."""

  path: Path
  chain: str = ''  # a name the chain may have; '' if nothing says
  must_have_chain: bool = False  # a table said so: no other chain will do


@dataclasses.dataclass(frozen=True)
class Found:
  """What is to be compared."""

  pairs: list[tuple[Predicted, Reference]]
  unmatched: dict[str, tuple[Path, str]]  # prediction's id -> its file, and why it has no reference
  unused: list[Path]  # references without a prediction
  left_out: list[str] = dataclasses.field(default_factory=list)  # predictions that a table does not name


def find(
  predictions: str | Path, references: str | Path, *, pairs: str | Path | None = None, every_rank: bool = False
) -> Found:
  """Finds predictions and their references; the rules are those of this module's docstring.

  Args:
    predictions: folder or file.
    references: folder or file.
    pairs: a table that says which belong together.
    every_rank: take all ranked models of a job, not its best alone.

  Raises:
    InputError: a path that does not exist, no structure files, a table that cannot be used, or not a single pair.
  """
  predicted = find_predictions(predictions, every_rank=every_rank)
  known, serves_all = find_references(references)
  if pairs is not None:
    return _by_table(pairs, predicted, known, Path(predictions), Path(references))
  found, unmatched, used = [], {}, set()
  for one in predicted:
    try:
      reference = _match(one, known, serves_all)
    except InputError as error:
      unmatched[one.id] = (one.path, str(error))
      continue
    found.append((one, reference))
    used.add(reference.path)
  if not found:
    path, _ = next(iter(unmatched.values()))
    raise InputError(
      f'none of the {len(predicted)} predictions in {predictions} has a reference among the {len(known)} in '
      f'{references}; the first is {path.name}, the first reference {next(iter(known.values())).name}; name '
      'references like predictions, or give a table with the columns prediction and reference'
    )
  return Found(pairs=found, unmatched=unmatched, unused=[path for path in known.values() if path not in used])


def find_predictions(path: str | Path, *, every_rank: bool = False) -> list[Predicted]:
  """The predictions in a folder, by id and rank, or the one in a file."""
  path = Path(path)
  best: dict[tuple[str, int | None], tuple[tuple, Predicted]] = {}
  names = _original_names(path)
  for file, stem in _structure_files(path):
    if _PASS.fullmatch(stem):
      continue
    ranked = _RANKED.fullmatch(stem)
    job, rank = (ranked['job'], int(ranked['rank'])) if ranked else (stem, None)
    preference = (ranked is not None and ranked['kind'] == 'relaxed', '.cif' in file.name.lower(), file.suffix != '.gz')
    scores = _beside(file, f'{job}_scores_{ranked["tag"]}.json') if ranked else None
    one = Predicted(id=job, path=file, rank=rank, scores=scores, name=names.get(job, ''))
    if (job, rank) not in best or preference > best[job, rank][0]:
      best[job, rank] = preference, one
  jobs = {job for job, rank in best if rank is not None}
  found = [one for _, one in best.values() if one.rank is not None or one.id not in jobs]
  result = sorted(found, key=lambda one: (one.id, one.rank or 0))
  if not result:
    raise InputError(f'{path}: only structures of single recycling passes; give the results folder as predict left it')
  if every_rank:
    return result
  first: dict[str, Predicted] = {}
  for one in result:
    first.setdefault(one.id, one)
  return list(first.values())


def find_references(path: str | Path) -> tuple[dict[str, Path], bool]:
  """The reference files by name without extension in lower case, and whether there is one for all."""
  known: dict[str, Path] = {}
  for file, stem in _structure_files(Path(path)):
    key = re.sub(r'^pdb(?=\d\w{3}$)', '', stem.casefold())
    if key in known:
      raise InputError(f'{file}: {known[key].name} has the same name; leave one of them')
    known[key] = file
  return known, Path(path).is_file()


def _structure_files(path: Path) -> list[tuple[Path, str]]:
  """Structure files with their names without extension: those of a folder, or the one given, whatever its name."""
  if path.is_file():
    named = _STRUCTURE.fullmatch(path.name)
    return [(path, named['stem'] if named else path.stem)]
  if not path.exists():
    raise InputError(f'{path}: no such file or folder')
  try:
    files = sorted(path.iterdir())
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error
  found = [
    (file, named['stem'])
    for file in files
    if not file.name.startswith('.') and file.is_file() and (named := _STRUCTURE.fullmatch(file.name))
  ]
  if not found:
    hint = '; unpack the .zip files in it' if any(file.suffix == '.zip' for file in files) else ''
    raise InputError(
      f'{path}: no structure file (.pdb, .ent, .cif or .mmcif, also .gz) among its {len(files)} entries{hint}'
    )
  return found


def _beside(file: Path, name: str) -> Path | None:
  return next((path for path in (file.with_name(name), file.with_name(f'{name}.gz')) if path.is_file()), None)


def _original_names(path: Path) -> Mapping[str, str]:
  """The names of proteins whose jobs had to be renamed."""
  try:
    content = json.loads((path / _NAMES).read_text(encoding='utf-8'))
    return {str(job): str(name) for job, name in content.items()}
  except (OSError, ValueError, AttributeError):
    return {}


# ------------------------------------------------------------------------------------------ matching


def _match(predicted: Predicted, known: Mapping[str, Path], serves_all: bool) -> Reference:
  """The reference of a prediction by its id, or by its protein's name."""
  for name in filter(None, (predicted.id, predicted.name)):
    if reference := _by_name(name, known):
      return reference
  if serves_all:
    return Reference(next(iter(known.values())))
  raise InputError(
    f'no reference is called like {predicted.id!r}; rename one, or give a table with the columns '
    'prediction and reference'
  )


def _by_name(name: str, known: Mapping[str, Path]) -> Reference | None:
  """The three rules."""
  key = name.casefold()
  if key in known:
    return Reference(known[key], chain=_last_part(name))
  for end in range(len(key) - 1, 0, -1):  # the longest first
    if key[:end] in known and (key[end] in _BORDER or (end == len(key) - 1 and key[end].isalnum())):
      rest = re.split(r'[_.-]', name[end:].lstrip(_BORDER))
      return Reference(known[key[:end]], chain=rest[0])
  longer = [stem for stem in known if stem.startswith(key) and stem[len(key)] in _BORDER]
  return Reference(known[longer[0]]) if len(longer) == 1 else None


def _last_part(name: str) -> str:
  return re.split(r'[_.-]', name)[-1]


def _by_table(
  table: str | Path, predicted: Sequence[Predicted], known: Mapping[str, Path], predictions: Path, references: Path
) -> Found:
  """Pairs as a table has them; entries are ids or files in the two folders."""
  by_id: dict[str, list[Predicted]] = {}
  for one in predicted:
    for name in {one.id, one.path.name, _STRUCTURE.sub(r'\g<stem>', one.path.name), one.name} - {''}:
      by_id.setdefault(name, []).append(one)
  found, used = [], set()
  for line, row in _rows(table):
    place = f'{table}, line {line}'
    if row['prediction'] not in by_id:
      raise InputError(f'{place}: there is no prediction {row["prediction"]!r} in {predictions}')
    reference = _named_reference(row['reference'], known)
    if reference is None:
      raise InputError(f'{place}: there is no reference {row["reference"]!r} in {references}')
    if row.get('chain'):
      reference = Reference(reference.path, chain=row['chain'], must_have_chain=True)
    found += [(one, reference) for one in by_id[row['prediction']]]
    used.add(reference.path)
  if not found:
    raise InputError(f'{table}: no rows; give a prediction and its reference on each line')
  named = {one.id for one, _ in found}
  return Found(
    pairs=found,
    unmatched={},
    unused=[path for path in known.values() if path not in used],
    left_out=list(dict.fromkeys(one.id for one in predicted if one.id not in named)),
  )


def _named_reference(name: str, known: Mapping[str, Path]) -> Reference | None:
  named = _STRUCTURE.fullmatch(name)
  return _by_name(named['stem'] if named else name, known)


def _rows(table: str | Path) -> Iterable[tuple[int, dict[str, str]]]:
  """The table's rows with their line numbers."""
  text = read_text(table)
  delimiter = '\t' if '\t' in text.partition('\n')[0] else ','
  reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
  columns = [str(name).strip().casefold() for name in reader.fieldnames or ()]
  if not {'prediction', 'reference'} <= set(columns):
    raise InputError(
      f'{table}: the first line has the columns {", ".join(columns) or "(none)"}; it needs prediction and reference'
    )
  reader.fieldnames = columns
  for row in reader:
    values = {name: (value or '').strip() for name, value in row.items() if isinstance(name, str)}
    if not (values['prediction'] and values['reference']):
      raise InputError(f'{table}, line {reader.line_num}: prediction or reference is empty')
    yield reader.line_num, values
