# SPDX-License-Identifier: Apache-2.0
"""The chains of the small model's card, their predictions by the model and by baselines, and tables of scores."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

import alphafold_jax as afj
from alphafold_jax import atomic, prediction, schema
from alphafold_jax.constants import residues
from alphafold_jax.data import alignment
from alphafold_jax.data.training import cache, homologs, training_set
from alphafold_jax.geometry import scores
from alphafold_jax.prediction import Model

LENGTHS = {'at most 64': 64, '65 to 128': 128, '129 to 256': 256, 'more than 256': np.inf}  # the largest of a group
DEPTHS = {'none': 1, 'fewer than 100': 99, '100 to 1,000': 1000, 'more than 1,000': np.inf}
_CA = residues.ATOM_INDEX['CA']
_MOST_ROWS = 1024  # of an alignment
_PADDED = (64, 96, 128, 160, 192, 224, 256)  # residues: a process cannot hold the programs of every length
_BINS = (0, 20, 30, 40, 50, 60, 70, 80, 90, 100)  # pLDDT
_FEWEST = 50  # residues of a bin that is shown


@dataclasses.dataclass(frozen=True)
class Target:
  """A validation chain with its structure."""

  id: str
  place: int  # in the training set
  sequence: str
  depth: int  # rows of its alignment, its own counted
  aligned: schema.Batch
  alone: schema.Batch  # without its alignment

  @property
  def true(self) -> tuple[np.ndarray, np.ndarray]:
    """Atom positions [N, 37, 3] Å and which are known [N, 37]."""
    return self.alone.targets.atom_positions, self.alone.targets.atom_mask


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
  """A predicted structure of a target, and its own confidence."""

  positions: np.ndarray  # [N, 37, 3] Å
  mask: np.ndarray  # [N, 37]
  plddt: np.ndarray | None = None  # [N] 0..100


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
  """The scores of a prediction against the experiment."""

  residue_lddt: np.ndarray  # [R] 0..1, of the residues that are resolved
  residue_plddt: np.ndarray | None  # [R] 0..100, of the same
  tm: float  # 0..1
  plddt: float | None  # 0..100, mean over all residues

  @property
  def lddt_ca(self) -> float:
    """0..1, mean over resolved residues."""
    return float(np.mean(self.residue_lddt))


Predictor = Callable[[Target], Predicted]


def targets(
  training: cache.TrainingCache, spec: training_set.DataSpec, most: int | None = None, longest: float = np.inf
) -> list[Target]:
  """The first chain of each validation cluster, or of the first so many, if it has at most `longest` residues."""
  spec = dataclasses.replace(spec, num_templates=0)  # where there are none a prediction has no slots
  found: dict[str, Target] = {}
  for place, entry in enumerate(training.entries):
    if entry.split == 'validation' and entry.cluster not in found:
      record = training[place]
      found[entry.cluster] = Target(
        id=entry.id,
        place=place,
        sequence=alignment.canonical(record.sequence),
        depth=entry.depth,
        aligned=training_set.whole_chain(record, spec, _MOST_ROWS),
        alone=training_set.whole_chain(record, spec, 1),
      )
  return [target for target in found.values() if len(target.sequence) <= longest][:most]


# --- What predicts ---


def predictors(model: Model, training: cache.TrainingCache) -> dict[str, Predictor]:
  """What is compared, by its name in the tables; the model with its alignments comes first, the copy last."""
  found = {
    'mini, with the alignment if there is one': network(model),
    'mini, sequence alone': network(model, alone=True),
  }
  if model.config.templates is not None:
    found |= {
      'mini, with templates and the alignment if there is one': network(model, templates=training),
      'mini, sequence and templates': network(model, alone=True, templates=training),
    }
  return found | {NEAREST: nearest(training)}


NEAREST = 'nearest training chain by sequence'


def network(model: Model, *, alone: bool = False, templates: cache.TrainingCache | None = None) -> Predictor:
  """A model's own prediction, as a person gets it.

  Args:
    model: the model.
    alone: without the alignment.
    templates: a training set, whose chains are templates.
  """

  def predict(target: Target) -> Predicted:
    batch = target.alone if alone else target.aligned
    if templates is not None:
      shown = homologs.best_templates(templates, target.place, model.config.max_templates)
      batch = dataclasses.replace(batch, templates=shown)
    num_res = next((padded for padded in _PADDED if padded >= len(target.sequence)), None)
    found = afj.predict(model, batch, seed=0, plan=prediction.make_plan(model, batch, num_res=num_res))
    return Predicted(found.atom_positions, found.atom_mask, found.plddt)

  return predict


def kept(predictor: Predictor, folder: Path) -> Predictor:
  """The same, which writes each prediction into a folder and reads what is there already."""

  def predict(target: Target) -> Predicted:
    path = folder / f'{target.id}.npz'
    if path.exists():
      with np.load(path) as arrays:
        return Predicted(arrays['positions'], arrays['mask'], arrays['plddt'] if 'plddt' in arrays else None)
    found = predictor(target)
    arrays = {'positions': found.positions, 'mask': found.mask, 'plddt': found.plddt}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as file:
      np.savez_compressed(file, **{name: array for name, array in arrays.items() if array is not None})
    return found

  return predict


def nearest(training: cache.TrainingCache) -> Predictor:
  """The atoms of the training chain whose sequence aligns best, copied over the alignment."""
  records = [training[place] for place, entry in enumerate(training.entries) if entry.split == 'train']
  sequences = [alignment.canonical(record.sequence) for record in records]

  def predict(target: Target) -> Predicted:
    found = int(np.argmax(alignment.scores(target.sequence, sequences)))
    pairs = alignment.align(target.sequence, sequences[found])
    positions, mask = (np.zeros_like(part) for part in target.true)
    for mine, theirs in pairs.items():
      positions[mine], mask[mine] = records[found].atom_positions[theirs], records[found].atom_mask[theirs]
    return Predicted(positions, mask)

  return predict


def score(target: Target, predicted: Predicted) -> Scored:
  """Scores a prediction; atoms that it lacks count as wrong."""
  true, known = target.true[0][:, _CA], target.true[1][:, _CA]
  ca, there = predicted.positions[:, _CA], predicted.mask[:, _CA]
  resolved = known > 0
  lddt = scores.lddt_ca(np.where(there[:, None] > 0, ca, np.nan), true, known)
  enough = np.sum(there * known) >= 3
  return Scored(
    residue_lddt=lddt[resolved],
    residue_plddt=None if predicted.plddt is None else predicted.plddt[resolved],
    tm=float(scores.tm_score(ca, true, known, there)) if enough else 0.0,
    plddt=None if predicted.plddt is None else float(np.mean(predicted.plddt)),
  )


# --- Tables ---


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
  """A table in Markdown; the first column is words, the others numbers."""
  first, *others = (f'| {" | ".join(map(str, line))} |' for line in (header, *rows))
  return '\n'.join([first, f'|:--{"|--:" * (len(header) - 1)}|', *others])


def score_tables(found: Mapping[str, Sequence[Scored]], chains: Sequence[Target]) -> str:
  """Means over all chains, and over those that have an alignment."""
  aligned = [i for i, target in enumerate(chains) if target.depth > 1]
  tables = []
  for title, chosen in (
    (f'{len(chains)} validation chains', list(range(len(chains)))),
    (f'of these {len(aligned)} that have an alignment', aligned),
  ):
    rows = [[name, *_means([scored[i] for i in chosen])] for name, scored in found.items()] if chosen else []
    tables.append(table([title, 'lDDT-Cα', 'TM-score', 'pLDDT', 'pLDDT and lDDT-Cα, Pearson'], rows))
  return '\n\n'.join(tables)


def _means(some: Sequence[Scored]) -> list[str]:
  lddt, tm = (np.array([getattr(one, key) for one in some]) for key in ('lddt_ca', 'tm'))
  plddt = np.array([one.plddt for one in some if one.plddt is not None])
  confidence = [f'{plddt.mean():.1f}', _pearson(plddt, lddt)] if len(plddt) else ['', '']
  return [f'{lddt.mean():.3f}', f'{tm.mean():.3f}', *confidence]


def _pearson(a: np.ndarray, b: np.ndarray) -> str:
  """'' where there is nothing to correlate."""
  return f'{np.corrcoef(a, b)[0, 1]:.2f}' if len(a) > 2 and min(np.std(a), np.std(b)) > 1e-3 else ''


def group_tables(found: Mapping[str, Sequence[Scored]], chains: Sequence[Target]) -> str:
  """Means over chains of some length, and over those with an alignment of some depth; mini beside the copy."""
  header = ['chains', *(f'{short(name)}: lDDT-Cα' for name in found), *(f'{short(name)}: TM' for name in found)]
  tables = []
  for title, groups, sizes in (
    ('residues', LENGTHS, [len(target.sequence) for target in chains]),
    ('rows of the alignment', DEPTHS, [target.depth for target in chains]),
  ):
    rows = []
    for name, members in grouped(sizes, groups).items():
      means = [
        f'{np.mean([getattr(scored[i], key) for i in members]):.3f}'
        for key in ('lddt_ca', 'tm')
        for scored in found.values()
      ]
      rows.append([name, len(members), *means])
    tables.append(table([title, *header], rows))
  return '\n\n'.join(tables)


def short(name: str) -> str:
  """The name of a predictor for the head of a column."""
  return {NEAREST: 'nearest chain'}.get(name, name.replace(' if there is one', ''))


def grouped(sizes: Sequence[int], groups: Mapping[str, float]) -> dict[str, list[int]]:
  """The numbers of the items of each group that has any; a group ends with its largest size."""
  found: dict[str, list[int]] = {name: [] for name in groups}
  for i, size in enumerate(sizes):
    found[next(name for name, largest in groups.items() if size <= largest)].append(i)
  return {name: members for name, members in found.items() if members}


def confidence_tables(found: Mapping[str, Sequence[Scored]]) -> str:
  """How near pLDDT comes to lDDT-CA, over chains and over residues, and residues by bins of pLDDT."""
  rows, bins = [], []
  for name, scored in found.items():
    if not name.startswith('mini'):
      continue
    of_chains = [(one.plddt, one.lddt_ca) for one in scored]
    known = [one for one in scored if one.residue_plddt is not None]
    of_residues = [np.stack([one.residue_plddt, one.residue_lddt], axis=1) for one in known]
    pairs = {'chains': np.array(of_chains), 'residues': np.concatenate(of_residues)}
    for what, pair in pairs.items():
      plddt, lddt = pair[:, 0], 100 * pair[:, 1]
      error, off = np.mean(plddt - lddt), np.mean(np.abs(plddt - lddt))
      means = (
        f'{plddt.mean():.1f}',
        f'{lddt.mean():.1f}',
        f'{round(error, 1) + 0.0:+.1f}',
        f'{off:.1f}',
        _pearson(plddt, lddt),
      )
      rows.append([f'{name}: {what}', len(pair), *means])
    bins.append([name, *reliability(*pairs['residues'].T)])
  header = ['', 'number', 'mean pLDDT', 'mean 100 lDDT-Cα', 'difference', 'mean absolute difference', 'Pearson']
  spans = [f'pLDDT {low} to {high}' for low, high in zip(_BINS, _BINS[1:])]
  return f'{table(header, rows)}\n\n{table(["mean 100 lDDT-Cα of residues (number)", *spans], bins)}'


def reliability(plddt: np.ndarray, lddt: np.ndarray) -> list[str]:
  """For each bin of pLDDT the mean of 100 lDDT-CA and the number of residues; '' for bins with few."""
  which = np.digitize(plddt, _BINS[1:-1])
  cells = []
  for number in range(len(_BINS) - 1):
    inside = 100 * lddt[which == number]
    cells.append(f'{inside.mean():.0f} ({len(inside):,})' if len(inside) >= _FEWEST else '')
  return cells
