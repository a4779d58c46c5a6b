# SPDX-License-Identifier: Apache-2.0
"""
pLDDT, good and bad
===================

pLDDT is the model's estimate of lDDT-Cα. Two proteins whose experiments are known show both: human HRAS as the
AlphaFold database has it, where both are high, and 4ZEY by the small model, where both are low.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np

import alphafold_jax as afj
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment, structures
from alphafold_jax.geometry import lddt
from alphafold_jax.output.plots import PLDDT_BANDS

ROOT = pathlib.Path('../..')
CA = residues.ATOM_INDEX['CA']


def true_lddt(sequence, positions, experiment):
  """lDDT-Cα of each residue that the experiment shows, 0 to 100; NaN for the others."""
  aligned = alignment.align(sequence, experiment.sequence)
  mine, theirs = np.array([pair for pair in aligned.items() if experiment.atom_mask[pair[1], CA]]).T
  result = np.full(len(sequence), np.nan)
  result[mine] = 100 * lddt.lddt_ca(positions[mine, CA], experiment.atom_positions[theirs, CA], np.ones(len(mine)))
  return result


# %%
# The good case. In files of predictions the column of B-factors holds pLDDT.
hras = structures.read_chain(ROOT / 'tests/data/AF-P01112-F1-model_v4.cif.gz')
good = true_lddt(hras.sequence, hras.atom_positions, structures.read_chain(ROOT / 'tests/data/1ctq_A.cif.gz'))

# %%
# The bad case.
prediction = afj.predict(afj.load_model('mini'), afj.read_queries(ROOT / 'examples/4zey_A.a3m')[0])
bad = true_lddt(
  prediction.sequence, prediction.atom_positions, structures.read_chain(ROOT / 'tests/data/4zey.cif.gz', 'A')
)

# %%
# Along the sequence, on the bands of the AlphaFold database.
cases = {
  'HRAS, AlphaFold database, beside 1CTQ': (hras.b_factors, good),
  '4ZEY, the small model': (prediction.plddt, bad),
}
figure, axes = plt.subplots(2, 1, figsize=(8, 6), layout='constrained')
for axis, (title, (plddt, true)) in zip(axes, cases.items()):
  for low, high, colour, _ in PLDDT_BANDS:
    axis.axhspan(low, high, color=colour, alpha=0.25, lw=0)
  axis.plot(np.arange(1, len(plddt) + 1), plddt, color='black', label='pLDDT')
  axis.plot(np.arange(1, len(true) + 1), true, color='crimson', label='true lDDT-Cα')
  known = ~np.isnan(true)
  axis.set_title(f'{title}: mean pLDDT {np.mean(plddt):.0f}, mean lDDT-Cα {np.nanmean(true):.0f}')
  axis.set(xlim=(1, len(plddt)), ylim=(0, 100), xlabel='residue', ylabel='0 to 100')
  axis.legend(loc='lower right')
  print(f'{title}: r = {np.corrcoef(plddt[known], true[known])[0, 1]:.2f} over {known.sum()} residues')
plt.show()

# %%
# The end of HRAS is not in the crystal: pLDDT falls there, and there is nothing to compare with.
