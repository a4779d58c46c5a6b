# SPDX-License-Identifier: Apache-2.0
"""An MMseqs2 server.

engine   asks for homologues of single sequences
pairs    asks for paired rows of complexes
desk     where both hand in batches and get results, by tickets
host     the server and how to use it
client   requests: tried again where a failure may pass, with an error where it will not
answers  states and alignments in an answer
archive  the files in an answer, without trusting it
tickets  the tickets of searches that were begun, kept beyond the process
"""
