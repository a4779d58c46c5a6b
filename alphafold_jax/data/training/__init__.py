# SPDX-License-Identifier: Apache-2.0
"""Training sets: from folders of structures and alignments to batches that depend on the seed alone.

cache_building  folders to a cache: sources are its files; chain_reading reads one, with deposition (its metadata),
                source_table (clusters, splits), library (which alignment) and placement (its columns); accounts say
                what was used of all that was given
complex_making  which of a cache's chains form complexes: the assemblies of files, or a table's
cache           the cache: records and their index; packing: a record as bytes; template_hits: what resembles each
                chain, as template_finding found it; complexes: the list of those
training_set    examples by number, as data_spec says, with sampling (rows and crops) and homologs (templates, drawn or
                the best); phased joins sets
complex_examples  those of complexes: assembled are their chains in their places, chain_cropping cuts them
feeding         batches for the training loop, by Grain
"""
