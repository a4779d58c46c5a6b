# SPDX-License-Identifier: Apache-2.0
"""Homologues and templates for a bare sequence; needs the extra `search`, `pip install '.[search]'` in a clone.

options         what a person may choose; makes a `Search`
finding         looks up what was found before, has the rest searched for, keeps it
complexes       the same for complexes: of each distinct chain once, and of pairs
found           what an engine is, and what it gives
cache           searches that were made before, shared by processes
databases       what is searched: roles, kinds, identities
hmmer           jackhmmer's search in this process; `best` keeps the hits while `fasta` reads the database
mmseqs          MMseqs2 on this machine
server          an MMseqs2 server
pairing         rows of the chains of a complex side by side; `uniprot`: the rows that AlphaFold pairs
templates       known structures for an alignment; `m8`: MMseqs2's tables of them
download        the standard databases (`standard_sets`)
installed       packages and programs of the extra, and the error where one is missing

Nothing here loads JAX but `templates.choice`, which makes features.
"""
