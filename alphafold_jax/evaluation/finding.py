# SPDX-License-Identifier: Apache-2.0
"""Finds the files of predictions and references, and pairs them.

Predictions: a results folder of `alphafold-jax predict` or ColabFold ({job}_unrelaxed_rank_001_{tag}.pdb or .cif, or
the first as AF-{job}-F1-model_v4; of relaxed and unrelaxed the relaxed one, of PDB and mmCIF the mmCIF), any folder of
structure files (of x and x_relaxed the latter), or one file. A prediction's id is its job, or its file's name without
extension.

References: the same, chosen in the same way: a results folder (its best model of each protein), any folder of structure
files, or one file, which then serves every prediction. Upper and lower case count as equal, and 'pdb1abc.ent' is 1abc.
A prediction belongs to the reference whose name is

1. its id (4zey_A: 4zey_A.cif), else
2. the longest name that its id begins with, followed by '_', '-' or '.' (4zey_A: 4zey.cif) or by one last letter, the
   chain (4zeyA: 4zey.cif); the rest of the id names the chain if the file has one of that name, else the chain with the
   most similar sequence is taken; else
3. the only name that begins with its id, followed by '_', '-' or '.' (4zey: 4zey_A.cif).

A table with the columns prediction and reference (and perhaps chain) takes the place of these rules. A line of it that
matches nothing is a prediction that cannot be scored.
"""

import collections
import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alphafold_jax.data.jobnames import original_names
from alphafold_jax.data.records import absent, read_table
from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, listed
from alphafold_jax.screen import number

_STRUCTURE = re.compile(r'(?P<stem>.+?)\.(pdb|ent|cif|mmcif)(\.gz)?', re.IGNORECASE)
_RANKED = re.compile(r'(?P<job>.+)_(?P<kind>unrelaxed|relaxed)_(?P<tag>rank_(?P<rank>\d+)_.+)')
_BEST = re.compile(r'AF-(?P<job>.+)-F1-model_v\d+')  # as `predict --naming afdb` calls the first of a job
_PASS = re.compile(r'.*_seed_\d+(\.r|_r)\d+')  # the structure after one recycling pass
_RELAXED = '_relaxed'
_BORDER = '_-.'
_COLUMNS = ('prediction', 'reference', 'chain')


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
  chain: str = ''  # a name that the chain may have; '': none is known; a table may name several: 'A B'
  must_have_chain: bool = False  # a table names the chain: no other may be taken


@dataclasses.dataclass(frozen=True)
class Pairing:
  """The pairs to compare, and the files without a partner."""

  pairs: list[tuple[PredictionFile, ReferenceFile]]
  unmatched: list[tuple[str, Path, str]]  # prediction's id, its file, and why it has no reference
  unused: list[Path]  # references without a prediction
  left_out: list[str] = dataclasses.field(default_factory=list)  # predictions that a table does not name
  notes: list[str] = dataclasses.field(default_factory=list)  # what was chosen among several, or not read


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
  known, serves_all, notes = find_references(references)
  if pairs is not None:
    return _by_table(pairs, predicted, known, notes, (Path(predictions), Path(references)))
  found, unmatched, used = [], [], set()
  for one in predicted:
    try:
      reference = _match(one, known, serves_all)
    except InputError as error:
      unmatched.append((one.id, one.path, str(error)))
      continue
    found.append((one, reference))
    used.add(reference.path)
  if not found:
    _, path, _ = unmatched[0]
    raise InputError(
      f'none of {number(len(predicted), "prediction")} in {predictions} has a reference among the {len(known)} in '
      f'{references}; the first is {path.name}, the first reference {next(iter(known.values())).name}; name '
      'references like predictions, or give a table with the columns prediction and reference'
    )
  unused = [path for path in known.values() if path not in used]
  return Pairing(pairs=found, unmatched=unmatched, unused=unused, notes=notes)


def find_predictions(path: str | Path, *, every_rank: bool = False) -> list[PredictionFile]:
  """The predictions in a folder, or the one in a file, sorted by id and rank; of each job the best, or every rank."""
  path = Path(path)
  best: dict[tuple[str, int | None], tuple[tuple[bool, ...], PredictionFile]] = {}
  names = original_names(path)
  structures = _structure_files(path)
  stems = {stem for _, stem in structures}
  for file, stem in structures:
    if _PASS.fullmatch(stem):
      continue
    before = stem.removesuffix(_RELAXED)  # as `alphafold-jax relax` calls it beside its start
    ranked, is_relaxed = _RANKED.fullmatch(stem), before != stem and before in stems
    one = _prediction(file, before if is_relaxed else stem, names)
    preference = (is_relaxed or (ranked is not None and ranked['kind'] == 'relaxed'), *_preference(file))
    if (one.id, one.rank) not in best or preference > best[one.id, one.rank][0]:
      best[one.id, one.rank] = preference, one
  jobs = {job for job, rank in best if rank is not None}
  found = [one for _, one in best.values() if one.rank is not None or one.id not in jobs]
  if not found:
    raise InputError(f'{path}: only structures of single recycling passes; give the results folder as predict left it')
  found.sort(key=lambda one: (one.id, one.rank or 0))
  return found if every_rank else [next(ranks) for _, ranks in itertools.groupby(found, key=lambda one: one.id)]


def _prediction(file: Path, stem: str, names: Mapping[str, str]) -> PredictionFile:
  """What a file's name says; `names` are the proteins' own by job."""
  if (best := _BEST.fullmatch(stem)) and (beside := _scores_of_best(file, best['job'])):
    return PredictionFile(id=best['job'], path=file, rank=1, scores=beside, name=names.get(best['job'], ''))
  if not (ranked := _RANKED.fullmatch(stem)):
    return PredictionFile(id=stem, path=file, name=names.get(stem, ''))
  job, scores = ranked['job'], _beside(file, f'{ranked["job"]}_scores_{ranked["tag"]}.json')
  return PredictionFile(id=job, path=file, rank=int(ranked['rank']), scores=scores, name=names.get(job, ''))


def _scores_of_best(file: Path, job: str) -> Path | None:
  """The scores of a job's first model beside its structure; None of AlphaFold DB's own files, which have none."""
  return next(iter(sorted(file.parent.glob(f'{glob.escape(job)}_scores_rank_001_*.json'))), None)


def find_references(path: str | Path) -> tuple[dict[str, Path], bool, list[str]]:
  """The reference files by name, in lower case without extension; whether one file serves all predictions; notes.

  Raises:
    InputError: the path does not exist or has no structure file, or two files have one name but for its case.
  """
  path, found = Path(path), find_predictions(path)
  known: dict[str, Path] = {}
  for one in sorted(found, key=lambda one: _preference(one.path), reverse=True):
    key = re.sub(r'^pdb(?=\d\w{3}$)', '', one.id.casefold())
    if key in known and _preference(known[key]) == _preference(one.path):
      raise InputError(f'{one.path}: {known[key].name} has the same name; leave one of them')
    known.setdefault(key, one.path)
  notes = _left_out(path, known.values())
  if any(one.rank is not None for one in found):
    notes.append(f'{path} is a results folder: the best model of each protein is its reference')
  return {key: known[key] for key in sorted(known)}, path.is_file(), notes


def _preference(file: Path) -> tuple[bool, bool]:
  """What is taken before another file of the same name: mmCIF before PDB, a plain file before a packed one."""
  name = file.name.lower()
  return name.removesuffix('.gz').endswith('cif'), not name.endswith('.gz')


def _left_out(path: Path, taken: Iterable[Path]) -> list[str]:
  """A note on the files of a folder in whose place another of the same name is taken."""
  chosen = set(taken)
  rest = [file.name for file, stem in _structure_files(path) if file not in chosen and not _RANKED.fullmatch(stem)]
  rest = [name for name in rest if not _PASS.fullmatch(name.split('.')[0])]
  if not rest:
    return []
  rule = 'of files of one name the relaxed is taken, mmCIF is taken before PDB, plain ones before packed'
  return [f'{path}: {rule}; left out: {listed(rest)}']


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
    place = f'among {number(len(files), "item")}' if files else 'in it; it is an empty folder'
    hint = '; unpack the .zip files in it' if any(file.suffix == '.zip' for file in files) else ''
    raise InputError(f'{path}: no structure file (.pdb, .ent, .cif or .mmcif, also .gz) {place}{hint}')
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
  table: str | Path,
  predicted: Sequence[PredictionFile],
  known: Mapping[str, Path],
  notes: Sequence[str],
  folders: tuple[Path, Path],  # of predictions and references, for messages
) -> Pairing:
  """The pairs of a table, whose entries are ids or names of files in the two folders."""
  by_id: dict[str, list[PredictionFile]] = {}
  for one in predicted:
    for name in {one.id, one.path.name, _STRUCTURE.sub(r'\g<stem>', one.path.name), one.name} - {''}:
      by_id.setdefault(name, []).append(one)
  for file, stem in _structure_files(folders[0]):  # those that another is preferred to can be named all the same
    by_id.setdefault(file.name, [_prediction(file, stem, original_names(folders[0]))])
  names, files = Names(by_id), Names({file.name: file for file, _ in _structure_files(folders[1])})
  found: list[tuple[PredictionFile, ReferenceFile]] = []
  unmatched: list[tuple[str, Path, str]] = []
  notes = list(notes)
  lines: dict[tuple[tuple[Path, ...], Path, str], int] = {}  # the first of each pair
  rows, unread = _rows(table)
  for line, row in rows:
    place = f'{table}, line {line}'
    try:
      meant, reference = _of_row(row, names, known, files, place, folders)
    except InputError as error:
      unmatched.append((row['prediction'] or f'line {line}', Path(row['prediction']), str(error)))
      continue
    chain = reference.chain if reference.must_have_chain else reference.chain.casefold()
    paths = tuple(one.path for one in meant)
    if (first := lines.setdefault((paths, reference.path, chain), line)) != line:
      notes.append(f'{place} says what line {first} says')
    else:
      found += [(one, reference) for one in meant]
  if not found:
    raise InputError(f'{unmatched[0][2]}; nothing in {table} can be used ({number(len(rows), "line")})')
  if unread:
    notes.append(f'{table}: columns not used: {listed(unread)}')
  times = collections.Counter((one.id, one.rank) for one, _ in found)
  if several := [id for (id, _), count in times.items() if count > 1]:
    notes.append(f'{table}: several references of {listed(several)}; statistics are of the first')
  named = {one.id for _, row in rows if (key := names.meant(row['prediction'])) for one in names[key]}
  used = {reference.path for _, reference in found}
  return Pairing(
    pairs=found,
    unmatched=unmatched,
    unused=[path for path in known.values() if path not in used],
    left_out=list(dict.fromkeys(one.id for one in predicted if one.id not in named)),
    notes=notes,
  )


def _of_row(
  row: Mapping[str, str],
  predicted: Names[list[PredictionFile]],
  known: Mapping[str, Path],
  files: Names[Path],  # of references
  place: str,
  folders: tuple[Path, Path],
) -> tuple[list[PredictionFile], ReferenceFile]:
  """The prediction, with its ranks, and the reference that a row names; InputError where there is none."""
  if not (row['prediction'] and row['reference']):
    raise InputError(f'{place}: prediction or reference is empty')
  if (meant := predicted.meant(row['prediction'])) is None:
    raise InputError(f'{place}: there is no prediction {row["prediction"]!r} in {folders[0]}')
  named_file = _STRUCTURE.fullmatch(row['reference'])
  reference = _by_name(named_file['stem'] if named_file else row['reference'], known)
  if reference is None:
    raise InputError(f'{place}: there is no reference {row["reference"]!r} in {folders[1]}')
  if file := files.meant(row['reference']):
    reference = dataclasses.replace(reference, path=files[file])
  if row.get('chain'):
    reference = ReferenceFile(reference.path, chain=row['chain'], must_have_chain=True)
  return predicted[meant], reference


def _rows(table: str | Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
  """The table's rows, by column, with their line numbers; and the columns that are not read."""
  rows = read_table(table, _COLUMNS[:2], 'prediction,reference and perhaps chain')
  values = [(line, {name: row[name].strip() for name in _COLUMNS if name in row}) for line, row in rows]
  return values, [name for name in rows[0][1] if name and name not in _COLUMNS]
