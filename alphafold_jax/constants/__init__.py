# SPDX-License-Identifier: Apache-2.0
"""Facts about residues as numpy tables, indexed by residue type; row 20, for unknown residues, is all zeros."""
