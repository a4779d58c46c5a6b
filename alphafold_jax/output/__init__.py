# SPDX-License-Identifier: Apache-2.0
"""The files a prediction becomes: PDB, ModelCIF, scores, plots.

`record` is a prediction as every format reads it; `pdb`, `mmcif`, `scores`, `plots` render the kinds of files in
memory; `files` holds the table of formats, names them and writes them whole or not at all. Numpy only, no jax.
"""
