# SPDX-License-Identifier: Apache-2.0
"""From files to features, in numpy only: nothing here computes with JAX.

records     text files (gz, encodings) and their '>' records
alignment   A3M alignments; two sequences aligned
stockholm   Stockholm alignments as A3M
queries     what to predict: FASTA, A3M, Stockholm, CSV, directories; jobnames: safe names for their files
structures  PDB and mmCIF chains as atom37 arrays
templates   a structure placed on the query's residues
template_map  structures with their places, from a file of a person's own
features    schema.Batch from the above; the .npz format
padding     padding and cropping over any schema type; bucket sizes
training    training sets, in a package of their own
"""
