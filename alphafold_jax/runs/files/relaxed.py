# SPDX-License-Identifier: Apache-2.0
"""The relaxed structures of a protein: beside its other files, or with them in its archive.

    OUT/.results/{job}/relaxed/{key}.json   a relaxed structure with its record, by all that made it

So they are relaxed once, whatever becomes of the ranks, and follow their predictions wherever these go, also in a run
that relaxes nothing. The record of the protein does not name them: its predictions are done without.
"""

import contextlib
import json
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import InputError
from alphafold_jax.output import files
from alphafold_jax.output.page import with_relaxed
from alphafold_jax.relaxation import Protocol, Relaxed, folder, protocols
from alphafold_jax.runs.files.changes import Journal
from alphafold_jax.runs.files.report import citations_of_relaxing
from alphafold_jax.sharing import HIDDEN

_UNRELAXED = ('pdb', 'mmcif')  # rows of the table of formats, in the order in which they are looked for
_OF_BEST = {row.of_best: name for name, row in files.FORMATS.items() if row.of_best is not None}  # under other names
_NAME = re.compile(r'(?P<job>.*)_relax(ed)?_rank_\d+_.*_seed_\d+\.(pdb|cif|json)', re.DOTALL)
_ARCHIVE = '*.result.zip'


def by_protein(names: Iterable[str]) -> defaultdict[str, list[str]]:
  """Those of these files that are of relaxed structures, by the name of the protein."""
  found = defaultdict(list)
  for name in names:
    if of := _NAME.fullmatch(name):
      found[of['job']].append(name)
  return found


class Unrelaxed(NamedTuple):
  """The file of a prediction."""

  name: str
  content: bytes
  is_packed: bool  # in the archive
  relaxed: folder.FilesOfRelaxed  # the names of what is made of it, whatever its own


class RelaxedFiles:
  """The relaxed structures of one protein."""

  def __init__(self, out: Path, job: str, place: Path | None = None):
    """Writes nothing yet.

    Args:
      out: the output folder.
      job: the protein.
      place: where its files are put together, before they are in the output folder; None: they are there.
    """
    self._place, self._job, self._is_in_place = place or out, job, place is None
    self._archive = self._place / files.file_name('zip', job)
    self._store = out / HIDDEN / job / 'relaxed'
    self._journal = out / HIDDEN / job / 'files.json'

  def unrelaxed(self, tag: str, *, is_best: bool) -> Unrelaxed:
    """The structure of a prediction by its tag with rank; InputError: there is none any more.

    Args:
      tag: of the prediction.
      is_best: whether it is the first, whose files `--naming` may give names of their own.
    """
    rows = [row for form in _UNRELAXED for row in (form, _OF_BEST[form] if is_best else form)]
    names = list(dict.fromkeys(files.file_name(row, self._job, tag) for row in rows))
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(self._archive) as archive:
      for name in names:
        if name in archive.namelist():
          return Unrelaxed(name, archive.read(name), is_packed=True, relaxed=self._relaxed(tag, name))
    for name in names:
      if (path := self._place / name).is_file():
        return Unrelaxed(name, path.read_bytes(), is_packed=False, relaxed=self._relaxed(tag, name))
    raise InputError(f'{self._place / names[0]}: the structure is not there any more; run again without --num-relax')

  def _relaxed(self, tag: str, name: str) -> folder.FilesOfRelaxed:
    """What the files of a prediction's relaxation are called; `name` is that of its structure."""
    return folder.names_for(self._job, f'_{tag}', folder.format_of(Path(name)))

  def kept(self, key: str) -> Relaxed | None:
    """What was relaxed before; None if there is nothing of this content."""
    try:
      content = untrusted.from_json((self._store / f'{key}.json').read_text(encoding='utf-8'))
      found = Relaxed(content['text'], content['form'], dict(content['record']))
      return found if found.how else None
    except (OSError, ValueError, KeyError, TypeError):
      return None

  def keep(self, key: str, found: Relaxed) -> None:
    """Keeps a relaxed structure."""
    content = {'text': found.text, 'form': found.form, 'record': dict(found.record)}
    atomic.write_text(atomic.make_folder(self._store) / f'{key}.json', json.dumps(content))

  def put_again(self, tags: Sequence[str]) -> list[str]:
    """Puts what was relaxed of these very predictions where they are now, of several protocols the last.

    Args:
      tags: of the predictions with their ranks, the best first.

    Returns:
      the names of the files; none of those that are in the archive.
    """
    known, names = self._known(), list[str]()
    for tag in tags if known else ():
      try:
        source = self.unrelaxed(tag, is_best=tag == tags[0])
      except InputError:  # no file of its structure is wanted
        continue
      keys = {folder.key_of(source.content, protocol) for protocol in set(known.values())}
      key = next((key for key in known if key in keys), None)
      if key is not None and (found := self.kept(key)) is not None:
        self.put(source, key, found)
        names += () if source.is_packed else source.relaxed
    return names

  def _known(self) -> dict[str, Protocol]:
    """How structures were relaxed, by the keys under which they are kept, the last first."""
    found = {}
    for path in sorted(self._store.glob('*.json'), key=lambda path: path.stat().st_mtime, reverse=True):
      if (one := self.kept(path.stem)) is not None:
        found[path.stem] = protocols.from_json(one.record['protocol'])
    return found

  def put(self, source: Unrelaxed, key: str, found: Relaxed) -> None:
    """Puts a relaxed structure and its record where that of the prediction is, unless they are there."""
    names, how = source.relaxed, {source.relaxed.structure: found.how}
    cited = citations_of_relaxing([found.record['protocol']['name']])
    with contextlib.suppress(OSError):
      os.utime(self._store / f'{key}.json')  # the last of several
    if source.is_packed:
      record = folder.dump(dict(found.record) | {'key': key})
      self._pack({names.structure: found.text, names.record: record}, how, cited)
      return
    if not folder.is_done(self._place, names, key):
      if self._is_in_place:
        Journal(self._journal).add(names)
      folder.save(found, self._place, names, key)
    if (path := self._place / files.file_name('page', self._job)).is_file():
      text = path.read_bytes().decode(**atomic.TEXT)
      if (linking := with_relaxed(text, names, how, cited)) != text:
        atomic.write_text(path, linking)

  def _pack(self, texts: Mapping[str, str], how: Mapping[str, str], cited: str) -> None:
    """Puts texts into the archive, written anew; its page links them, says how they were made and cites that."""
    page = files.file_name('page', self._job)
    with zipfile.ZipFile(self._archive) as old:
      known = set(old.namelist())
      if page in known:
        texts = {**texts, page: with_relaxed(old.read(page).decode(**atomic.TEXT), texts, how, cited)}
      if all(name in known and old.read(name) == text.encode(**atomic.TEXT) for name, text in texts.items()):
        return
      with atomic.replacing(self._archive) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as new:
        for one in old.infolist():
          if one.filename not in texts:
            new.writestr(one, old.read(one), zipfile.ZIP_DEFLATED)
        for name, text in texts.items():
          new.writestr(name, text.encode(**atomic.TEXT))


def write_relax_metrics(out: Path) -> None:
  """Writes relax_metrics.json of all relaxed structures of a folder, those in archives too."""
  folder.write_metrics(out, dict(_packed(out)))


def renew_relax_metrics(out: Path) -> None:
  """Writes relax_metrics.json anew, if there is one: ranks change, and files go, also where nothing is relaxed."""
  if (out / folder.METRICS).exists():
    write_relax_metrics(out)


def _packed(out: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """The records in archives, by the name of the relaxed structure."""
  for path in sorted(out.glob(_ARCHIVE)):
    with contextlib.suppress(OSError, zipfile.BadZipFile, ValueError), zipfile.ZipFile(path) as archive:
      for name in archive.namelist():
        if _NAME.fullmatch(name) and name.endswith('.json'):
          yield folder.structure_of(name), untrusted.from_json(archive.read(name))
