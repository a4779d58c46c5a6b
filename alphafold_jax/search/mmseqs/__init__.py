# SPDX-License-Identifier: Apache-2.0
"""MMseqs2 on this machine.

engine          the search that colabfold_search makes for a sequence
pairs           the one that it makes for a complex
profile_search  what both begin with, and how their steps are run
making          databases for it
program         finds and runs the program mmseqs
"""
