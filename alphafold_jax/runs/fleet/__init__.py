# SPDX-License-Identifier: Apache-2.0
"""Who does it: this process, others of this machine, and those that share the output folder."""
