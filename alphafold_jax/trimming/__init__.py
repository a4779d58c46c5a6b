# SPDX-License-Identifier: Apache-2.0
"""Predictions made ready for molecular replacement and refinement: `alphafold-jax trim`, also for programs.

    import alphafold_jax as afj

    trimmed = afj.trim('prediction.pdb', 'trimmed/')
    trimmed.domains[0].vrms, trimmed.residues[0].why, trimmed.files

Residues of low pLDDT are left out, the rest is split into domains by the predicted aligned error, and B-factors are
made of pLDDT, by the formulas and numbers of published programs.

predicted  a prediction of any program with its pLDDT; what is none is refused
bfactors   expected errors and B-factors from pLDDT
domains    domains from the PAE
trimmed    what is kept, and why
writing    the files
picture    the picture among them

Nothing here loads JAX.
"""

from alphafold_jax.trimming.domains import RULES, DomainRules
from alphafold_jax.trimming.run import trim
from alphafold_jax.trimming.trimmed import ResidueFate, Stretch, TrimmedDomain, TrimmedModel, TrimSettings

__all__ = ['RULES', 'DomainRules', 'ResidueFate', 'Stretch', 'TrimSettings', 'TrimmedDomain', 'TrimmedModel', 'trim']
