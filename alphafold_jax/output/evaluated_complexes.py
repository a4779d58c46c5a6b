# SPDX-License-Identifier: Apache-2.0
"""What an evaluation says of complexes: which chain stands for which, and the interfaces one by one.

    evaluation_interfaces.csv   one row for each interface of each complex

Targets are those of `alphafold_jax.evaluation`; those of a single chain are passed over.
"""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from alphafold_jax.naming import listed, pair_name
from alphafold_jax.output.tables import aligned, csv_text, decimals
from alphafold_jax.screen import number

INTERFACES = 'evaluation_interfaces.csv'
_WHICH = ('target', 'rank')
_CHAINS = ('chains', 'predicted_chains')
_VALUES = ('contacts', 'fnat', 'irmsd', 'lrmsd', 'dockq', 'quality', 'lddt')
_TITLES = ('interface', 'in the prediction', 'contacts', 'fnat', 'iRMSD (Å)', 'LRMSD (Å)', 'DockQ', 'quality', 'lDDT')
_PLACES = {'fnat': 3, 'irmsd': 2, 'lrmsd': 2, 'dockq': 3, 'lddt': 3}  # decimals on the terminal
_QUALITIES = ('high', 'medium', 'acceptable', 'incorrect', 'missing')
_MAX_ROWS = 20  # of a table on the terminal


def complexes(targets: Iterable[Any]) -> list[Any]:
  """The targets with several chains."""
  return [one for one in targets if one.complex is not None]


def interfaces_csv(targets: Iterable[Any]) -> str:
  """One row for each interface of the references, those that a prediction lacks included."""
  rows = [
    {'target': target.id, 'rank': target.rank, **row, **{name: _joined(row[name]) for name in _CHAINS}}
    for target in complexes(targets)
    for row in _rows(target)
  ]
  return csv_text((*_WHICH, *_CHAINS, *_VALUES), rows)


def as_content(target: Any) -> dict[str, Any]:
  """A complex for the JSON file."""
  one = target.complex
  return {
    'target': target.id,
    'rank': target.rank,
    'partners': one.partners,
    'reference_chains_without_partner': list(one.missing),
    'prediction_chains_without_partner': list(one.extra),
    'interfaces': list(_rows(target)),
  }


def partner_lines(targets: Iterable[Any]) -> list[str]:
  """The chains without a partner, for the terminal."""
  lines = []
  for target in complexes(targets):
    for chains, file, other in (
      (target.complex.missing, target.reference, 'prediction'),
      (target.complex.extra, target.prediction, 'reference'),
    ):
      if chains:
        verb = 'has' if len(chains) == 1 else 'have'
        which = f'{number(len(chains), "chain")} of {file.name} ({listed(chains, 10)})'
        lines.append(f'{_name(target)}: {which} {verb} no partner in the {other}')
  if len(lines) > _MAX_ROWS:
    lines[_MAX_ROWS:] = [f'and {len(lines) - _MAX_ROWS} more']
  return ['Left out of all scores:', *lines] if lines else []


def interface_lines(targets: Iterable[Any]) -> list[str]:
  """The interfaces as a table for the terminal, or how many are of which quality where they are too many."""
  shown = complexes(targets)
  rows = [(target, row) for target in shown for row in _rows(target)]
  if not rows:
    return []
  if len(rows) > _MAX_ROWS:
    found = collections.Counter(row['quality'] for _, row in rows)
    return [f'{len(rows):,} interfaces: {", ".join(f"{found[name]:,} {name}" for name in _QUALITIES if found[name])}']
  lines = []
  for target, row in rows:
    name = _joined(row['chains']) if len(shown) == 1 else f'{_name(target)} {_joined(row["chains"])}'
    lines.append([name, _joined(row['predicted_chains']) or '-', *(_shown(row, value) for value in _VALUES)])
  return aligned([_TITLES, *lines])


def _rows(target: Any) -> Iterator[dict[str, Any]]:
  """The interfaces of a complex: their chains and their values."""
  for one in target.complex.interfaces:
    found = one.dockq
    values = (found.contacts, found.fnat, found.irmsd, found.lrmsd, found.score, found.quality, one.lddt)
    yield {'chains': one.chains, 'predicted_chains': one.predicted_chains, **dict(zip(_VALUES, values, strict=True))}
  for chains in target.complex.missing_interfaces:
    yield {'chains': chains, 'predicted_chains': None, **dict.fromkeys(_VALUES), 'quality': 'missing'}


def _joined(chains: Sequence[str] | None) -> str:
  return '' if chains is None else pair_name(*chains)


def _shown(row: dict[str, Any], name: str) -> str:
  value = row[name]
  return decimals(value, _PLACES[name]) if name in _PLACES else '-' if value is None else str(value)


def _name(target: Any) -> str:
  return target.id if target.rank is None else f'{target.id} rank {target.rank}'
