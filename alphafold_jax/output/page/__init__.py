# SPDX-License-Identifier: Apache-2.0
"""One HTML file of a protein, to be looked at without network or program; and the overview of many.

page      the page: a template filled with all that is text
facts     what its scripts are given, with packing: coordinates, PAE and alignment as compressed bytes
overview  index.html, a table of all proteins of a run
alone     the page of predictions at hand, without a run
markup    text as HTML, safe whatever it says; scripts and styles
viewer    3Dmol.js, which shows structures

What is drawn is drawn by the scripts beside them, each of one part of the page. A page loads nothing from elsewhere.
"""

from alphafold_jax.output.page.alone import report
from alphafold_jax.output.page.overview import INDEX, OVERVIEW, IndexRow, render_index
from alphafold_jax.output.page.page import render, with_relaxed
from alphafold_jax.output.page.viewer import VIEWER, shared_file

__all__ = [
  'INDEX', 'OVERVIEW', 'VIEWER', 'IndexRow', 'render', 'render_index', 'report', 'shared_file', 'with_relaxed',
]  # fmt: skip
