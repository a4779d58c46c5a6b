# SPDX-License-Identifier: Apache-2.0
"""
How much do seeds differ?
=========================

Which rows of the alignment a pass sees is drawn at random, so each seed gives another structure. Where they agree the prediction is firm, where
they do not it is not, whatever pLDDT says. Look at this before you believe a small difference, such as that of a mutant.
"""

import pathlib

import matplotlib.pyplot as plt import numpy as np

import alphafold_jax as afj from alphafold_jax.constants import residues from alphafold_jax.geometry
import lddt

ROOT = pathlib.Path('../..')  CA = residues.ATOM_INDEX['CA']

model = afj.load_model('mini') (query,) = afj.read_queries(ROOT / 'examples/4zey_A.a3m') predictions =
[afj.predict(model, query, seed=seed) for seed in range(4)] for one in predictions:
  print(f'seed {one.seed}: mean pLDDT {one.mean_plddt:.1f}')

