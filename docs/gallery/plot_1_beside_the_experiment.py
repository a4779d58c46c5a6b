# SPDX-License-Identifier: Apache-2.0
"""
A prediction beside the experiment
==================================

An alignment becomes a structure with the small model that ships. The crystal structure of the protein is known (PDB
entry 4ZEY), so both are laid on each other, scored, and drawn from one side.
"""

# %%
# Read the alignment, and predict. ``'mini'`` needs no download; with published parameters say ``'model_1_ptm'``.
import pathlib

import matplotlib.pyplot as plt
import numpy as np

import alphafold_jax as afj
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment, structures
from alphafold_jax.geometry import lddt, superposition, tm_score
from alphafold_jax.output import cartoon

ROOT = pathlib.Path('../..')  # the clone, as seen from docs/gallery
CA = residues.ATOM_INDEX['CA']

model = afj.load_model('mini')
(query,) = afj.read_queries(ROOT / 'examples/4zey_A.a3m')
prediction = afj.predict(model, query)
print(prediction)
print(f'mean pLDDT {prediction.mean_plddt:.1f}, pTM {prediction.ptm:.2f}')

# %%
# The experiment. Its residues are found by aligning the sequences, whatever their numbers are; some were not observed.
true = structures.read_chain(ROOT / 'tests/data/4zey.cif.gz', 'A')
aligned = alignment.align(prediction.sequence, true.sequence)
mine, theirs = np.array([pair for pair in aligned.items() if true.atom_mask[pair[1], CA]]).T

# %%
# Scores, and the superposition that brings the Cα atoms nearest to each other.
predicted_ca, true_ca = prediction.atom_positions[mine, CA], true.atom_positions[theirs, CA]
everywhere = np.ones(len(mine))
local = lddt.lddt_ca(predicted_ca, true_ca, everywhere)
rotation, shift = superposition.kabsch(predicted_ca, true_ca)
placed = prediction.atom_positions @ rotation.T + shift
print(f'lDDT-Cα {local.mean():.2f}, TM-score {tm_score.tm_score(predicted_ca, true_ca, everywhere):.2f}')

# %%
# Both as cartoons: the experiment blue to red along the chain, the prediction in the four bands of confidence.
seen = true.atom_mask[:, CA] > 0
view = cartoon.principal_view(true.atom_positions[seen, CA], placed[:, CA])
pictures = {
  'experiment (4ZEY)': cartoon.draw(true.atom_positions, true.atom_mask, cartoon.spectrum(len(seen)), view),
  'mini, by pLDDT': cartoon.draw(placed, prediction.atom_mask, cartoon.confidence(prediction.plddt), view),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
for axis, (title, picture) in zip(axes, pictures.items()):
  axis.imshow(picture)
  axis.set_title(title)
  axis.axis('off')
plt.show()
