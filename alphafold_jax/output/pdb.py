# SPDX-License-Identifier: Apache-2.0
"""The PDB format, version 3.3: one model, pLDDT in the B-factor column, SEQRES with UNK for unknown residues.

Columns are fixed, so there are predictions this format cannot hold; they are refused rather than bent.
"""

import string
import textwrap
from collections.abc import Iterator, Sequence

from alphafold_jax import errors
from alphafold_jax.output import record
from alphafold_jax.output.record import PredictionRecord, Residue

CHAIN_IDS = string.ascii_uppercase + string.ascii_lowercase + string.digits
MAX_SERIAL = 99_999
MAX_RESIDUE_NUMBER = 9_999
COORDINATE_RANGE = (-999.9995, 9999.9995)  # Å, what '%8.3f' keeps within its column
REMARK_NUMBER = 6  # 6 to 99 hold free text
REMEDY = 'PDB columns cannot hold it; write mmCIF instead'


def to_pdb(prediction: PredictionRecord) -> str:
  """The prediction as the text of a PDB file, its notes as remarks.

  Raises:
    InputError: it does not fit the format's columns.
    NumericalError: it holds NaN or infinity.
  """
  chains, ids = record.chains(prediction), _chain_ids(prediction)
  _check_fits(chains, ids)
  lines = [*_remarks((*prediction.notes, 'Predicted structure; the B-factor column holds pLDDT, 0 to 100.'))]
  for chain_id, chain in zip(ids, chains):
    lines += _seqres(chain_id, chain)
  lines += ['MODEL        1', *_coordinates(chains, ids), 'ENDMDL', 'END']
  return ''.join(f'{line:<80}\n' for line in lines)


def _chain_ids(prediction: PredictionRecord) -> Sequence[str]:
  """The names that chains were given, which must be letters or digits; those without are named in the PDB's order."""
  names = prediction.chain_names
  if not names or names == tuple(map(record.chain_name, range(len(names)))):
    return CHAIN_IDS
  if longer := [name for name in names if len(name) != 1 or name not in CHAIN_IDS]:
    raise errors.InputError(f'chain {longer[0]!r}: its name is not one letter or digit: {REMEDY}')
  return names


def _check_fits(chains: list[list[Residue]], ids: Sequence[str]) -> None:
  """Refuses what would break a column."""
  if len(chains) > len(ids):
    raise errors.InputError(f'{len(chains)} chains are more than {len(ids)}: {REMEDY}')
  records = sum(len(residue.atoms) for chain in chains for residue in chain) + len(chains)
  if records > MAX_SERIAL:
    raise errors.InputError(f'{records} atoms and chain ends are more than {MAX_SERIAL}: {REMEDY}')
  low, high = COORDINATE_RANGE
  for chain_id, chain in zip(ids, chains):
    for residue in chain:
      if residue.number > MAX_RESIDUE_NUMBER or len(chain) > MAX_RESIDUE_NUMBER:
        raise errors.InputError(
          f'chain {chain_id}: residue {residue.number} of {len(chain)} is beyond {MAX_RESIDUE_NUMBER}: {REMEDY}'
        )
      for atom in residue.atoms:
        if not all(low < x < high for x in atom.position):
          raise errors.InputError(
            f'chain {chain_id} residue {residue.number} atom {atom.name}: coordinate '
            f'{max(atom.position, key=abs):.3f} Å: {REMEDY}'
          )


def _remarks(texts: Sequence[str]) -> Iterator[str]:
  for text in texts:
    ascii_text = text.encode('ascii', 'replace').decode()
    for line in textwrap.wrap(ascii_text, 68):
      yield f'REMARK {REMARK_NUMBER:>3} {line}'


def _seqres(chain_id: str, chain: list[Residue]) -> Iterator[str]:
  """The whole sequence, 13 residues to a line."""
  for row, start in enumerate(range(0, len(chain), 13)):
    names = ' '.join(residue.name for residue in chain[start : start + 13])
    yield f'SEQRES{(row + 1) % 1000:>4} {chain_id}{len(chain):>5}  {names}'


def _coordinates(chains: list[list[Residue]], ids: Sequence[str]) -> Iterator[str]:
  """ATOM records, and TER at the end of each chain."""
  serial = 0
  for chain_id, chain in zip(ids, chains):
    last = None
    for residue in chain:
      place = f'{residue.name:>3} {chain_id}{residue.number:>4}'
      for atom in residue.atoms:
        serial += 1
        name = atom.name if len(atom.name) == 4 else f' {atom.name:<3}'
        x, y, z = atom.position
        yield (
          f'ATOM  {serial:>5} {name} {place}    {x:8.3f}{y:8.3f}{z:8.3f}'
          f'  1.00{residue.plddt:6.2f}          {atom.element:>2}'
        )
        last = place
    if last is not None:
      serial += 1
      yield f'TER   {serial:>5}      {last}'
