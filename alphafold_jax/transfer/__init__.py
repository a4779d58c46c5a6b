# SPDX-License-Identifier: Apache-2.0
"""Large files on their way: fetched with resuming, checked, locked, unpacked without trust.

fetch       one file over HTTP, from where an earlier try stopped
files       one writer at a time, digests, room on the disk
members     what an archive may hold
meter       how far a transfer has come
"""
