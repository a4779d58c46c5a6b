# SPDX-License-Identifier: Apache-2.0
"""Statistics of each score over all targets, shares of targets within limits, and the calibration of pLDDT."""

import dataclasses
import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from alphafold_jax.evaluation.complexes import PredictedComplex
from alphafold_jax.evaluation.scoring import Target

# The limits (Å) that AlphaFold's CASP14 results are quoted with, by score.
QUOTED_LIMITS = {'ca_rmsd_95': (1.0, 1.6, 2.5), 'all_atom_rmsd_95': (1.5, 2.1, 3.0)}
BIN_WIDTH = 10.0  # of pLDDT, 0 to 100


@dataclasses.dataclass(frozen=True)
class Unscored:
  """A prediction that could not be scored."""

  id: str
  prediction: Path
  reference: Path | None
  error: str  # the exception's type
  message: str


@dataclasses.dataclass(frozen=True)
class Statistics:
  """The distribution of one score over the targets that have it."""

  targets: int
  mean: float
  lower_quartile: float
  median: float
  upper_quartile: float
  minimum: float
  maximum: float


@dataclasses.dataclass(frozen=True)
class Share:
  """The share of targets within a limit."""

  score: str
  below: float  # Å
  targets: int
  share: float  # 0..1


@dataclasses.dataclass(frozen=True)
class Bin:
  """The residues of one interval of pLDDT."""

  start: float
  end: float
  residues: int
  predicted: float | None  # mean pLDDT
  true: float | None  # mean lDDT-CA


@dataclasses.dataclass(frozen=True)
class Calibration:
  """pLDDT beside the true lDDT-CA of each residue, both 0 to 100, over all targets."""

  residues: int
  pearson: float | None  # None where either does not vary
  mean_absolute_deviation: float
  mean_deviation: float  # predicted - true: above 0, pLDDT is too high
  expected_calibration_error: float  # mean distance of a bin's two means, by residues
  bins: tuple[Bin, ...]
  targets: int
  target_pearson: float | None  # of mean pLDDT and mean lDDT-CA of the targets
  ptm_pearson: float | None  # of predicted and true TM-score of the targets


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreSummary:
  """The results of an evaluation."""

  output: Path
  targets: Sequence[Target]  # in order of id and rank
  failures: Sequence[Unscored]
  unused: Sequence[Path]  # references without a prediction
  left_out: Sequence[str]  # predictions that the table of pairs does not name
  notes: Sequence[str]  # what was chosen among several files, or not read
  statistics: dict[str, Statistics]  # by column, over the best rank of each id
  shares: Sequence[Share]
  calibration: Calibration | None  # None where no prediction has pLDDT
  files: Sequence[Path] = ()
  text: str = ''  # for the terminal

  @property
  def best(self) -> list[Target]:
    """The targets that statistics are of: the best rank of each id."""
    return _best_ranks(self.targets)

  @property
  def exit_code(self) -> int:
    """0: all predictions are scored; 1: some are not; 2: none is."""
    if not self.targets:
      return 2
    return 1 if self.failures else 0


# The columns of each target in tables: a name, and the function that computes the value.
_SCORES = (
  'lddt', 'lddt_ca', 'lddt_ca_residue_mean', 'gdt_ts', 'gdt_ha', 'tm_score', 'ca_rmsd', 'ca_rmsd_95', 'all_atom_rmsd',
  'all_atom_rmsd_95', 'side_chain_rmsd', 'side_chain_rmsd_local', 'chi1_accuracy', 'chi1_2_accuracy',
)  # fmt: skip
_VIOLATIONS = ('bond_lengths', 'bond_angles', 'chain_breaks', 'clashes', 'residues', 'share')
Measure = Callable[[Target], float | int | None]


MEASURES: dict[str, Measure] = {
  'identity': operator.attrgetter('identity'),
  'coverage': operator.attrgetter('coverage'),
  **{name: operator.attrgetter(f'scores.{name}') for name in _SCORES},
  'chi1_error': lambda target: target.scores.chi_errors[0],
  'chi2_error': lambda target: target.scores.chi_errors[1],
  'chi3_error': lambda target: target.scores.chi_errors[2],
  'chi4_error': lambda target: target.scores.chi_errors[3],
  **{f'violations_{name}': operator.attrgetter(f'violations.{name}') for name in _VIOLATIONS},
  'mean_plddt': operator.attrgetter('mean_plddt'),
  'plddt_pearson': lambda target: pearson(*_predicted_and_true(target)),
  'plddt_deviation': lambda target: _deviation(target),
  'ptm': operator.attrgetter('ptm'),
}


def _of_complex(number: Callable[[PredictedComplex], float | int | None]) -> Measure:
  return lambda target: None if target.complex is None else number(target.complex)


COMPLEX_MEASURES: dict[str, Measure] = {  # in tables where at least one target is a complex
  'dockq': _of_complex(operator.attrgetter('dockq')),
  'dockq_full': _of_complex(operator.attrgetter('dockq_full')),
  'interface_lddt': _of_complex(operator.attrgetter('interface_lddt')),
  'interfaces': _of_complex(lambda one: len(one.interfaces)),
  'interfaces_missing': _of_complex(lambda one: len(one.missing_interfaces)),
  'chains': _of_complex(lambda one: len(one.partners)),
  'chains_missing': _of_complex(lambda one: len(one.missing)),
  'chains_extra': _of_complex(lambda one: len(one.extra)),
  'iptm': lambda target: None if target.complex is None else target.iptm,
}


def measures_of(targets: Sequence[Target]) -> dict[str, Measure]:
  """The measures that these targets have."""
  return MEASURES | COMPLEX_MEASURES if any(one.complex for one in targets) else MEASURES


def summarise(
  output: Path,
  targets: Sequence[Target],
  failures: Sequence[Unscored],
  unused: Sequence[Path] = (),
  left_out: Sequence[str] = (),
  notes: Sequence[str] = (),
) -> ScoreSummary:
  """Computes statistics and calibration over the targets, of several ranks of one id over the best alone.

  The arguments are the fields of ScoreSummary.
  """
  best = _best_ranks(targets)
  measures = measures_of(targets)
  columns = {name: [value for one in best if (value := measure(one)) is not None] for name, measure in measures.items()}
  return ScoreSummary(
    output=output,
    targets=targets,
    failures=failures,
    unused=unused,
    left_out=left_out,
    notes=notes,
    statistics={name: _statistics(values) for name, values in columns.items() if values},
    shares=[
      Share(name, limit, len(columns[name]), float(np.mean(np.array(columns[name]) < limit)))
      for name, limits in QUOTED_LIMITS.items() if columns[name] for limit in limits
    ],
    calibration=calibrate(best),
  )  # fmt: skip


def _best_ranks(targets: Iterable[Target]) -> list[Target]:
  best: dict[str, Target] = {}
  for target in targets:
    if target.id not in best or (target.rank or 0) < (best[target.id].rank or 0):
      best[target.id] = target
  return list(best.values())


def _statistics(values: Sequence[float]) -> Statistics:
  minimum, lower, median, upper, maximum = (float(value) for value in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
  return Statistics(len(values), float(np.mean(values)), lower, median, upper, minimum, maximum)


def calibrate(targets: Sequence[Target]) -> Calibration | None:
  """Compares pLDDT with lDDT-CA over all residues that have both; None if there are none."""
  pairs = [_predicted_and_true(target) for target in targets if target.plddt is not None]
  if not pairs or not sum(len(predicted) for predicted, _ in pairs):
    return None
  predicted, true = (np.concatenate(part) for part in zip(*pairs))
  bins = _bins(predicted, true)
  means = [
    (one.mean_plddt, 100 * one.scores.lddt_ca_residue_mean)
    for one in targets
    if one.plddt is not None and one.scores.lddt_ca_residue_mean is not None
  ]
  tm_scores = [(one.ptm, one.scores.tm_score) for one in targets if one.ptm is not None]
  return Calibration(
    residues=len(predicted),
    pearson=pearson(predicted, true),
    mean_absolute_deviation=float(np.mean(np.abs(predicted - true))),
    mean_deviation=float(np.mean(predicted - true)),
    expected_calibration_error=sum(
      one.residues * abs(one.predicted - one.true) for one in bins if one.predicted is not None and one.true is not None
    )
    / len(predicted),
    bins=bins,
    targets=len(means),
    target_pearson=pearson(*np.array(means).T) if means else None,
    ptm_pearson=pearson(*np.array(tm_scores).T) if tm_scores else None,
  )


def _bins(predicted: np.ndarray, true: np.ndarray) -> tuple[Bin, ...]:
  """The reliability curve: one bin per interval [start, end), the last with its end included."""
  place = np.minimum(predicted // BIN_WIDTH, 100 // BIN_WIDTH - 1)
  bins = []
  for i in range(int(100 // BIN_WIDTH)):
    here = place == i
    means = [float(np.mean(values[here])) if here.any() else None for values in (predicted, true)]
    bins.append(Bin(i * BIN_WIDTH, (i + 1) * BIN_WIDTH, int(here.sum()), *means))
  return tuple(bins)


def pearson(a: np.ndarray, b: np.ndarray) -> float | None:
  """The correlation of two series [N]; None for fewer than three values, or where either is constant."""
  if len(a) < 3 or np.ptp(a) < 1e-9 or np.ptp(b) < 1e-9:
    return None
  return float(np.corrcoef(a, b)[0, 1])


def _predicted_and_true(target: Target) -> tuple[np.ndarray, np.ndarray]:
  """pLDDT and lDDT-CA [N], 0 to 100, of the residues that have both; empty where there is no pLDDT."""
  if target.plddt is None:
    return np.zeros(0), np.zeros(0)
  known = np.isfinite(target.residue_lddt_ca)
  return target.plddt[known], target.residue_lddt_ca[known]


def _deviation(target: Target) -> float | None:
  predicted, true = _predicted_and_true(target)
  return float(np.mean(np.abs(predicted - true))) if len(predicted) else None
