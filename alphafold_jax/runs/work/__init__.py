# SPDX-License-Identifier: Apache-2.0
"""What is to be done: proteins with their alignments, templates and keys."""
