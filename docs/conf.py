# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes the site of the Markdown pages here, the gallery's scripts and the docstrings.

    pip install '.[docs]' && sphinx-build -W docs docs/_build

Pages of the repository's root are shown as they are, with their links turned to where they lead on the site.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from alphafold_jax.version import __version__

ROOT = Path(__file__).parents[1]
SHOWN = {  # page of the site -> the file that it shows
  'changelog': 'CHANGELOG.md',
  'contributing': 'CONTRIBUTING.md',
  'examples': 'examples/README.md',
  'readme': 'README.md',
  'searching': 'docs/search.md',  # Sphinx has a page `search` of its own
}
os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # the gallery's pictures are of small things

project = 'alphafold_jax'
copyright = 'the alphafold_jax authors, Apache-2.0'
release = version = __version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_gallery.gen_gallery']
exclude_patterns = ['_build', 'gallery', 'search.md']

myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence', 'deflist']

autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
default_role = 'code'  # docstrings put names into single backticks
napoleon_numpy_docstring = False

html_theme = 'sphinx_book_theme'
html_title = f'alphafold_jax {__version__}'
html_static_path = ['static']
html_css_files = ['site.css']
html_theme_options = {
  'home_page_in_toc': False,
  'show_toc_level': 2,
  'use_download_button': False,
  'use_fullscreen_button': False,
}
html_copy_source = False

sphinx_gallery_conf = {
  'examples_dirs': 'gallery',
  'gallery_dirs': 'pictures',
  'within_subsection_order': 'FileNameSortKey',
  'abort_on_example_error': True,
  'download_all_examples': False,
  'show_memory': False,
  'show_signature': False,
  'min_reported_time': 600,
  'reset_modules': ('matplotlib',),
}


def setup(app: Any) -> None:
  app.connect('source-read', show_files)
  app.connect('autodoc-process-docstring', keep_tables)


def show_files(app: Any, page: str, source: list[str]) -> None:
  """Fills a page with a file from elsewhere in the repository, before it is read, and turns links to search.md."""
  source[0] = re.sub(r'\]\(((?:\.\./)*)search\.md', r'](\1searching.md', source[0])
  if name := SHOWN.get(page):
    text = (ROOT / name).read_text(encoding='utf-8')
    folder = posixpath.dirname(name)
    source[0] = re.sub(r'(!?)\[([^][]*)\]\((?!https?:|#)([^)\s]+)\)', lambda link: turned(link, folder), text)


def turned(link: re.Match[str], folder: str) -> str:
  """A link of a page of the root as it leads from the site; a folder, which has no page, is only named."""
  mark, text, target = link.groups()
  path, _, anchor = target.partition('#')
  path = posixpath.normpath(posixpath.join(folder, path))
  if (ROOT / path).is_dir():
    return text
  pages = {file: f'{page}.md' for page, file in SHOWN.items()}
  leads = pages.get(path) or posixpath.relpath(path, 'docs')
  return f'{mark}[{text}]({leads}{anchor and f"#{anchor}"})'


def keep_tables(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
  """Shows the lists of the parts of a package, `name  what it is`, with their lines as they stand."""
  row = re.compile(r'\S+(?:, \S+)* {2,}\S')
  is_row = [bool(row.match(line)) for line in lines]
  if what != 'module' or not any(is_row):
    return
  first, last = is_row.index(True), len(is_row) - 1 - is_row[::-1].index(True)
  lines[first : last + 1] = ['.. code-block:: text', '', *(f'  {line}' for line in lines[first : last + 1]), '']
