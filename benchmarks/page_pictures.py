# SPDX-License-Identifier: Apache-2.0
"""Takes the pictures of pages that docs/report.md shows, in Chromium without a screen.

  alphafold-jax predict examples predictions --num-seeds 2
  alphafold-jax predict examples/complex predictions --num-recycle 1
  python benchmarks/page_pictures.py predictions

Writes docs/images/page_desktop.png, page_dark.png, page_narrow.png and page_complex.png.
"""

import argparse
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import turns
from PIL import Image
from playwright import sync_api

_SOFTWARE = ('--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader')
_COLOURS = 256
_LEFT, _ABOVE, _MARGINS = 58, 8, 54  # pixels that pae.js leaves around its square: left, above, above and below
Place = tuple[float, float]  # scored and aligned residue, as shares of all


class Shot(NamedTuple):
  """One picture of a page."""

  job: str
  width: int  # pixels
  height: int
  block: tuple[Place, Place] | None = None  # of the aligned errors, that is marked
  options: Mapping[str, Any] = {}  # of the browser


SHOTS = {
  'page_desktop': Shot('4zey_A', 1280, 1010, ((0.1, 0.55), (0.4, 0.85))),
  'page_dark': Shot('4zey_A', 1280, 1010, options={'color_scheme': 'dark'}),
  'page_narrow': Shot('4zey_A', 390, 1560),
  'page_complex': Shot('haemoglobin', 1280, 1130, ((0.05, 0.3), (0.2, 0.45))),
}


def take(browser: sync_api.Browser, folder: Path, shot: Shot) -> Image.Image:
  """Opens a page, marks a block and takes the picture."""
  size: Any = {'width': shot.width, 'height': shot.height}
  tab = browser.new_page(viewport=size, **shot.options)
  tab.goto((folder / f'{shot.job}.html').absolute().as_uri())
  tab.wait_for_selector('html[data-ready=yes]')
  if shot.block is not None:
    box = tab.locator('#pae').bounding_box()
    assert box is not None  # the page is shown
    side = box['height'] - _MARGINS
    start, end = ((box['x'] + _LEFT + x * side, box['y'] + _ABOVE + y * side) for x, y in shot.block)
    tab.mouse.move(*start)
    tab.mouse.down()
    tab.mouse.move(*end, steps=4)
    tab.mouse.up()
  picture = Image.open(io.BytesIO(tab.screenshot())).convert('RGB')
  tab.close()
  return picture.quantize(_COLOURS)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('predictions', type=Path, metavar='DIR', help='what `alphafold-jax predict` wrote')
  parser.add_argument(
    '--out', type=Path, metavar='DIR', default=turns.ROOT / 'docs' / 'images', help='default: %(default)s'
  )
  given = parser.parse_args()
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=_SOFTWARE)
    for name, shot in SHOTS.items():
      if (given.predictions / f'{shot.job}.html').exists():
        take(browser, given.predictions, shot).save(given.out / f'{name}.png', optimize=True)
        print(given.out / f'{name}.png', flush=True)
      else:
        print(f'{given.predictions}: no {shot.job}.html, so no {name}.png', flush=True)
    browser.close()


if __name__ == '__main__':
  main()
