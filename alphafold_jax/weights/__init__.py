# SPDX-License-Identifier: Apache-2.0
"""Parameters: the published layout in both directions (official.py), the files on this machine (store.py), and those
that ship with the package (shipped.py)."""

from alphafold_jax.weights.official import load_official, save_official

__all__ = ['load_official', 'save_official']
