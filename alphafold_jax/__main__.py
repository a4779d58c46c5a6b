# SPDX-License-Identifier: Apache-2.0
"""`python -m alphafold_jax` is `alphafold-jax`."""

import sys

from alphafold_jax.cli import main

if __name__ == '__main__':
  sys.exit(main())
