# SPDX-License-Identifier: Apache-2.0
"""What is left behind: one record for each prediction, ranked files, reports."""
