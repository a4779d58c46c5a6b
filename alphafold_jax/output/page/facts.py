# SPDX-License-Identifier: Apache-2.0
"""What the scripts of a page are given: facts as JSON has them, and arrays packed; packed.js reads both."""

from typing import Any, NamedTuple

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.interfaces import SCORES
from alphafold_jax.one_line import one_line
from alphafold_jax.output import alignment_rows
from alphafold_jax.output.cartoon import secondary_structure
from alphafold_jax.output.drawing import colour_map
from alphafold_jax.output.page import markup, packing, viewer
from alphafold_jax.output.plots import MAX_PAE, PLDDT_BANDS, chain_lengths
from alphafold_jax.output.record import PredictionRecord, Report

MAX_INTERFACES = 60  # rows of the table, the best first
_SCALES = {'pae': markup.PAE_COLOURS, 'identity': markup.IDENTITY_COLOURS}
_SHOWN_SCORES = {  # of interfaces.SCORES, with what stands above the column
  'iptm': 'ipTM', 'actifptm': 'actifpTM', 'ipsae': 'ipSAE', 'pdockq': 'pDockQ', 'pdockq2': 'pDockQ2', 'ilis': 'iLIS',
  'plddt': 'pLDDT', 'pae': 'PAE (Å)', 'min_pae': 'lowest PAE (Å)', 'contacts': 'contacts', 'clashes': 'clashes',
}  # fmt: skip


class PageFacts(NamedTuple):
  """What one page's scripts are given."""

  facts: dict[str, Any]
  packed: dict[str, str]  # by the id of the element that holds it

  def __repr__(self) -> str:
    return one_line(self)


def gathered(report: Report) -> PageFacts:
  """All that the scripts show of a protein."""
  best = report.best
  models: list[dict[str, Any]] = []
  packed: dict[str, str] = {}
  positions, count = packing.laid_on_best(report.predictions), len(report.predictions)
  for i, (prediction, tag) in enumerate(zip(report.predictions, report.tags, strict=True)):
    of_model, arrays = _model(prediction, positions[i], count, report.pae_cutoff)
    models.append({'tag': tag, **of_model})
    packed |= {f'{name}-{i}': text for name, text in arrays.items()}
  facts: dict[str, Any] = {
    'job': report.job,
    'chains': [{'name': name, 'length': length} for name, length in zip(best.chains, chain_lengths(best), strict=True)],
    'sequence': best.sequence,
    'numbers': (np.asarray(best.residue_index) + 1).tolist(),
    'models': models,
    'alignment': None,
    'interface_scores': _SHOWN_SCORES,
    'residues': {letter: name.capitalize() for letter, name in residues.RESTYPE_1TO3.items()} | {'X': 'Unk'},
    'atoms': list(residues.ATOM_TYPES),
    'bands': [{'from': low, 'to': high, 'colour': colour, 'name': name} for low, high, colour, name in PLDDT_BANDS],
    'scales': {name: colour_map(of).ravel().tolist() for name, of in _SCALES.items()},
    'max_pae': MAX_PAE,
    'pae_step': packing.PAE_STEP,
    'gap': packing.GAP,
    'viewer': report.origin.viewer,
  }
  if report.msa_tokens is not None:
    tokens = np.asarray(report.msa_tokens)
    drawn = packing.alignment(tokens, chain_lengths(best))
    depth = alignment_rows.covered(tokens).tolist()
    facts['alignment'] = {'num_seq': len(tokens), 'rows': drawn.rows, 'ends': drawn.ends, 'depth': depth}
    packed['alignment'] = packing.as_text(drawn.data)
  if report.origin.viewer is None:
    packed['viewer'] = viewer.packed()
  return PageFacts(facts, packed)


def _model(
  prediction: PredictionRecord, positions: np.ndarray, count: int, pae_cutoff: float
) -> tuple[dict[str, Any], dict[str, str]]:
  """What is given of one prediction of so many."""
  atoms = packing.atoms(prediction, positions)
  arrays = {'atoms': packing.as_text(atoms.data)}
  facts: dict[str, Any] = {
    'title': f'{prediction.model_name}, seed {prediction.seed}',
    'mean_plddt': round(prediction.mean_plddt, 2),
    'plddt': np.round(np.asarray(prediction.plddt, np.float64), 2).tolist(),
    'folds': ''.join(secondary_structure.assign(positions, np.asarray(prediction.atom_mask))),
    'patterns': atoms.patterns,
    'step': atoms.step,
    'pae': None,
    'interfaces': _interfaces(prediction, pae_cutoff),
  }
  if (errors := prediction.pae) is not None:
    pae = packing.pae(errors, count)
    facts['pae'] = {'side': pae.side, 'block': pae.block}
    arrays['pae'] = packing.as_text(pae.data)
  return facts, arrays


def _interfaces(prediction: PredictionRecord, pae_cutoff: float) -> list[dict[str, str]]:
  """The scores of pairs of chains as a table shows them, the best first; none of a single chain."""
  if (scored := prediction.interface_scores(pae_cutoff)) is None:
    return []
  rows = sorted(scored.by_pair(prediction.chains).items(), key=lambda row: (-row[1]['ipsae'], -row[1]['iptm']))
  digits = {name: min(SCORES[name].digits, 3) for name in _SHOWN_SCORES}
  return [
    {'pair': pair, **{name: f'{scores[name]:.{places}f}' for name, places in digits.items()}}
    for pair, scores in rows[:MAX_INTERFACES]
  ]
