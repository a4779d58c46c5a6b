# SPDX-License-Identifier: Apache-2.0
"""One prediction against its reference: chooses the chains, aligns the residues, and computes all scores."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.constants import residues
from alphafold_jax.data.alignment import canonical, encode
from alphafold_jax.data.records import read_text
from alphafold_jax.data.structures import Chain, StructureContent, read_structure, report
from alphafold_jax.errors import InputError
from alphafold_jax.evaluation import own_scores
from alphafold_jax.evaluation.aligning import (
  ChainPair,
  LaidOut,
  Limits,
  correspond,
  join,
  lay_out,
  neighbours,
  together,
)
from alphafold_jax.evaluation.complexes import PredictedComplex, chains_of_reference, map_chains, score_complex
from alphafold_jax.evaluation.finding import PredictionFile, ReferenceFile
from alphafold_jax.geometry.scores import Scores, score
from alphafold_jax.geometry.violations import Violations, count_violations
from alphafold_jax.one_line import one_line
from alphafold_jax.trimming.predicted import labels_in

_CA = residues.ATOM_INDEX['CA']
_BETWEEN_NAMES = re.compile(r'[\s,;+]+')  # of chains in a table


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Target:
  """One prediction's scores, of a complex over all chains that are compared."""

  id: str
  rank: int | None
  prediction: Path
  reference: Path
  chain: str  # of the reference; of a complex those that are compared: 'A,B'
  num_res: int  # resolved residues of the reference (with CA)
  num_common: int  # of these, residues that the prediction has
  identity: float  # 0..1, of the aligned residues
  coverage: float  # 0..1, num_common / num_res
  scores: Scores
  violations: Violations  # of the prediction
  plddt: np.ndarray | None  # [num_common] 0..100
  residue_lddt_ca: np.ndarray  # [num_common] 0..100, to compare with pLDDT; NaN for residues without neighbours
  ptm: float | None  # 0..1, predicted
  iptm: float | None = None  # 0..1, predicted
  complex: PredictedComplex | None = None  # None where the prediction has a single chain
  notes: tuple[str, ...]  # how the two files were read: what was left out, and what has another name there
  labels: tuple[str, ...] = ()  # what the prediction's file says of it, such as 'MINI MODEL: ...'

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
    InputError: a file is no structure, or the sequences are too different.
  """
  own_file, true_file = read_structure(predicted.path), _reference(reference.path)
  report(predicted.path, own_file)
  chains = list(own_file.chains.values())
  mapping, pairs = None, []
  if len(chains) == 1:
    pairs = [_choose_chain(chains[0], true_file.chains, reference, limits)]
  else:
    names = (predicted.path.name, reference.path.name)
    mapping = map_chains(chains, _chains_of(reference, true_file), limits, names)
    pairs = mapping.pairs
  laid_out = [lay_out(pair) for pair in pairs]
  whole = join(laid_out)
  scores = _scores(whole, pairs, predicted.path, reference.path)
  has_ca, common = whole.true_mask[:, _CA] > 0, (whole.true_mask * whole.predicted_mask)[:, _CA] > 0
  plddt = own_scores.plddt(chains, predicted) if read_plddt else None
  told = own_scores.predicted_scores(predicted)
  identity, coverage = together(pair.matched for pair in pairs)
  return Target(
    id=predicted.id,
    rank=predicted.rank,
    prediction=predicted.path,
    reference=reference.path,
    chain=','.join(pair.true.id for pair in pairs),
    num_res=int(has_ca.sum()),
    num_common=int(common.sum()),
    identity=identity,
    coverage=coverage,
    scores=scores,
    violations=_violations(chains),
    plddt=None if plddt is None else _on_reference(dict(zip(own_file.chains, plddt)), pairs)[common],
    residue_lddt_ca=100 * scores.residue_lddt_ca[common],
    ptm=told.get('ptm'),
    iptm=told.get('iptm'),
    complex=None if mapping is None else score_complex(mapping, laid_out),
    notes=_notes((predicted.path, own_file), (reference.path, true_file)),
    labels=labels_in(read_text(predicted.path)),
  )


def _scores(whole: LaidOut, pairs: Sequence[ChainPair], predicted: Path, reference: Path) -> Scores:
  try:
    return score(*whole)
  except InputError as error:
    chains = f'chain{"s" * (len(pairs) > 1)} {", ".join(pair.true.id for pair in pairs)}'
    raise InputError(f'{predicted.name} against {chains} of {reference.name}: {error}') from None


def _notes(*files: tuple[Path, StructureContent]) -> tuple[str, ...]:
  """How the files were read."""
  return tuple(f'{path.name}: {line}' for path, content in files for line in (*content.warnings, *content.notes))


@functools.lru_cache(maxsize=2)  # models of one protein come one after another
def _reference(path: Path) -> StructureContent:
  content = read_structure(path)
  report(path, content)
  return content


def _choose_chain(predicted: Chain, chains: Mapping[str, Chain], reference: ReferenceFile, limits: Limits) -> ChainPair:
  """The reference's chain of the wanted name if it is the same protein, else the one most similar to the prediction."""
  if reference.must_have_chain and reference.chain not in chains:
    if len(named := _BETWEEN_NAMES.split(reference.chain.strip())) > 1:
      raise InputError(
        f'{reference.path}: chains {", ".join(named)} of it are named, and the prediction has one chain; name the one '
        'that it is to be compared with'
      )
    raise InputError(f'{reference.path}: chain {reference.chain!r} not found; has {", ".join(chains)}')
  candidates = sorted(chains.values(), key=lambda chain: chain.id != reference.chain)  # the wanted one first
  matches = ((chain, correspond(predicted, chain)) for chain in candidates)
  first = next(matches)  # read_chains returns no file without chains
  if reference.must_have_chain or (first[0].id == reference.chain and limits.allow(first[1])):
    chain, matched = first
  else:
    chain, matched = max([first, *matches], key=lambda match: match[1].likeness)
  if not limits.allow(matched):
    raise InputError(
      f'{reference.path.name}: chain {chain.id}, the most like the prediction, {limits.shortfall(matched)}'
    )
  return ChainPair(predicted, chain, matched)


def _chains_of(reference: ReferenceFile, content: StructureContent) -> list[Chain]:
  """The chains of a complex: all of the reference, or those that a table names."""
  wanted = _BETWEEN_NAMES.split(reference.chain.strip()) if reference.must_have_chain else []
  return chains_of_reference(content.chains, wanted, reference.path)


def _violations(chains: Sequence[Chain]) -> Violations:
  """The violations of all chains of a prediction, clashes between them included."""
  bonded = np.concatenate([np.append(neighbours(chain), False) for chain in chains])[:-1]
  return count_violations(
    encode(canonical(''.join(chain.sequence for chain in chains))),
    np.concatenate([chain.atom_positions for chain in chains]),
    np.concatenate([chain.atom_mask for chain in chains]),
    bonded,
  )


def _on_reference(values: Mapping[str, np.ndarray], pairs: Sequence[ChainPair]) -> np.ndarray:
  """Values of the residues of the prediction, by chain, on those of the reference; any value where there is none."""
  return np.concatenate([values[pair.predicted.id][pair.matched.partner] for pair in pairs])
