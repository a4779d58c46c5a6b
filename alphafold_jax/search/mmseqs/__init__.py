# SPDX-License-Identifier: Apache-2.0
"""MMseqs2 on this machine.

engine   the search that colabfold_search makes
making   databases for it
program  finds and runs the program mmseqs
"""
