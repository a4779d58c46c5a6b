# SPDX-License-Identifier: Apache-2.0
"""The files of a trimmed prediction: PDB, FASTA, JSON and a picture.

    {name}_trimmed.pdb      all that is kept
    {name}_domain_1.pdb     one for each domain, with its error for Phaser in a remark
    {name}_removed.fasta    sequences of 15 residues or more that were left out
    {name}_trim.png         the picture
    {name}_trim.json        the reasons; written last, so that it stands for all

Nothing is replaced by something else unless that is asked for.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from alphafold_jax import atomic, untrusted
from alphafold_jax.constants import residues
from alphafold_jax.errors import InputError
from alphafold_jax.output import plots
from alphafold_jax.trimming import bfactors, picture
from alphafold_jax.trimming.predicted import MADE
from alphafold_jax.trimming.trimmed import MIN_REMOVED, NONE, TrimmedDomain, TrimmedModel
from alphafold_jax.version import __version__

_MOST_CHAIN_LETTERS = 2  # columns 21 and 22 of a PDB file
_LINE = 60  # letters of FASTA


def write(trimmed: TrimmedModel, folder: str | Path, *, overwrite: bool = False) -> tuple[Path, ...]:
  """Writes all files, each whole or not at all; files that are there with the same content stay.

  Args:
    trimmed: what is written.
    folder: made if missing.
    overwrite: replace files of the same names; those of an earlier trimming under this name that are not made any more
      are removed.

  Returns:
    the files, the JSON last.

  Raises:
    InputError: a file is there with other content, the folder cannot be written, or a chain's name is too long.
    ResourceError: the disk is full.
  """
  folder, texts = atomic.make_folder(folder), contents(trimmed)
  last = folder / f'{trimmed.name}_trim.json'
  gone = [folder / name for name in _listed(last, trimmed.name) if name not in texts and (folder / name).is_file()]
  changed = [path for name, text in texts.items() if (path := folder / name).exists() and not _has(path, text)]
  if (there := changed + [path for path in gone if path.suffix != '.png']) and not overwrite:
    raise InputError(
      f'{there[0]}: is there already, with other content; --overwrite replaces it, or choose another OUT'
    )
  drawn = folder / f'{trimmed.name}_trim.png'
  *first, json_name = texts
  for name in first:
    atomic.write_text(folder / name, texts[name])
  with atomic.replacing(drawn) as file:
    file.write(plots.png(functools.partial(picture.draw, trimmed)))
  atomic.write_text(folder / json_name, texts[json_name])
  for path in gone:
    if path != drawn:
      path.unlink(missing_ok=True)
  return (*(folder / name for name in first), drawn, last)


def contents(trimmed: TrimmedModel) -> dict[str, str]:
  """The texts of all files but the picture, by name; the JSON last."""
  name, kept = trimmed.name, np.concatenate([domain.residues for domain in trimmed.domains])
  texts = {f'{name}_trimmed.pdb': _pdb(trimmed, np.sort(kept))}
  for domain in trimmed.domains:
    remark = f'REMARK PHASER ENSEMBLE MODEL 1 RMS {domain.vrms:.2f}'
    texts[domain_file(trimmed, domain)] = _pdb(trimmed, domain.residues, remark)
  if trimmed.removed:
    texts[f'{name}_removed.fasta'] = _fasta(trimmed)
  texts[f'{name}_trim.json'] = _json(trimmed, list(texts))
  return texts


def domain_file(trimmed: TrimmedModel, domain: TrimmedDomain) -> str:
  """The name of a domain's PDB file."""
  return f'{trimmed.name}_domain_{domain.number}.pdb'


def _has(path: Path, text: str) -> bool:
  try:
    return path.read_bytes() == text.encode(**atomic.TEXT)
  except OSError:
    return False


def _listed(path: Path, name: str) -> list[str]:
  """The files that the JSON of an earlier trimming names, if they can be its own."""
  try:
    files = untrusted.from_json(path.read_text(encoding='utf-8'))['files']
    return [one for one in files if isinstance(one, str) and Path(one).name == one and one.startswith(f'{name}_')]
  except (OSError, ValueError, KeyError, TypeError):
    return []


# ------------------------------------------------------------------------------------------ PDB


def _pdb(trimmed: TrimmedModel, kept: np.ndarray, *remarks: str) -> str:
  """These residues with their names, chains and numbers, and the B-factors that were made."""
  formula = trimmed.settings.b_factors
  lines = [
    *remarks,
    *(f'REMARK   6 {label}' for label in trimmed.model.labels),
    'REMARK   6 Parts of a predicted structure, not observed coordinates.',
    'REMARK   6 B-factors are pLDDT, 0 to 100.' if formula == 'keep' else f'REMARK   6 {MADE} ({formula}).',
  ]
  options = gemmi.PdbWriteOptions(minimal=True)
  options.cryst1_record = False
  options.end_record = True
  options.ter_ignores_type = True
  text = _structure(trimmed, set(kept.tolist())).make_pdb_string(options)
  return ''.join(f'{line.encode("ascii", "replace").decode()}\n' for line in lines) + text


def _structure(trimmed: TrimmedModel, kept: set[int]) -> gemmi.Structure:
  structure, model, start = gemmi.Structure(), gemmi.Model(1), 0
  for chain in trimmed.model.chains:
    if len(chain.id) > _MOST_CHAIN_LETTERS:
      raise InputError(
        f'{trimmed.model.path}: chain {chain.id!r}: a PDB file holds names of {_MOST_CHAIN_LETTERS} letters at most; '
        'rename the chain'
      )
    written = gemmi.Chain(' ' if chain.id == '_' else chain.id)
    for i, letter in enumerate(chain.sequence):
      if start + i in kept:
        b_factor = trimmed.residues[start + i].b_factor or 0.0
        written.add_residue(_residue(letter, chain.numbering[i], chain.atom_positions[i], chain.atom_mask[i], b_factor))
    start += len(chain.sequence)
    if len(written):
      model.add_chain(written)
  structure.add_model(model)
  return structure


def _residue(letter: str, number: str, positions: np.ndarray, mask: np.ndarray, b_factor: float) -> gemmi.Residue:
  residue = gemmi.Residue()
  token = residues.LETTER_TO_TOKEN.get(letter, residues.UNKNOWN)
  residue.name = residues.RESTYPE_1TO3[(*residues.RESTYPES, 'X')[token]]
  residue.seqid = gemmi.SeqId(number)
  for column in np.flatnonzero(mask):
    atom = gemmi.Atom()
    atom.name = residues.ATOM_TYPES[column]
    atom.element = gemmi.Element(atom.name[0])  # C, N, O, S
    atom.pos = gemmi.Position(*map(float, positions[column]))
    atom.occ, atom.b_iso = 1.0, min(b_factor, bfactors.MOST_IN_PDB)
    residue.add_atom(atom)
  return residue


# ------------------------------------------------------------------------------------------ FASTA and JSON


def _fasta(trimmed: TrimmedModel) -> str:
  lines: list[str] = []
  for stretch in trimmed.removed:
    lines.append(f'>{trimmed.name}_{stretch.chain}_{stretch.first}-{stretch.last}')
    lines += [stretch.sequence[i : i + _LINE] for i in range(0, len(stretch.sequence), _LINE)]
  return ''.join(f'{line}\n' for line in lines)


def _json(trimmed: TrimmedModel, files: Sequence[str]) -> str:
  """All that was decided, and by which numbers."""
  settings, name = trimmed.settings, trimmed.name
  content = {
    'program': 'alphafold_jax',
    'version': __version__,
    'structure': trimmed.model.path.name,
    'pae': trimmed.pae_file.name if trimmed.pae_file else None,
    'labels': list(trimmed.model.labels),
    'settings': _settings(trimmed),
    'residues_kept': trimmed.num_kept,
    'domains': [
      {
        'file': domain_file(trimmed, domain),
        'residues': len(domain.residues),
        'ranges': list(map(str, domain.stretches)),
        'mean_plddt': round(domain.mean_plddt, 2),
        'vrms': round(domain.vrms, 3),
      }
      for domain in trimmed.domains
    ],
    'removed': [{'range': str(one), 'sequence': one.sequence} for one in trimmed.removed],
    'notes': list(trimmed.notes),
    'warnings': list(trimmed.model.warnings),
    'files': [*files, f'{name}_trim.png', f'{name}_trim.json'],
    'b_factor_of_files': 'pLDDT' if settings.b_factors == 'keep' else f'Å², at most {bfactors.MOST_IN_PDB}',
  }
  head = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
  return f'{head[:-2]},\n "residues": [\n{_rows(fate._asdict() for fate in trimmed.residues)}\n ]\n}}\n'


def _rows(rows: Iterable[dict[str, Any]]) -> str:
  """One line for each residue."""
  return ',\n'.join(f'  {json.dumps(row, ensure_ascii=False, allow_nan=False)}' for row in rows)


def _settings(trimmed: TrimmedModel) -> dict[str, Any]:
  """Every number that decided something, with where it is from."""
  settings, rules = trimmed.settings, trimmed.settings.rules
  chosen: dict[str, Any] = {
    'min_plddt': float(settings.min_plddt),
    'b_factors': settings.b_factors,
    'domains': settings.domains,
    'max_domains': settings.max_domains,
    'min_fragment': rules.min_fragment,
    'min_domain': rules.min_domain,
    'min_removed': MIN_REMOVED,
    'source': rules.source,
  }
  if trimmed.pae is not None and settings.domains != NONE:
    graph = {'pae_cutoff': rules.cutoff, 'pae_power': rules.power, 'resolution': rules.resolution}
    chosen |= graph | {'pae_of_a_pair': 'mean of both directions, at least 0.2 Å'}
  return chosen
