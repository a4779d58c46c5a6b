# SPDX-License-Identifier: Apache-2.0
"""How far the interfaces of one predicted complex are to be trusted; numpy, and SciPy for clashes.

layout    which residues are of which chain, and sums over them
expected  what the network's own distributions say: ipTM and actifpTM of pairs of chains, pTM of chains
pairs     what PAE and coordinates say of all pairs of chains, computed once
clashes   atoms of which two are in one place
scores    the table of scores, and the struct they are computed of

N_res residues of all chains, N_chain chains in order of first appearance. Matrices [N_chain, N_chain] and PAE have the
aligned side as rows, the scored side as columns.
"""

from alphafold_jax.interfaces.expected import score_matrix, tm_of_chains
from alphafold_jax.interfaces.pairs import PAE_CUTOFF
from alphafold_jax.interfaces.scores import SCORES, Interfaces, InterfaceScore

__all__ = ['PAE_CUTOFF', 'SCORES', 'InterfaceScore', 'Interfaces', 'score_matrix', 'tm_of_chains']
