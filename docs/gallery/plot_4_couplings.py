# SPDX-License-Identifier: Apache-2.0
"""
Contacts from an alignment alone
================================

Before there were networks, contacts were read from which residues of a family changed together. Here are the strongest
couplings of the example's alignment beside the contacts of the crystal structure. With 128 rows much of it is noise;
hundreds of different rows are needed.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np

import alphafold_jax as afj
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment, structures

ROOT = pathlib.Path('../..')
CA, CB = residues.ATOM_INDEX['CA'], residues.ATOM_INDEX['CB']

(query,) = afj.read_queries(ROOT / 'examples/4zey_A.a3m')
rows = query.load_alignment()
found = afj.coevolution.couplings(rows.tokens)
print(f'{found.num_rows} rows, which count as {found.neff:.0f}')

# %%
# The contacts of the crystal: Cβ atoms (Cα of glycine) within 8 Å.
true = structures.read_chain(ROOT / 'tests/data/4zey.cif.gz', 'A')
beta = np.where(true.atom_mask[:, CB, None] > 0, true.atom_positions[:, CB], true.atom_positions[:, CA])
positions, known = np.zeros((len(query.sequence), 3)), np.zeros(len(query.sequence))
for mine, its in alignment.align(query.sequence, true.sequence).items():
  positions[mine], known[mine] = beta[its], true.atom_mask[its, CA]
precision = afj.coevolution.contact_precision(found.scores, positions, known)
print(f'of the strongest fifth as many pairs as residues {precision:.0%} are contacts')

# %%
# Below the diagonal the crystal, above it the couplings, 2 of each residue.
distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
contacts = (distances < 8) & (known[:, None] * known[None] > 0)
apart = np.abs(np.subtract.outer(np.arange(len(known)), np.arange(len(known)))) >= 6
limit = np.sort(found.scores[np.triu(apart)])[-2 * len(known)]
figure, axis = plt.subplots(figsize=(5.5, 5.8), layout='constrained')
axis.scatter(*np.nonzero(np.tril(contacts & apart))[::-1], s=8, color='#9aa5b1', label='contact in the crystal')
axis.scatter(*np.nonzero(np.triu((found.scores >= limit) & apart))[::-1], s=8, color='#0053D6', label='coupled')
axis.set(xlim=(0, len(known)), ylim=(len(known), 0), xlabel='residue', ylabel='residue', aspect='equal')
figure.legend(loc='outside lower center', ncols=2)
plt.show()
