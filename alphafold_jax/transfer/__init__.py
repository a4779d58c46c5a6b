# SPDX-License-Identifier: Apache-2.0
"""Large files on their way: fetched with resuming, checked, locked, unpacked without trust.

fetch       one file over HTTP, from where an earlier try stopped
files       one writer at a time, digests, a staging folder, room on the disk, how far a transfer has come
archives    what a tar archive may hold; its files written to the disk
"""
