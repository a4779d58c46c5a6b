# SPDX-License-Identifier: Apache-2.0
"""Proof on the parameters that are installed: `alphafold-jax params check`.

findings.py is what a check says; recording.py reads what other programs recorded; replay.py runs the network on it,
comparing.py compares array by array; files.py checks a parameter file, scores.py published scores; check.py does all.
"""
