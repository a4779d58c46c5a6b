# SPDX-License-Identifier: Apache-2.0
"""Training sets: from folders of structures and alignments to batches, the same for a seed whatever the machine.

cache_building  folders to a cache; the work on one file is in chain_reading, with deposition (what a file says of
                itself), source_table (clusters, splits) and placement (whose alignment)
cache           the cache: records and index; packing says how a record is kept
training_set    examples by number; with block_deletion (Alg. 1), cropping and homologs (templates)
feeding         batches for the training loop, by Grain
"""
