# SPDX-License-Identifier: Apache-2.0
"""Known structures as templates.

engines    programs that find them by an alignment: hmmsearch, hhsearch
library    a folder of structures
choice     which of them are taken, and where they go on the query
"""
