# SPDX-License-Identifier: Apache-2.0
"""This network beside DeepMind's: what is compared, and how; read by the tests and by benchmarks/parity.py."""
