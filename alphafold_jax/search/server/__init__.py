# SPDX-License-Identifier: Apache-2.0
"""An MMseqs2 server.

engine   the protocol
client   requests: tried again where a failure may pass, with an error where it will not
archive  the files in an answer, without trusting it
tickets  the tickets of searches that were begun, kept beyond the process
"""
