# SPDX-License-Identifier: Apache-2.0
"""One prediction against its reference: chooses the chain, aligns the residues, and computes all scores."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphafold_jax import untrusted
from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import canonical, encode
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain, StructureContent, read_structure, report
from alphafold_jax.errors import InputError
from alphafold_jax.evaluation.aligning import Correspondence, correspond, neighbours
from alphafold_jax.evaluation.finding import PredictionFile, ReferenceFile
from alphafold_jax.geometry.scores import Scores, score
from alphafold_jax.geometry.violations import Violations, count_violations
from alphafold_jax.one_line import one_line

_COMMON_ATOMS = np.isin(residues.ATOM_TYPES, ('N', 'CA', 'C', 'O', 'CB'))  # of residues of different type
_ATOMS = residues.ATOM37_MASK.copy()  # [21, 37] that each residue type has; of unknown residues the backbone
_ATOMS[residues.UNKNOWN] = np.isin(residues.ATOM_TYPES, ('N', 'CA', 'C', 'O'))


@dataclasses.dataclass(frozen=True)
class Limits:
  """The least similarity at which two chains count as the same protein."""

  min_identity: float  # of the aligned residues
  min_coverage: float  # of the reference's resolved residues

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      if not 0 <= value <= 1:
        raise InputError(f'{name} is {value}; give a share from 0 to 1')


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Target:
  """One prediction's scores."""

  id: str
  rank: int | None
  prediction: Path
  reference: Path
  chain: str  # of the reference
  num_res: int  # resolved residues of the reference (with CA)
  num_common: int  # of these, residues that the prediction has
  identity: float  # 0..1, of the aligned residues
  coverage: float  # 0..1, num_common / num_res
  scores: Scores
  violations: Violations  # of the prediction
  plddt: np.ndarray | None  # [num_common] 0..100
  residue_lddt_ca: np.ndarray  # [num_common] 0..100, to compare with pLDDT; NaN for residues without neighbours
  ptm: float | None  # 0..1, predicted
  notes: tuple[str, ...]  # how the two files were read: what was left out, and what has another name there

  __repr__ = one_line

  @property
  def mean_plddt(self) -> float | None:
    """The mean pLDDT over the residues that the reference has too, 0..100."""
    return None if self.plddt is None else float(np.mean(self.plddt))


def score_target(
  predicted: PredictionFile, reference: ReferenceFile, limits: Limits, *, read_plddt: bool = True
) -> Target:
  """Scores a prediction against its reference.

  Args:
    predicted: the prediction's files.
    reference: the reference's file and chain.
    limits: the least similarity of the two.
    read_plddt: False where B-factors are no pLDDT.

  Raises:
    InputError: a file is no structure, the prediction has several chains, or the sequences are too different.
  """
  own_file, true_file = read_structure(predicted.path), _reference(reference.path)
  report(predicted.path, own_file)
  chain = _only_chain(own_file, predicted.path)
  true, matched = _choose_chain(chain, true_file.chains, reference, limits)
  aatype, atoms, mask, true_mask = _laid_out(chain, true, matched)
  try:
    scores = score(aatype, atoms, mask, true.atom_positions, true_mask)
  except InputError as error:
    raise InputError(f'{predicted.path.name} against chain {true.id} of {reference.path.name}: {error}') from None
  ca = residues.ATOM_INDEX['CA']
  common = (mask[:, ca] > 0) & (true_mask[:, ca] > 0)
  plddt = _plddt(chain, predicted) if read_plddt else None
  return Target(
    id=predicted.id,
    rank=predicted.rank,
    prediction=predicted.path,
    reference=reference.path,
    chain=true.id,
    num_res=int(np.sum(true_mask[:, ca] > 0)),
    num_common=int(common.sum()),
    identity=matched.identity,
    coverage=matched.coverage,
    scores=scores,
    violations=count_violations(
      encode(canonical(chain.sequence)), chain.atom_positions, chain.atom_mask, neighbours(chain)
    ),
    plddt=None if plddt is None else plddt[matched.partner[common]],
    residue_lddt_ca=100 * scores.residue_lddt_ca[common],
    ptm=_predicted_scores(predicted).get('ptm'),
    notes=tuple(
      f'{path.name}: {line}'
      for path, content in ((predicted.path, own_file), (reference.path, true_file))
      for line in (*content.warnings, *content.notes)
    ),
  )


def _only_chain(content: StructureContent, path: Path) -> Chain:
  chains = content.chains
  if len(chains) > 1:
    raise InputError(
      f'{path}: holds the protein chains {", ".join(chains)}; complexes are not evaluated, give a '
      'prediction of one chain'
    )
  return next(iter(chains.values()))


@functools.lru_cache(maxsize=2)  # models of one protein come one after another
def _reference(path: Path) -> StructureContent:
  content = read_structure(path)
  report(path, content)
  return content


def _choose_chain(
  predicted: Chain, chains: Mapping[str, Chain], reference: ReferenceFile, limits: Limits
) -> tuple[Chain, Correspondence]:
  """The reference's chain of the wanted name if it is the same protein, else the one most similar to the prediction."""
  if reference.must_have_chain and reference.chain not in chains:
    raise InputError(f'{reference.path}: chain {reference.chain!r} not found; has {", ".join(chains)}')
  candidates = sorted(chains.values(), key=lambda chain: chain.id != reference.chain)  # the wanted one first
  matches = ((chain, correspond(predicted, chain)) for chain in candidates)
  first = next(matches)  # read_chains returns no file without chains
  if reference.must_have_chain or (first[0].id == reference.chain and _is_same(first[1], limits)):
    chain, matched = first
  else:
    chain, matched = max([first, *matches], key=lambda match: match[1].identity * match[1].coverage)
  if not _is_same(matched, limits):
    raise InputError(
      f'{reference.path.name}: chain {chain.id}, the most like the prediction, has {matched.identity:.0%} identity '
      f'over {matched.coverage:.0%} of its residues; asked for are at least {limits.min_identity:.0%} and '
      f'{limits.min_coverage:.0%}. Is this the right reference? If so, lower --min-identity or --min-coverage'
    )
  return chain, matched


def _is_same(matched: Correspondence, limits: Limits) -> bool:
  return matched.identity >= limits.min_identity and matched.coverage >= limits.min_coverage


def _laid_out(
  predicted: Chain, true: Chain, matched: Correspondence
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """The prediction laid out on the N residues of the reference.

  Residues of different type are compared by the atoms up to CB that both types have.

  Returns:
    residue types [N], 20 where the two differ; predicted positions [N, 37, 3] and mask [N, 37]; true mask [N, 37].
  """
  partner, paired = matched.partner, matched.partner >= 0
  own, theirs = encode(canonical(predicted.sequence)), encode(canonical(true.sequence))
  positions = np.where(paired[:, None, None], predicted.atom_positions[partner], 0)
  mask = np.where(paired[:, None], predicted.atom_mask[partner], 0)
  same = ~paired | (own[partner] == theirs)
  has_ca = true.atom_mask[:, residues.ATOM_INDEX['CA']] > 0
  is_residue = has_ca | (theirs < residues.UNKNOWN)  # a declared ACE or NH2 is none
  exists = _ATOMS[theirs] * is_residue[:, None] * np.where(same[:, None], 1, _ATOMS[own[partner]] * _COMMON_ATOMS)
  aatype = np.where(same, theirs, residues.UNKNOWN)
  return aatype, positions, mask * exists, true.atom_mask * exists


# ------------------------------------------------------------------------------------------ confidence


def _plddt(chain: Chain, predicted: PredictionFile) -> np.ndarray | None:
  """pLDDT of each residue, 0 to 100, from the scores JSON or else from B-factors; None if there is none."""
  values = np.asarray(_predicted_scores(predicted).get('plddt', ()), np.float64)
  if len(values) == len(chain.sequence):
    return values
  if len(values):  # unknown residues have no atoms, so a PDB file lacks them; its numbers count from 1
    place = np.array([(untrusted.whole_number(number) or 0) - 1 for number in chain.numbering])
    if ((place >= 0) & (place < len(values))).all():
      return values[place]
  values = chain.b_factors.astype(np.float64)
  known = values[chain.atom_mask[:, residues.ATOM_INDEX['CA']] > 0]
  if known.min() < 0 or known.max() > 100 or (len(known) > 1 and known.min() == known.max()):
    return None
  return 100 * values if known.max() <= 1 else values  # some programs write 0 to 1


def _predicted_scores(predicted: PredictionFile) -> dict[str, Any]:
  """`plddt` and `ptm` of the scores JSON, as far as it has them; nothing where there is no file.

  Raises:
    InputError: the file has another content.
  """
  if predicted.scores is None:
    return {}
  try:
    content = untrusted.from_json(read_text(predicted.scores))
    plddt = [float(value) for value in content.get('plddt', ())]
    ptm = None if content.get('ptm') is None else float(content['ptm'])
  except (ValueError, TypeError, AttributeError) as error:
    remedy = 'remove it to read pLDDT from B-factors'
    raise InputError(f'{predicted.scores}: not a scores file ({error}); {remedy}') from None
  if not all(map(math.isfinite, [*plddt, ptm or 0.0])):
    raise InputError(f'{predicted.scores}: holds NaN or infinity; remove it to read pLDDT from B-factors')
  return {'plddt': plddt, 'ptm': ptm}
