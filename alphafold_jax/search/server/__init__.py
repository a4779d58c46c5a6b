# SPDX-License-Identifier: Apache-2.0
"""An MMseqs2 server.

engine   the protocol
client   requests: patient with what passes, clear about what does not
archive  the files in an answer, without trusting it
tickets  what was asked for, kept beyond the process
"""
