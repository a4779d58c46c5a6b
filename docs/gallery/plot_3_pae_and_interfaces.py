# SPDX-License-Identifier: Apache-2.0
"""
PAE and interfaces
==================

PAE is the model's estimate of the aligned error: lay the prediction on the truth at residue i, and measure how far off
residue j is. Where the truth is known the error itself can be computed, for any model by any program.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np

import alphafold_jax as afj
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment, structures
from alphafold_jax.geometry import rigid
from alphafold_jax.interfaces.layout import ChainLayout
from alphafold_jax.interfaces.pairs import chain_pairs

ROOT = pathlib.Path('../..')
N, CA, C = (residues.ATOM_INDEX[atom] for atom in ('N', 'CA', 'C'))


def aligned_errors(predicted, true):
  """The error of residue j, laid on each other at i [N_res, N_res] Å, of atoms [N_res, 37, 3] of the same residues."""

  def local(atoms):  # of every CA atom in the frame of every residue
    frames = rigid.from_three_points(atoms[:, N], atoms[:, CA], atoms[:, C])
    return np.asarray(frames[:, None].invert_apply(atoms[None, :, CA]))

  return np.linalg.norm(local(predicted) - local(true), axis=-1)


def common(prediction, sequence, experiment):
  """Atoms of the residues that both have, of the prediction and of the experiment."""
  aligned = alignment.align(sequence, experiment.sequence)
  mine, theirs = np.array([pair for pair in aligned.items() if experiment.atom_mask[pair[1], CA]]).T
  return prediction[mine], experiment.atom_positions[theirs]


# %%
# What the small model expects of its own prediction, and what is true.
prediction = afj.predict(afj.load_model('mini'), afj.read_queries(ROOT / 'examples/4zey_A.a3m')[0])
crystal = structures.read_chain(ROOT / 'tests/data/4zey.cif.gz', 'A')
of_mini = aligned_errors(*common(prediction.atom_positions, prediction.sequence, crystal))

# %%
# A docked model of a complex of three chains (1A2K). ``compare`` says which chain stands for which, and scores the
# interfaces.
folder = ROOT / 'tests/data/complexes'
compared = afj.evaluation.compare(folder / '1A2K_model.pdb.gz', folder / '1A2K.pdb.gz').complex
models, references = (structures.read_chains(folder / name) for name in ('1A2K_model.pdb.gz', '1A2K.pdb.gz'))
pairs = [
  common(models[mine].atom_positions, models[mine].sequence, references[its])
  for its, mine in sorted(compared.partners.items())
]
predicted, true = (np.concatenate(part) for part in zip(*pairs))
lengths = [len(part[0]) for part in pairs]
of_complex = aligned_errors(predicted, true)

# %%
# Dark is sure, or right; white is a guess, or wrong.
panels = {
  '4ZEY, expected by the small model': prediction.pae,
  '4ZEY, true error of the same': of_mini,
  '1A2K, true error of a docked model': of_complex,
}
figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout='constrained')
for axis, (title, errors) in zip(axes, panels.items()):
  image = axis.imshow(errors, cmap='Greens_r', vmin=0, vmax=30)
  axis.set_title(title, fontsize=10)
  axis.set(xlabel='scored residue', ylabel='aligned residue')
for border in np.cumsum(lengths)[:-1]:
  axes[2].axhline(border, color='black', lw=0.8)
  axes[2].axvline(border, color='black', lw=0.8)
figure.colorbar(image, ax=axes, label='error, Å', shrink=0.8)
plt.show()

# %%
# ipSAE is computed from PAE. If a model knew the true errors, it would say this of each pair of chains; DockQ is what
# the experiment says.
layout = ChainLayout.of(np.repeat(np.arange(len(lengths)), lengths))
found = chain_pairs(of_complex, np.full(len(true), 90.0), predicted[:, CA], layout)
names = sorted(compared.partners)
of_pair = {one.chains: one.dockq.score for one in compared.interfaces}
labels = [f'{first}-{second}' for first, second in of_pair]
ipsae = [
  max(found.ipsae[i, j], found.ipsae[j, i])
  for i, j in ((names.index(first), names.index(second)) for first, second in of_pair)
]
place = np.arange(len(labels))
figure, axis = plt.subplots(figsize=(6, 3), layout='constrained')
axis.bar(place - 0.2, ipsae, 0.4, label='ipSAE of perfect knowledge', color='#65CBF3')
axis.bar(place + 0.2, list(of_pair.values()), 0.4, label='DockQ', color='#0053D6')
axis.set_xticks(place, labels)
axis.set(ylim=(0, 1.05), xlabel='chains', ylabel='0 to 1')
axis.legend()
plt.show()
for label, one, other in zip(labels, ipsae, of_pair.values()):
  print(f'{label}: ipSAE {one:.2f}, DockQ {other:.2f}')
