# SPDX-License-Identifier: Apache-2.0
"""Finds the files of predictions and references, and pairs them.

Predictions: a results folder of `alphafold-jax predict` or ColabFold ({job}_unrelaxed_rank_001_{tag}.pdb or .cif; of
relaxed and unrelaxed the relaxed one, of PDB and mmCIF the mmCIF), any folder of structure files, or one file.
A prediction's id is its job, or its file's name without extension.

References: a folder of structure files, or one file, which then serves every prediction. Upper and lower case count as
equal, and 'pdb1abc.ent' is 1abc. A prediction belongs to the reference whose name is

1. its id (4zey_A: 4zey_A.cif), else
2. the longest name that its id begins with, followed by '_', '-' or '.' (4zey_A: 4zey.cif) or by one last letter, the
   chain (4zeyA: 4zey.cif); the rest of the id names the chain if the file has one of that name, else the chain with the
   most similar sequence is taken; else
3. the only name that begins with its id, followed by '_', '-' or '.' (4zey: 4zey_A.cif).

A table with the columns prediction and reference (and perhaps chain) takes the place of these rules.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alphafold_jax.data.jobnames import original_names
from alphafold_jax.data.records import absent, read_table
from alphafold_jax.errors import InputError

_STRUCTURE = re.compile(r'(?P<stem>.+?)\.(pdb|ent|cif|mmcif)(\.gz)?', re.IGNORECASE)
_RANKED = re.compile(r'(?P<job>.+)_(?P<kind>unrelaxed|relaxed)_(?P<tag>rank_(?P<rank>\d+)_.+)')
_PASS = re.compile(r'.*_seed_\d+(\.r|_r)\d+')  # the structure after one recycling pass
_BORDER = '_-.'


@dataclasses.dataclass(frozen=True)
class PredictionFile:
  """A structure file that holds a prediction."""

  id: str
  path: Path
  rank: int | None = None  # from 1; None where the file's name has none
  scores: Path | None = None  # the scores JSON beside it
  name: str = ''  # the protein's own name, where its job had to have another


@dataclasses.dataclass(frozen=True)
class ReferenceFile:
  """The file with the true structure of a prediction."""

  path: Path
  chain: str = ''  # a name that the chain may have; '': none is known
  must_have_chain: bool = False  # a table names the chain: no other may be taken


@dataclasses.dataclass(frozen=True)
class Pairing:
  """The pairs to compare, and the files without a partner."""

  pairs: list[tuple[PredictionFile, ReferenceFile]]
  unmatched: dict[str, tuple[Path, str]]  # prediction's id -> its file, and why it has no reference
  unused: list[Path]  # references without a prediction
  left_out: list[str] = dataclasses.field(default_factory=list)  # predictions that a table does not name


def find(
  predictions: str | Path, references: str | Path, *, pairs: str | Path | None = None, every_rank: bool = False
) -> Pairing:
  """Finds predictions and their references, by the rules of this module's docstring.

  Args:
    predictions: folder or file.
    references: folder or file.
    pairs: a table in place of the rules.
    every_rank: take all ranked models of a job instead of its best.

  Raises:
    InputError: a path does not exist or has no structure file, the table cannot be used, or there is no pair.
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
  return Pairing(pairs=found, unmatched=unmatched, unused=[path for path in known.values() if path not in used])


def find_predictions(path: str | Path, *, every_rank: bool = False) -> list[PredictionFile]:
  """The predictions in a folder, or the one in a file, sorted by id and rank; of each job the best, or every rank."""
  path = Path(path)
  best: dict[tuple[str, int | None], tuple[tuple[bool, bool, bool], PredictionFile]] = {}
  names = original_names(path)
  for file, stem in _structure_files(path):
    if _PASS.fullmatch(stem):
      continue
    ranked = _RANKED.fullmatch(stem)
    job, rank = (ranked['job'], int(ranked['rank'])) if ranked else (stem, None)
    preference = (ranked is not None and ranked['kind'] == 'relaxed', '.cif' in file.name.lower(), file.suffix != '.gz')
    scores = _beside(file, f'{job}_scores_{ranked["tag"]}.json') if ranked else None
    one = PredictionFile(id=job, path=file, rank=rank, scores=scores, name=names.get(job, ''))
    if (job, rank) not in best or preference > best[job, rank][0]:
      best[job, rank] = preference, one
  jobs = {job for job, rank in best if rank is not None}
  found = [one for _, one in best.values() if one.rank is not None or one.id not in jobs]
  if not found:
    raise InputError(f'{path}: only structures of single recycling passes; give the results folder as predict left it')
  found.sort(key=lambda one: (one.id, one.rank or 0))
  return found if every_rank else [next(ranks) for _, ranks in itertools.groupby(found, key=lambda one: one.id)]


def find_references(path: str | Path) -> tuple[dict[str, Path], bool]:
  """The reference files by name, in lower case without extension, and whether one file serves all predictions."""
  known: dict[str, Path] = {}
  for file, stem in _structure_files(Path(path)):
    key = re.sub(r'^pdb(?=\d\w{3}$)', '', stem.casefold())
    if key in known:
      raise InputError(f'{file}: {known[key].name} has the same name; leave one of them')
    known[key] = file
  return known, Path(path).is_file()


def _structure_files(path: Path) -> list[tuple[Path, str]]:
  """Structure files and their names without extension: those of a folder, or the one given, which may have any name."""
  if os.path.isfile(path):
    named = _STRUCTURE.fullmatch(path.name)
    return [(path, named['stem'] if named else path.stem)]
  try:
    files = sorted(path.iterdir())
  except FileNotFoundError:
    raise InputError(f'{path}: {absent(path, "no such file or folder")}') from None
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error
  found = [
    (file, named['stem'])
    for file in files
    if not file.name.startswith('.') and not os.path.isdir(file) and (named := _STRUCTURE.fullmatch(file.name))
  ]
  if not found:
    hint = '; unpack the .zip files in it' if any(file.suffix == '.zip' for file in files) else ''
    raise InputError(
      f'{path}: no structure file (.pdb, .ent, .cif or .mmcif, also .gz) among its {len(files)} entries{hint}'
    )
  return found


def _beside(file: Path, name: str) -> Path | None:
  return next((path for path in (file.with_name(name), file.with_name(f'{name}.gz')) if path.is_file()), None)


# ------------------------------------------------------------------------------------------ matching


def _match(predicted: PredictionFile, known: Mapping[str, Path], serves_all: bool) -> ReferenceFile:
  """The reference of a prediction by its id, else by its protein's name; InputError where neither finds one."""
  for name in filter(None, (predicted.id, predicted.name)):
    if reference := _by_name(name, known):
      return reference
  if serves_all:
    return ReferenceFile(next(iter(known.values())))
  raise InputError(
    f'no reference is called like {predicted.id!r}; rename one, or give a table with the columns '
    'prediction and reference'
  )


def _by_name(name: str, known: Mapping[str, Path]) -> ReferenceFile | None:
  """The reference of a name by the three rules; None where none applies."""
  key = name.casefold()
  if key in known:
    return ReferenceFile(known[key], chain=re.split(r'[_.-]', name)[-1])
  for end in range(len(key) - 1, 0, -1):  # the longest first
    if key[:end] in known and (key[end] in _BORDER or (end == len(key) - 1 and key[end].isalnum())):
      rest = re.split(r'[_.-]', name[end:].lstrip(_BORDER))
      return ReferenceFile(known[key[:end]], chain=rest[0])
  longer = [stem for stem in known if stem.startswith(key) and stem[len(key)] in _BORDER]
  return ReferenceFile(known[longer[0]]) if len(longer) == 1 else None


def _by_table(
  table: str | Path, predicted: Sequence[PredictionFile], known: Mapping[str, Path], predictions: Path, references: Path
) -> Pairing:
  """The pairs of a table, whose entries are ids or names of files in the two folders."""
  by_id: dict[str, list[PredictionFile]] = {}
  for one in predicted:
    for name in {one.id, one.path.name, _STRUCTURE.sub(r'\g<stem>', one.path.name), one.name} - {''}:
      by_id.setdefault(name, []).append(one)
  found, used = [], set()
  for line, row in _rows(table):
    place = f'{table}, line {line}'
    if row['prediction'] not in by_id:
      raise InputError(f'{place}: there is no prediction {row["prediction"]!r} in {predictions}')
    named_file = _STRUCTURE.fullmatch(row['reference'])
    reference = _by_name(named_file['stem'] if named_file else row['reference'], known)
    if reference is None:
      raise InputError(f'{place}: there is no reference {row["reference"]!r} in {references}')
    if row.get('chain'):
      reference = ReferenceFile(reference.path, chain=row['chain'], must_have_chain=True)
    found += [(one, reference) for one in by_id[row['prediction']]]
    used.add(reference.path)
  named = {one.id for one, _ in found}
  return Pairing(
    pairs=found,
    unmatched={},
    unused=[path for path in known.values() if path not in used],
    left_out=list(dict.fromkeys(one.id for one in predicted if one.id not in named)),
  )


def _rows(table: str | Path) -> Iterable[tuple[int, dict[str, str]]]:
  """The table's rows, by column, with their line numbers."""
  for line, row in read_table(table, ('prediction', 'reference'), 'prediction,reference and perhaps chain'):
    values = {name: value.strip() for name, value in row.items() if name}  # '' has what no column names
    if not (values['prediction'] and values['reference']):
      raise InputError(f'{table}, line {line}: prediction or reference is empty')
    yield line, values
