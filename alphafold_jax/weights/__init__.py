# SPDX-License-Identifier: Apache-2.0
"""Parameters: the official layout in and out (official.py), the published archives on this machine (store.py)."""
