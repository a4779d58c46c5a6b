# SPDX-License-Identifier: Apache-2.0
"""The files a prediction becomes: PDB, ModelCIF, scores, plots.

`predicted` says what the writers read; `pdb`, `mmcif`, `scores`, `plots` each render one kind of file in memory;
`files` names them, writes them atomically and holds the table of formats. Numpy only, no jax.
"""
