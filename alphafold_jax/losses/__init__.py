# SPDX-License-Identifier: Apache-2.0
"""The losses of training (Suppl. 1.9): of one example, in float32, with finite gradients where atoms are missing."""
