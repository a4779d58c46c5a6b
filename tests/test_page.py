# SPDX-License-Identifier: Apache-2.0
"""Pages of proteins: what is in them is what was predicted, no text of a person is run, and nothing is loaded."""

import base64
import dataclasses
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import small_pages
from small_pages import HOSTILE, NOTE

from alphafold_jax import errors
from alphafold_jax.data.alignment import Alignment
from alphafold_jax.output import files, page
from alphafold_jax.output.page import markup, packing, viewer
from alphafold_jax.output.page.page import MAX_MODELS
from alphafold_jax.output.record import Origin

SCRIPTS = sorted(Path(page.__file__).parent.glob('*.js'))


class Elements(HTMLParser):
  """The elements of a page in order: (tag, attributes, text in it)."""

  def __init__(self, text):
    super().__init__()
    self.found, self.open = [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attributes):
    self.found.append([tag, dict(attributes), ''])
    self.open.append(self.found[-1])

  def handle_endtag(self, tag):
    while self.open and self.open.pop()[0] != tag:
      pass

  def handle_data(self, data):
    if self.open:
      self.open[-1][2] += data

  def of(self, tag):
    return [(attributes, text) for name, attributes, text in self.found if name == tag]

  def with_id(self, wanted):
    return next(text for _, attributes, text in self.found if attributes.get('id') == wanted)


def facts_of(text):
  return json.loads(Elements(text).with_id('facts'))


def unpacked(text, wanted):
  return zlib.decompress(base64.b64decode(Elements(text).with_id(wanted)))


def from_planes(data):
  low, high = np.frombuffer(data, np.uint8).astype(np.uint16).reshape(2, -1)
  return low | high << 8


# ------------------------------------------------------------------------------------------ text


def test_text_of_a_person_is_shown_letter_by_letter_and_never_run():
  report = small_pages.hostile()
  text = page.render(report)
  elements = Elements(text)
  assert {tag for tag, *_ in elements.found} <= {
    *('html', 'head', 'meta', 'title', 'style', 'body', 'a', 'header', 'nav', 'h1', 'h2', 'h3', 'p', 'div', 'noscript'),
    *('main', 'section', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'label', 'input', 'fieldset', 'legend', 'span'),
    *('button', 'img', 'ul', 'li', 'canvas', 'dl', 'dt', 'dd', 'pre', 'details', 'summary', 'footer', 'script'),
    'strong',
  }
  assert elements.of('title')[0][1] == HOSTILE == elements.of('h1')[0][1]
  assert [attributes.get('src') for attributes, _ in elements.of('img')] == [None]
  assert not [name for _, attributes, _ in elements.found for name in attributes if name.startswith('on')]
  assert len(elements.of('script')) == 1 + 1 + 3 + 1  # facts, the code, two models with one PAE, the viewer
  assert facts_of(text)['chains'][0]['name'] == HOSTILE
  addresses = [attributes['href'] for attributes, _ in elements.of('a')]
  assert all(re.fullmatch(r'\./[\w.%~-]+|#main', address) for address in addresses)
  assert './javascript%3Aalert%284%29.pdb' in addresses and './a%23b%3Fc%25d.cif' in addresses


def test_an_overview_shows_names_letter_by_letter():
  row = page.IndexRow('job', HOSTILE, HOSTILE, 5, 1, {'mean_plddt': 50.0}, 'javascript:x.html', HOSTILE)
  text = page.render_index(HOSTILE, [row], [HOSTILE], [HOSTILE])
  elements = Elements(text)
  assert not elements.of('img') and len(elements.of('script')) == 1 and page.OVERVIEW in text
  assert elements.of('a')[0] == ({'href': './javascript%3Ax.html'}, HOSTILE)


def test_scripts_make_no_markup_of_text():
  code = '\n'.join(path.read_text() for path in SCRIPTS)
  assert re.findall(r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function', code) == []


@pytest.mark.parametrize('viewer_name', [None, page.VIEWER])
def test_a_page_may_run_its_own_scripts_only_and_loads_nothing(viewer_name):
  text = page.render(small_pages.of_single(origin=Origin(viewer=viewer_name)))
  elements = Elements(text)
  rules = next(one['content'] for one, _ in elements.of('meta') if one.get('http-equiv') == 'Content-Security-Policy')
  allowed = dict(rule.split(' ', 1) for rule in rules.split('; '))
  assert allowed['default-src'] == "'none'" and 'unsafe' not in rules and 'http' not in rules
  hashed = [markup.digest(code) for attributes, code in elements.of('script') if 'type' not in attributes]
  others = [markup.digest(viewer.code())] if viewer_name is None else ["'self'", 'file:']
  assert allowed['script-src'].split() == [*hashed, *others]
  assert allowed['style-src'] == markup.digest(elements.of('style')[0][1])
  loaded = [
    value for _, attributes, _ in elements.found for name, value in attributes.items() if name in ('src', 'data')
  ]
  assert loaded == [] and not elements.of('link') and not elements.of('iframe')
  assert 'url(' not in markup.style() and '@import' not in markup.style()
  written = '\n'.join(path.read_text() for path in SCRIPTS) + markup.asset('page.html') + markup.asset('page.css')
  assert re.findall(r'https?:|//\w+\.\w+/', written) == []
  assert ('viewer' in {attributes.get('id') for attributes, _ in elements.of('script')}) == (viewer_name is None)


def test_the_viewer_is_the_one_that_its_authors_publish_and_brings_its_licence():
  digest = hashlib.sha256(viewer.code().encode()).hexdigest()
  assert digest == 'f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016'
  assert 'University of Pittsburgh' in page.shared_file() and page.shared_file().endswith(viewer.code())
  assert 'University of Pittsburgh' in page.render(small_pages.of_single()) and page.shared_file().count('*/') >= 1


def test_notes_are_the_first_thing_on_a_page_and_on_the_overview():
  found = [dataclasses.replace(one, notes=(NOTE,)) for one in small_pages.of_single().predictions]
  text = page.render(small_pages.of_single(predictions=found))
  assert text.index(NOTE) < text.index('<main') and text.count(f'<p>{NOTE}</p>') == 1
  assert NOTE in page.render_index('t', [], [NOTE])


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('report', [small_pages.of_single(), small_pages.of_complex()], ids=['single', 'complex'])
def test_packed_atoms_are_those_of_the_prediction(report):
  text = page.render(report)
  facts, placed = facts_of(text), packing.laid_on_best(report.predictions)
  for i, (one, positions) in enumerate(zip(report.predictions, placed)):
    model, data, num_res = facts['models'][i], unpacked(text, f'atoms-{i}'), len(one.aatype)
    kinds = from_planes(data[: 2 * num_res])
    atoms = [(residue, name) for residue, kind in enumerate(kinds) for name in model['patterns'][kind]]
    assert np.array_equal(atoms, np.argwhere(np.asarray(one.atom_mask) > 0.5))
    axes = np.array([from_planes(part) for part in np.split(np.frombuffer(data[2 * num_res :], np.uint8), 3)])
    units = np.cumsum((axes >> 1).astype(np.int64) ^ -(axes & 1).astype(np.int64), axis=1).astype(np.int16)
    expected = positions[tuple(np.transpose(atoms))]
    assert np.abs(units.T * model['step'] - expected).max() <= model['step'] / 2 + 1e-9
    assert np.array_equal(model['plddt'], np.round(np.asarray(one.plddt, np.float64), 2))
  assert facts['numbers'] == (np.asarray(report.best.residue_index) + 1).tolist()


def test_structures_wider_than_16_bits_of_a_hundredth_are_packed_coarser():
  one = small_pages.recorded()
  wide = np.asarray(one.atom_positions, np.float64) * 100
  packed = packing.atoms(one, wide)
  assert packed.step == np.abs(wide[np.asarray(one.atom_mask) > 0.5]).max() / 32767 > packing.FINEST


def test_errors_are_packed_in_eighths_of_an_angstrom():
  values = np.asarray(small_pages.recorded().pae)
  packed = packing.pae(values)
  read = np.cumsum(np.frombuffer(packed.data, np.uint8).reshape(packed.side, -1), axis=0, dtype=np.uint8)
  assert packed.block == 1 and np.abs(read * packing.PAE_STEP - values).max() <= packing.PAE_STEP / 2


def test_many_models_of_a_long_protein_share_a_budget_by_averaging_blocks(monkeypatch):
  monkeypatch.setattr(packing, 'MAX_PAIRS', 50)
  values = np.arange(25.0).reshape(5, 5)
  packed = packing.pae(values, num_models=5)
  read = np.cumsum(np.frombuffer(packed.data, np.uint8).reshape(packed.side, -1), axis=0, dtype=np.uint8)
  assert (packed.side, packed.block) == (3, 2)
  assert np.array_equal(read * packing.PAE_STEP, [[3, 5, 6.5], [13, 15, 16.5], [20.5, 22.5, 24]])


def test_models_lie_on_the_best_one():
  predictions = small_pages.of_single().predictions
  first, second = packing.laid_on_best(predictions)
  there = np.asarray(predictions[0].atom_mask) > 0.5
  assert np.abs(first[there] - second[there]).max() < 1e-3
  spread = first[there].std(axis=0)
  assert spread[0] > spread[1] > spread[2] and np.abs(first[:, 1].mean(axis=0)).max() < 1e-6


def test_the_alignment_keeps_gaps_and_identities():
  report = small_pages.of_single()
  text = page.render(report)
  rows = np.frombuffer(unpacked(text, 'alignment'), np.uint8).reshape(-1, len(report.best.aatype))
  assert (rows[0] == 100).all()
  assert np.count_nonzero(rows == packing.GAP) == np.count_nonzero(report.msa_tokens == 21)
  assert facts_of(text)['alignment']['depth'] == np.count_nonzero(report.msa_tokens != 21, axis=0).tolist()


def test_the_table_of_interfaces_has_the_scores_of_the_record():
  report = small_pages.of_complex()
  models = facts_of(page.render(report))['models']
  rows = {row['pair']: row for row in models[0]['interfaces']}
  assert rows.keys() == report.best.interfaces.keys() and models[1]['interfaces'] == []
  for pair, scores in report.best.interfaces.items():
    assert float(rows[pair]['ipsae']) == round(scores['ipsae'], 3) and rows[pair]['contacts'] == str(scores['contacts'])


def test_a_page_of_200_residues_is_small_beside_the_other_files():
  report = small_pages.of_length(200)
  text = page.render(dataclasses.replace(report, origin=Origin(viewer=page.VIEWER)))
  assert len(text) < 150_000 and len(page.render(report)) - len(text) < 220_000  # the viewer


# ------------------------------------------------------------------------------------------ where they come from


def test_a_page_names_no_more_models_than_it_holds_and_counts_the_others():
  best = small_pages.recorded()
  found = [dataclasses.replace(best, seed=seed) for seed in range(MAX_MODELS + 2)]
  text = page.render(small_pages.of_single(predictions=found, tags=[one.tag for one in found]))
  assert len(facts_of(text)['models']) == MAX_MODELS and '2 further models' in text


def test_what_is_relaxed_later_is_linked_and_said_once_whatever_its_name():
  text, name = page.render(small_pages.of_single()), f'p_{HOSTILE}.pdb'
  assert not [text for _, text in Elements(text).of('h3') if text.startswith('Relax')]
  for how in ('slow <protocol>', 'fast'):
    text = page.with_relaxed(text, [name, 'p.json'], {name: how})
    found = Elements(text)
    assert [text for _, text in found.of('dt')].count(name) == [text for _, text in found.of('a')].count(name) == 1
    assert [text for _, text in found.of('dd')][-1] == how
  assert 'What to cite' in text and 'entries of relaxation' not in text
  for cited in ('@a{one,\n}\n', '@b{two <b>,\n}\n', '@a{one,\n}\n'):  # each work once
    text = page.with_relaxed(text, [name, 'p.json'], {name: how}, cited)
  assert [text.split() for _, text in Elements(text).of('pre')][1] == ['@a{one,', '}', '@b{two', '<b>,', '}']
  assert HOSTILE not in text and page.with_relaxed(text, [name, 'p.json'], {name: how}) == text
  assert page.with_relaxed('a page of an earlier version', [name], {name: how}) == 'a page of an earlier version'


def test_a_prediction_that_is_not_finite_has_no_page():
  bad = np.full(len(small_pages.recorded().plddt), np.nan)
  one = small_pages.recorded()
  with pytest.raises(errors.NumericalError, match='pLDDT is nan'):
    page.render(
      small_pages.of_single(predictions=[dataclasses.replace(one, arrays=one.arrays | {'plddt': bad})], tags=['t'])
    )


def test_predictions_at_hand_become_a_page(tmp_path):
  report = small_pages.of_single()
  tokens = np.asarray(report.msa_tokens)
  alignment = Alignment(('q',) * len(tokens), tokens, np.zeros_like(tokens), report.best.sequence)
  path = page.report(report.predictions[::-1], tmp_path / 'new' / 'p.html', alignment)
  facts = facts_of(path.read_text())
  assert [model['tag'][:8] for model in facts['models']] == ['rank_001', 'rank_002']
  assert facts['models'][0]['mean_plddt'] > facts['models'][1]['mean_plddt'] and facts['alignment']['num_seq'] == 41
  assert page.report(report.best, tmp_path / 'one.html').exists()
  (saved,) = report.best.save(tmp_path, formats=['page'])
  assert saved.name == '6A5J.html'


@pytest.mark.parametrize(
  'predictions, message',
  [
    ([], 'must be from afj.predict'),
    ('p', 'must be from afj.predict'),
    ([small_pages.recorded(), small_pages.recorded('5AWL_1')], 'are of 2 sequences'),
  ],
)
def test_what_is_no_prediction_of_one_protein_is_refused(predictions, message, tmp_path):
  with pytest.raises(errors.InputError, match=message):
    page.report(predictions, tmp_path / 'p.html')


def test_a_page_without_predictions_is_skipped_with_the_reason(tmp_path):
  written = files.write(dataclasses.replace(small_pages.of_single(), predictions=[], tags=[]), tmp_path, ['page'])
  assert written.skipped == {'6A5J.html': 'there is no prediction to show'}
