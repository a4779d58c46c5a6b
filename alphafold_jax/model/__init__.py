# SPDX-License-Identifier: Apache-2.0
"""The network of the paper as pure Haiku modules; start with alphafold.py."""
