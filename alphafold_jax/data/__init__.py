# SPDX-License-Identifier: Apache-2.0
"""From files to features, in numpy only: nothing here computes with JAX.

records     text files (gz, encodings) and their '>' records
alignment   A3M alignments
queries     what to predict: FASTA, A3M, CSV, directories; safe job names
structures  PDB and mmCIF chains as atom37 arrays
pairwise    two sequences aligned
templates   a structure placed on the query's residues
features    schema.Batch from the above; the .npz format
padding     padding and cropping over any schema type; bucket sizes

For training:
cache_building  folders of structures and alignments to a cache; the work on one file is in chain_reading, with
                deposition (what a file says of itself), source_table (clusters, splits) and placement (whose alignment)
cache           the cache: records and index; packing says how a record is kept
training_set    examples by number; with block_deletion (Alg. 1), cropping and homologs (templates)
feeding         batches for the training loop, by Grain
"""
