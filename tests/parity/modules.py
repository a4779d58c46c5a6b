# SPDX-License-Identifier: Apache-2.0
"""All comparisons of single modules, by name."""

from parity import embedding, structure, trunk

CASES = {
  case.name: case
  for case in (
    *trunk.cases('evoformer'),
    *trunk.cases('extra MSA'),
    *embedding.template_cases(),
    *embedding.embedder_cases(),
    *structure.structure_cases(),
    *structure.head_cases(),
  )
}
