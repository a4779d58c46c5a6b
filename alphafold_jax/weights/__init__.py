# SPDX-License-Identifier: Apache-2.0
"""Parameters of the network.

official    the published layout, read and written
store       the files on this machine: found, listed, verified, downloaded (install, manifest, npz, published)
shipped     those of the model that ships with the package
random      random ones, to try things out
"""

from alphafold_jax.weights.official import load_official, save_official

__all__ = ['load_official', 'save_official']
