# SPDX-License-Identifier: Apache-2.0
"""The page of a protein: what is known of its predictions, in one HTML file that needs nothing else."""

import dataclasses
import html
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax.errors import InputError
from alphafold_jax.output import alignment_rows, record
from alphafold_jax.output.page import markup, viewer
from alphafold_jax.output.page.facts import gathered
from alphafold_jax.output.page.markup import escaped, linked
from alphafold_jax.output.plots import MAX_PAE, PLDDT_BANDS, chain_lengths
from alphafold_jax.output.record import Origin, PredictionRecord, Report
from alphafold_jax.version import __version__

MAX_MODELS = 25  # of a page; further ones are counted
_MAX_CHAINS = 12  # that are named above
_SCRIPTS = ('packed.js', 'drawing.js', 'structure.js', 'pae.js', 'plddt.js', 'coverage.js', 'interfaces.js', 'page.js')
_HIDDEN = 'hidden'  # of a section that has nothing to show
_KINDS = {  # of files, by suffix
  'Structures': ('.pdb', '.cif', '.bcif', '.fcz'),
  'Scores and arrays': ('.json', '.npz', '.npy'),
  'Alignment': ('.a3m', '.fasta', '.sto'),
  'Pictures': ('.png', '.svg', '.pdf'),
  'Scripts for viewers': ('.cxc', '.pml'),
}
_LATER = re.compile(
  r'<!-- (relaxed|relaxation|cited) -->(.*?)<!-- end of \1 -->', re.DOTALL
)  # people's texts have none
_OTHERS, _OF_RUN = 'Others', 'Of the whole run'


def render(report: Report) -> str:
  """The page of a protein as HTML; what it says of the run is in `report.origin`.

  Raises:
    InputError: there is no prediction.
    NumericalError: a prediction holds NaN or infinity.
  """
  if not report.predictions:
    raise InputError('there is no prediction to show')
  shown = dataclasses.replace(report, predictions=report.predictions[:MAX_MODELS], tags=report.tags[:MAX_MODELS])
  for prediction in shown.predictions:
    record.check_finite(prediction)
  facts, packed = gathered(shown)
  best, origin, script = report.best, report.origin, markup.script(*_SCRIPTS)
  viewer_from = ["'self'", 'file:'] if origin.viewer else [markup.digest(viewer.code())]
  files, alignment = _files(report.files, origin), _depth(report.msa_tokens)
  has_interfaces = any(model['interfaces'] for model in facts['models'])
  return markup.document(
    'page.html',
    policy=markup.policy([markup.digest(script), *viewer_from], img_src='data: blob:', worker_src='blob:'),
    title=escaped(best.name),
    up=linked(origin.overview, 'All proteins of this run') if origin.overview else '',
    notes=markup.notes(dict.fromkeys(note for one in report.predictions for note in one.notes)),
    summary=escaped(_summary(best)),
    models=_models(shown.predictions),
    more=_more(len(report.predictions)),
    bands=_bands(),
    max_pae=str(MAX_PAE),
    interfaces_hidden='' if has_interfaces else _HIDDEN,
    alignment=escaped(alignment),
    alignment_hidden='' if alignment else _HIDDEN,
    files=files,
    files_hidden='' if files else _HIDDEN,
    origin=_origin(origin),
    citations=escaped(origin.citations),
    citations_hidden='' if origin.citations else _HIDDEN,
    viewer=f'3Dmol.js {viewer.VERSION}',
    viewer_licence=escaped(viewer.licence()),
    facts=markup.as_json(facts),
    packed=''.join(f'<script type="text/plain" id="{name}">{text}</script>\n' for name, text in packed.items()),
    script=script,
  )


def with_relaxed(text: str, names: Iterable[str], how: Mapping[str, str], cited: str = '') -> str:
  """A page that links relaxed structures and their records too, which are made after it, and says how they were made.

  Args:
    text: the page; one without places for them, of an earlier version, stays as it is.
    names: of the files, beside the page.
    how: each structure was relaxed, by its name.
    cited: the works behind that, as BibTeX; each is given once.
  """

  def links(there: str) -> str:
    return markup.items(sorted({*re.findall('<li>(.*?)</li>', there), *map(linked, names)}), 'files')

  def terms(there: str) -> str:
    known = {html.unescape(name): html.unescape(said) for name, said in markup.TERM.findall(there)}
    return markup.terms(dict(sorted({**known, **how}.items())))

  def works(there: str) -> str:
    known = html.unescape(''.join(re.findall('<pre[^>]*>(.*?)</pre>', there, re.DOTALL)))
    entries = dict.fromkeys(re.findall(r'^@.*?^\}$', f'{known}\n{cited}', re.MULTILINE | re.DOTALL))
    joined = '\n\n'.join(entries)
    return f'<pre tabindex="0" aria-label="BibTeX entries of relaxation">{escaped(joined)}\n</pre>'

  def filled(place: re.Match[str]) -> str:
    if place[1] == 'cited':
      return f'<!-- cited -->{works(place[2]) if cited else place[2]}<!-- end of cited -->'
    heading, part = {'relaxed': ('Relaxed', links), 'relaxation': ('Relaxation', terms)}[place[1]]
    return f'<!-- {place[1]} --><h3>{heading}</h3>{part(place[2])}<!-- end of {place[1]} -->'

  return _LATER.sub(filled, text)


def _summary(best: PredictionRecord) -> str:
  """'146 residues', or '287 residues in 2 chains: A (141), B (146)'."""
  lengths = chain_lengths(best)
  if len(lengths) == 1:
    return _number(lengths[0], 'residue')
  named = [f'{name} ({length:,})' for name, length in zip(best.chains, lengths, strict=True)]
  more = f' and {len(named) - _MAX_CHAINS} more' if len(named) > _MAX_CHAINS else ''
  return f'{_number(sum(lengths), "residue")} in {len(lengths)} chains: {", ".join(named[:_MAX_CHAINS])}{more}'


def _number(count: int, what: str) -> str:
  return f'{count:,} {what}{"" if count == 1 else "s"}'


def _models(predictions: Sequence[PredictionRecord]) -> str:
  """The table of the predictions, one of which is chosen."""
  has_iptm = any(one.iptm is not None for one in predictions)
  rows = []
  for i, one in enumerate(predictions):
    chosen = ' checked' if i == 0 else ''
    button = f'<label><input type="radio" name="model" value="{i}"{chosen}> {i + 1}</label>'
    scores = [f'{one.mean_plddt:.1f}', _score(one.ptm), *([_score(one.iptm)] if has_iptm else [])]
    rows.append([button, escaped(one.model_name), str(one.seed), *scores, str(max(0, len(one.passes) - 1))])
  heading = ('Rank', 'Model', 'Seed', 'pLDDT', 'pTM', *(['ipTM'] if has_iptm else []), 'Recycles')
  return markup.table('Models, the best first', heading, rows, 'models')


def _score(value: float | None) -> str:
  return '–' if value is None else f'{value:.2f}'


def _more(count: int) -> str:
  """What is said of predictions that are left out."""
  hidden = count - MAX_MODELS
  return f'<p>{_number(hidden, "further model")}, ranked below these, are in the files alone.</p>' if hidden > 0 else ''


def _bands() -> str:
  """The legend of the bands of confidence."""
  ranges = [f'{low} or more' if high == 100 else f'{low} to {high}' for low, high, _, _ in PLDDT_BANDS]
  names = [name for *_, name in PLDDT_BANDS]
  swatches = [f'<span class="swatch band-{i}"></span>{name} ({ranges[i]})' for i, name in enumerate(names)]
  return markup.items(swatches, 'legend')


def _depth(tokens: Any) -> str:
  """The alignment [N_seq, N_res] in a sentence; '' without one."""
  if tokens is None:
    return ''
  if len(tokens) == 1:
    return 'The sequence alone: no homologues were given.'
  depth = alignment_rows.covered(np.asarray(tokens))
  covered = (
    f'a position is covered by {depth.min():,} to {depth.max():,} of them, the median is {np.median(depth):,.0f}'
  )
  return f'{_number(len(tokens), "sequence")}, the query included; {covered}.'


def _files(paths: Sequence[Path], origin: Origin) -> str:
  """Links to the files of the protein, those of a kind together, and to those of the run."""
  of_kind: dict[str, list[str]] = defaultdict(list)
  for path in sorted(paths, key=lambda path: path.name):
    of_kind[next((kind for kind, suffixes in _KINDS.items() if path.suffix in suffixes), _OTHERS)].append(path.name)
  of_kind[_OF_RUN].extend(origin.beside)
  lists = [(kind, of_kind[kind]) for kind in (*_KINDS, _OTHERS, _OF_RUN) if of_kind.get(kind)]
  return ''.join(f'<h3>{kind}</h3>{markup.items(map(linked, names), "files")}' for kind, names in lists)


def _origin(origin: Origin) -> str:
  """Settings and versions."""
  parts = {'Settings': origin.settings, 'Versions': origin.versions or {'alphafold_jax': __version__}}
  return ''.join(f'<h3>{title}</h3>{markup.terms(pairs)}' for title, pairs in parts.items() if pairs)
