# SPDX-License-Identifier: Apache-2.0
"""Facts about residues as numpy tables, indexed by residue type (20 is unknown: the last row, all zeros)."""
