# SPDX-License-Identifier: Apache-2.0
"""What a pass of a model costs, from its configuration alone. Loads without JAX."""

from collections.abc import Mapping
from typing import Any


def operations(config: Mapping[str, Any], num_res: int, depth: int | None = None) -> float:
  """Floating-point operations of a pass at a padded length, roughly: products of the stacks that every pass runs.

  The terms are those of Suppl. Algorithms 6 and 18 at their usual shapes: four projections in and one out per
  attention, transitions of four times the width, and the cube of the length in triangles.

  Args:
    config: of a model.
    num_res: padded residues.
    depth: rows of the alignment; None: as many as a pass takes.
  """
  n, z = num_res, config['embedder']['c_z']
  pair = 60 * n**2 * z**2 + 12 * n**3 * z
  total = 0.0
  left = config['sampling']['num_msa'] + config['sampling']['num_extra'] if depth is None else depth
  for stack, rows, width in (('evoformer', 'num_msa', 'c_m'), ('extra_msa', 'num_extra', 'c_extra')):
    s, c, outer = min(left, config['sampling'][rows]), config['embedder'][width], config[stack]['c_outer']
    left -= s
    column = s if config[stack]['column_attention'] == 'full' else 0  # global attention has no pairs of rows
    alignment = 36 * s * n * c**2 + 4 * s * n * (n + column) * c + 2 * outer**2 * (s + z) * n**2
    total += config[stack]['num_block'] * config['num_ensemble'] * (alignment + pair)
  templates = config['templates']
  if templates is not None and templates.get('aggregation') == 'mean':  # else embedded once
    c = templates['c_t']
    total += config['num_ensemble'] * templates['num_block'] * (60 * n**2 * c**2 + 12 * n**3 * c)  # an empty slot
  return total
