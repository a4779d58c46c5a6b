# SPDX-License-Identifier: Apache-2.0
"""Frames, torsion angles and atoms (jnp), superposition and scores of structures (numpy)."""
