# SPDX-License-Identifier: Apache-2.0
"""Cartoons of protein chains, from coordinates to a picture.

secondary_structure  helices and strands
ribbon               the surface around the chain
rendering            the surface as a picture
colours              colours of residues

  view = principal_view(positions[:, 1])  # by the CA atoms
  draw(positions, mask, spectrum(len(positions)), view).save('chain.png')
"""

import numpy as np
from PIL import Image

from alphafold_jax.output.cartoon import rendering, ribbon
from alphafold_jax.output.cartoon.colours import confidence, spectrum
from alphafold_jax.output.cartoon.rendering import View, principal_view

__all__ = ['View', 'confidence', 'draw', 'principal_view', 'spectrum']


def draw(
  atom_positions: np.ndarray,
  atom_mask: np.ndarray,
  colours: np.ndarray,
  view: View,
  pixels_per_angstrom: float = 16.0,
) -> Image.Image:
  """Draws helices as ribbons, strands as arrows and loops as tubes, on white.

  The chain is broken where CA atoms are missing or further apart than 4.5 Å.

  Args:
    atom_positions: [N, 37, 3] Å.
    atom_mask: [N, 37]; helices and strands need N, CA, C and O.
    colours: [N, 3], 0..255, such as from `spectrum` or `confidence`.
    view: from `principal_view`; structures drawn in one view can be compared.
    pixels_per_angstrom: the scale.
  """
  return rendering.render(ribbon.surface(atom_positions, atom_mask), colours, view, pixels_per_angstrom)
