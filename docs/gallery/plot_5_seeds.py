# SPDX-License-Identifier: Apache-2.0
"""
How much do seeds differ?
=========================

Which rows of the alignment a pass sees is drawn at random, so each seed gives another structure. Where they agree the
prediction is firm, where they do not it is not, whatever pLDDT says. Look at this before you believe a small
difference, such as that of a mutant.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np

import alphafold_jax as afj
from alphafold_jax.constants import residues
from alphafold_jax.geometry import lddt

ROOT = pathlib.Path('../..')
CA = residues.ATOM_INDEX['CA']

model = afj.load_model('mini')
(query,) = afj.read_queries(ROOT / 'examples/4zey_A.a3m')
predictions = [afj.predict(model, query, seed=seed) for seed in range(4)]
for one in predictions:
  print(f'seed {one.seed}: mean pLDDT {one.mean_plddt:.1f}')

# %%
# lDDT between each two seeds, residue by residue, needs no superposition; 1 is full agreement.
traces = [one.atom_positions[:, CA] for one in predictions]
everywhere = np.ones(len(traces[0]))
agreement = np.mean(
  [lddt.lddt_ca(one, other, everywhere) for i, one in enumerate(traces) for j, other in enumerate(traces) if i != j],
  axis=0,
)
figure, axis = plt.subplots(figsize=(8, 3.5), layout='constrained')
number = np.arange(1, len(agreement) + 1)
for one in predictions:
  axis.plot(number, one.plddt, color='#9aa5b1', lw=1, label='pLDDT of each seed' if one.seed == 0 else None)
axis.plot(number, 100 * agreement, color='crimson', label='agreement of the seeds (lDDT-Cα)')
axis.set(xlim=(1, len(number)), ylim=(0, 100), xlabel='residue', ylabel='0 to 100')
axis.legend(loc='lower right')
plt.show()
