# SPDX-License-Identifier: Apache-2.0
"""What training minimises (Suppl. 1.9): losses of one example in float32, with finite gradients whatever is missing."""
