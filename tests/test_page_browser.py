# SPDX-License-Identifier: Apache-2.0
"""Pages of proteins in a real browser, Debian's Chromium without a screen: shown, clicked, typed at, printed."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import small_pages
from playwright import sync_api
from small_pages import NOTE

from alphafold_jax.output import page
from alphafold_jax.output.record import Origin

CHROMIUM = shutil.which('chromium')
SOFTWARE = ('--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader')  # draws without a graphics card
WITHOUT = ('--disable-gpu', '--disable-3d-apis')
LIMIT = 60_000  # ms
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(CHROMIUM is None, reason='no Chromium: apt-get install chromium'),
]


@pytest.fixture(scope='module')
def launch():
  """Starts the browser with some flags."""
  with sync_api.sync_playwright() as playwright:
    started = []

    def start(*flags):
      started.append(playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', *flags]))
      return started[-1]

    yield start
    for one in started:
      one.close()


@pytest.fixture(scope='module')
def chromium(launch):
  return launch(*SOFTWARE)


class Opened:
  """A page that is open, with all that it asked for and complained of."""

  def __init__(self, started, path: Path, **options):
    self.asked, self.complaints = [], []
    self.context = started.new_context(viewport={'width': 900, 'height': 600}, **options)
    self.tab = self.context.new_page()
    self.tab.set_default_timeout(LIMIT)
    self.tab.on('request', lambda request: self.asked.append(request.url))
    self.tab.on('pageerror', lambda error: self.complaints.append(str(error)))
    self.tab.on('console', lambda said: said.type == 'error' and self.complaints.append(said.text))
    self.tab.goto(path.absolute().as_uri())
    self.tab.wait_for_selector('html[data-ready=yes]')

  def said(self, name):
    return self.tab.text_content(f'#{name}-said')

  def drag(self, start, end):
    """Drags within the PAE, from one place to another as shares of its sides."""
    box = self.tab.locator('#pae').bounding_box()
    side = box['height'] - 54  # what pae.js leaves below and above
    places = [(box['x'] + 58 + x * side, box['y'] + 8 + y * side) for x, y in (start, end)]
    self.tab.mouse.move(*places[0])
    self.tab.mouse.down()
    self.tab.mouse.move(*places[1], steps=4)
    self.tab.mouse.up()

  def seen(self):
    """The structure as it is drawn."""
    return self.tab.locator('#structure canvas').screenshot()

  def close(self):
    self.context.close()
    assert self.complaints == []
    assert all(url.startswith(('file:', 'data:', 'blob:')) for url in self.asked), self.asked


@pytest.fixture
def opened(chromium, tmp_path):
  """Opens the page of a report, and in the end sees that nothing was wrong with it."""
  pages = []

  def open_page(report, **options):
    path = tmp_path / f'{report.job}{len(pages)}.html'
    path.write_text(page.render(report), encoding='utf-8')
    pages.append(Opened(chromium, path, **options))
    return pages[-1]

  yield open_page
  for one in pages:
    one.close()


def test_a_model_is_chosen_and_a_residue_pointed_at(opened):
  found = [dataclasses.replace(one, notes=(NOTE,)) for one in small_pages.of_single().predictions]
  shown = opened(small_pages.of_single(predictions=found))
  assert shown.tab.locator('.notes').text_content() == NOTE and shown.tab.locator('.notes').is_visible()
  first = shown.seen()
  assert 'model_1_ptm, seed 0' in shown.said('structure')
  shown.tab.check('input[name=model][value="1"]')
  shown.tab.wait_for_selector('html[data-model="1"]')
  assert 'seed 1' in shown.said('structure') and shown.seen() != first
  shown.tab.locator('#plddt').hover(position={'x': 60, 'y': 100})
  assert 'pLDDT' in shown.said('plddt') and shown.said('plddt') == shown.said('structure')
  shown.tab.locator('#structure').scroll_into_view_if_needed()
  box = shown.tab.locator('#structure').bounding_box()
  told = set()
  for share in (0.3, 0.4, 0.5, 0.6):
    shown.tab.mouse.move(box['x'] + share * box['width'], box['y'] + box['height'] / 2)
    shown.tab.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))')
    told.add(shown.said('structure'))
  assert len(told) > 1 and all(': pLDDT ' in text for text in told)


def test_a_block_of_the_errors_is_marked_on_the_structure(opened):
  shown = opened(small_pages.of_complex())
  before = shown.seen()
  shown.drag((0.05, 0.5), (0.3, 0.62))
  assert shown.tab.text_content('#block-said').startswith('Block: scored A 5–25, aligned B 12–21; mean ')
  assert shown.seen() != before and shown.tab.is_visible('#chain-legend')
  shown.tab.click('#no-block')
  assert shown.tab.text_content('#block-said') == '' and not shown.tab.is_visible('#chain-legend')
  assert shown.tab.locator('#interfaces tbody tr').count() == 3
  shown.tab.check('input[name=model][value="1"]')
  shown.tab.wait_for_selector('html[data-model="1"]')
  assert shown.tab.locator('#interfaces tbody tr').count() == 0
  shown.drag((0.1, 0.1), (0.3, 0.3))
  assert shown.tab.text_content('#block-said') == ''


def test_the_page_is_worked_by_keyboard(opened):
  shown = opened(small_pages.of_single())
  shown.tab.focus('#plddt')
  shown.tab.keyboard.press('End')  # the first key, when no residue is chosen yet
  assert str(len(small_pages.recorded().plddt)) in shown.said('plddt')
  shown.tab.focus('#pae')
  for key in ('ArrowRight', 'ArrowDown', 'Shift+ArrowRight', 'Shift+ArrowDown'):
    shown.tab.keyboard.press(key)
  assert shown.tab.text_content('#block-said').startswith('Block: scored 2–3, aligned 2–3; mean ')
  shown.tab.keyboard.press('Escape')
  assert shown.tab.text_content('#block-said') == ''
  before = shown.seen()
  shown.tab.focus('#structure')
  shown.tab.keyboard.press('ArrowRight')
  assert shown.seen() != before
  shown.tab.focus('input[name=model]:checked')
  shown.tab.keyboard.press('ArrowDown')
  shown.tab.wait_for_selector('html[data-model="1"]')
  names = shown.tab.eval_on_selector_all(
    'button, input, canvas, [tabindex]',
    'all => all.map((one) => one.getAttribute("aria-label") ?? one.closest("label")?.textContent ?? one.textContent)',
  )
  assert all(name.strip() for name in names)


def test_shapes_and_colours_are_chosen(opened):
  shown = opened(small_pages.of_complex())
  drawn = [shown.seen()]
  for choice in ('colours][value=chain', 'shape][value=surface'):
    shown.tab.locator(f'input[name={choice}]').check(force=True)
    sync_api.expect(shown.tab.locator('#structure-said')).not_to_contain_text('computed', timeout=LIMIT)
    drawn.append(shown.seen())
  assert len(set(drawn)) == 3 and shown.tab.text_content('#chain-legend') == 'ABC'
  with shown.tab.expect_download() as download:
    shown.tab.click('#picture')
  assert download.value.suggested_filename.endswith('.png')


def test_dark_narrow_and_printed(opened):
  shown = opened(small_pages.of_complex(), color_scheme='dark')
  background = 'getComputedStyle(document.body).backgroundColor'
  dark = shown.tab.evaluate(background)
  shown.tab.emulate_media(color_scheme='light')
  assert shown.tab.evaluate(background) != dark
  shown.tab.set_viewport_size({'width': 360, 'height': 740})
  sync_api.expect(shown.tab.locator('#pae')).to_have_css('width', re.compile(r'(2\d|3[0-5])\d(\.\d+)?px'))
  assert shown.tab.evaluate('document.documentElement.scrollWidth') <= 360
  assert shown.tab.pdf().startswith(b'%PDF')


def test_hostile_text_is_shown_and_runs_nothing(opened):
  shown = opened(small_pages.hostile())
  assert shown.tab.text_content('h1') == small_pages.HOSTILE == shown.tab.title()
  assert shown.tab.locator('body img').count() == 1  # the place of what is printed


def test_without_webgl_a_message_stands_in_place_of_the_structure(launch, tmp_path):
  path = tmp_path / 'p.html'
  path.write_text(page.render(small_pages.of_single()), encoding='utf-8')
  shown = Opened(launch(*WITHOUT), path)
  assert 'no WebGL' in shown.tab.text_content('#structure')
  shown.drag((0.1, 0.1), (0.5, 0.5))
  assert shown.tab.text_content('#block-said').startswith('Block: ')
  shown.close()


def test_many_pages_share_a_viewer_that_lies_beside_them(chromium, tmp_path):
  report = small_pages.of_single(origin=Origin(viewer=page.VIEWER))
  path = tmp_path / 'p.html'
  path.write_text(page.render(report), encoding='utf-8')
  alone = Opened(chromium, path)
  assert '3Dmol-min.js is not beside this page' in alone.tab.text_content('#structure')
  alone.context.close()
  (tmp_path / page.VIEWER).write_text(page.shared_file(), encoding='utf-8')
  shown = Opened(chromium, path)
  assert shown.tab.locator('#structure canvas').count() == 1
  shown.close()


def test_the_overview_is_searched_and_sorted(chromium, tmp_path):
  rows = [page.IndexRow(f'p{i}', f'protein {i}', 'done', 10 * i, 1, {'mean_plddt': 50.0 + i}) for i in range(12)]
  path = tmp_path / 'index.html'
  path.write_text(page.render_index('run', rows), encoding='utf-8')
  tab = chromium.new_page()
  tab.goto(path.as_uri())
  tab.fill('#sought', 'protein 1')
  assert tab.text_content('#found') == '3 of 12' and tab.locator('tbody tr:visible').count() == 3
  tab.fill('#sought', '')
  tab.click('thead button:has-text("pLDDT")')
  assert tab.locator('tbody tr').first.locator('td').first.text_content() == 'protein 11'
  tab.click('thead button:has-text("pLDDT")')
  assert tab.locator('tbody tr').first.locator('td').first.text_content() == 'protein 0'
  tab.close()


def test_the_overview_shows_the_whole_reason_of_a_failure(chromium, tmp_path):
  path = tmp_path / 'index.html'
  reason = f'InputError: {"/folder" * 20}/bad.a3m, line 3: ' + 'expected 24 columns; ' * 12
  done = page.IndexRow('ok', 'ok', 'already done', 24, 1, {'mean_plddt': 42.84, 'ptm': 0.15})
  path.write_text(page.render_index('run', [done, page.IndexRow('bad', 'bad', 'failed', remark=reason)]))
  tab = chromium.new_page(viewport={'width': 1000, 'height': 700})
  tab.goto(path.as_uri())
  assert tab.evaluate("[...document.querySelectorAll('.scrolling')].every(one => one.scrollWidth <= one.clientWidth)")
  assert tab.locator('tbody tr').first.bounding_box()['height'] < 40  # numbers and words stay on their line
  tab.close()
