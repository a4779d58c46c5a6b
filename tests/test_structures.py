# SPDX-License-Identifier: Apache-2.0
"""Structure files as other programs write them: every atom is placed, or named as left out.

Files are made of the first 60 residues of human Ras (1ctq), which has all residues that programs rename. Biopython and
gemmi read them independently.
"""

import functools
import logging
import re
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.PDB import MMCIFParser

from alphafold_jax import evaluation
from alphafold_jax.constants import residues
from alphafold_jax.data import structures
from alphafold_jax.data.records import read_text
from alphafold_jax.data.residue_groups import decoded
from alphafold_jax.data.structures import Chain, StructureContent, read_chains, read_structure
from alphafold_jax.data.training import cache
from alphafold_jax.data.training.cache_building import build_cache
from alphafold_jax.evaluation import finding, scoring

DATA = Path(__file__).parent / 'data'
FILES = sorted(DATA.rglob('*.cif.gz'))
LENGTH = 60
WATER = 'HETATM 9000  O   HOH A{:>4}    {:8.3f}   0.000   0.000  1.00 20.00           O'


@functools.cache
def lines() -> tuple[str, ...]:
  """The ATOM lines of the first residues, by gemmi."""
  text = gemmi.read_structure(str(DATA / '1ctq_A.cif.gz')).make_pdb_string()
  found = [line for line in text.splitlines() if line.startswith('ATOM')]
  return tuple(line for line in found if number(line) <= LENGTH)


def number(line: str) -> int:
  return int(line[22:26])


def lines_of(place: int, shift: float) -> list[str]:
  return [moved(line, shift) for line in lines() if number(line) == place]


def atom(line: str) -> str:
  return line[12:16].strip()


def residue(line: str) -> str:
  return line[17:20]


def put(line: str, start: int, text: str) -> str:
  """A line with other columns from `start`, which counts from 1."""
  return line[: start - 1] + text + line[start - 1 + len(text) :]


def moved(line: str, distance: float) -> str:
  return put(line, 31, f'{float(line[30:38]) + distance:8.3f}')


def each(change: Callable[[str], str]) -> list[str]:
  return [change(line) for line in lines()]


@pytest.fixture
def read(tmp_path):
  def read(content: list[str], name: str = 'x.pdb') -> StructureContent:
    path = tmp_path / name
    path.write_text('\n'.join(content) + '\n')
    return read_structure(path)

  return read


@pytest.fixture(scope='module')
def plain(tmp_path_factory) -> Chain:
  path = tmp_path_factory.mktemp('plain') / 'x.pdb'
  path.write_text('\n'.join(lines()))
  return read_chains(path)['A']


def assert_same(chain: Chain, other: Chain) -> None:
  """Equal but for names and numbers, and for OXT, which other programs add."""
  assert chain.sequence == other.sequence
  np.testing.assert_array_equal(chain.atom_mask[:, :-1], other.atom_mask[:, :-1])
  np.testing.assert_array_equal(chain.atom_positions[:, :-1], other.atom_positions[:, :-1])


def placed(content: StructureContent) -> int:
  return sum(int(chain.atom_mask.sum()) for chain in content.chains.values())


# Independent readers


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name.split('.')[0])
def test_atoms_in_are_atoms_placed_and_atoms_left_out(path):
  content = read_structure(path)
  assert content.num_atoms == len(re.findall(r'^(?:ATOM|HETATM) ', read_text(path), re.MULTILINE))
  assert content.num_atoms == placed(content) + sum(content.left_out.values())


@pytest.mark.parametrize(
  'path',
  [
    pytest.param(path, id=path.name.split('.')[0], marks=[pytest.mark.slow] if path.stat().st_size > 30_000 else [])
    for path in FILES
  ],
)
def test_biopython_reads_the_same_coordinates(path, tmp_path):
  text = tmp_path / 'x.cif'
  text.write_text(read_text(path))
  model = MMCIFParser(QUIET=True).get_structure('', text)[0]
  for name, chain in read_chains(path).items():
    ours = {
      place: {tuple(xyz) for xyz in positions[mask > 0]}
      for place, positions, mask in zip(chain.numbering, chain.atom_positions, chain.atom_mask, strict=True)
      if place
    }
    theirs = {
      f'{key[1]}{key[2].strip()}': {tuple(one.coord) for one in group if one.element != 'H'}
      for group in model[name]
      if (key := group.id)[0] in (' ', 'H_MSE')
    }
    assert ours == theirs


def test_gemmi_writes_what_is_read_back(tmp_path):
  for path in FILES[:2]:
    gemmi.read_structure(str(path)).write_pdb(str(tmp_path / 'x.pdb'))
    ours, own = read_chains(tmp_path / 'x.pdb'), read_chains(path)
    for name, chain in own.items():
      resolved = [i for i, place in enumerate(chain.numbering) if place]
      assert ours[name].sequence == ''.join(chain.sequence[i] for i in resolved)
      np.testing.assert_array_equal(ours[name].atom_mask, chain.atom_mask[resolved])
      np.testing.assert_allclose(ours[name].atom_positions, chain.atom_positions[resolved], atol=6e-4)


# Names of residues

RENAMED = {
  'HIS': 'HIE HID HIP HSD HSE HSP HISE H2S'.split(),
  'CYS': ['CYX', 'CYM', 'CYT', 'CYSS'],
  'ASP': ['ASH', 'ASPP', 'ASP-'],
  'GLU': ['GLH', 'GLUP', 'GLU-'],
  'LYS': ['LYN', 'LSN', 'LYS+'],
  'ARG': ['ARN', 'AR0', 'ARG+'],
  'TYR': ['TYM'],
  'ASN': ['ASN', 'NLN'],
  'SER': ['SER', 'OLS'],
  'THR': ['THR', 'OLT'],
}


def renamed(round_: int) -> list[str]:
  """Each residue that programs rename under one of its names."""

  def other(line: str) -> str:
    names = RENAMED.get(residue(line), [residue(line)])
    return put(line, 18, f'{names[round_ % len(names)]:>3}'.ljust(4))

  return each(other)


@pytest.mark.parametrize('round_', range(8))
def test_names_of_force_fields_are_the_residues_that_they_name(read, plain, round_):
  content = read(renamed(round_))
  assert_same(content.chains['A'], plain)
  assert f'{RENAMED["HIS"][round_]} as HIS (1 residue)' in content.notes[0] and not content.warnings


def test_ends_of_chains_in_amber_are_residues(read, plain):
  ends = {1: 'N', LENGTH: 'C'}
  content = read(each(lambda line: put(line, 18, ends.get(number(line), '') + residue(line))))
  assert_same(content.chains['A'], plain)
  assert content.notes == ('chain A: read NMET as MET (1 residue), CGLY as GLY (1 residue)',)


def test_the_component_dictionarys_homoserine_is_no_histidine(read):
  content = read(
    [put(put(line, 18, 'HSE'), 13, ' OD ' if atom(line) == 'OG' else line[12:16]) for line in lines()[:60]]
  )
  assert content.chains['A'].sequence[1] == 'H'
  serine = [line for line in lines() if residue(line) == 'SER']
  homoserine = [put(put(line, 18, 'HSE'), 13, ' OD ' if atom(line) == 'OG' else line[12:16]) for line in serine]
  assert set(read(homoserine).chains['A'].sequence) == {'S'}


@pytest.mark.parametrize('record', ['ATOM  ', 'HETATM'])
def test_a_residue_of_unknown_name_is_unknown_and_stays(read, plain, record):
  at = (1, 30, LENGTH)  # at both ends too, where the bond tells
  content = read(
    each(lambda line: put(put(line, 1, record), 18, 'XYZ') if number(line) in at else line),
  )
  chain = content.chains['A']
  assert [i + 1 for i, letter in enumerate(chain.sequence) if letter == 'X'] == list(at)
  np.testing.assert_array_equal(chain.atom_positions, plain.atom_positions)
  assert content.warnings == ('chain A: read as unknown (X): XYZ (3 residues)',)


def test_atoms_that_a_modification_adds_are_named(read, plain):
  serines = [put(line, 18, 'SEP') if residue(line) == 'SER' else line for line in lines()]
  phosphorus = [put(line, 13, ' P  ') for line in serines if residue(line) == 'SEP' and atom(line) == 'OG']
  content = read(serines + phosphorus)
  assert_same(content.chains['A'], plain)
  assert content.notes[0] == 'left out: 2 atoms of names that no amino acid has (SEP P 2 atoms)'
  assert content.warnings == ()  # but in a residue that should not have it:
  assert 'GLY P 1 atom' in read([*lines(), put(lines()[-1], 13, ' P  ')]).warnings[0]


# Names of atoms


@pytest.mark.parametrize('names', [('OT1', 'OT2'), ('O1', 'O2'), ('OC1', 'OC2'), ("O'", "O''"), ('O', 'OXT')])
def test_oxygens_of_the_last_residue_have_many_names(read, plain, names):
  last = next(i for i, line in enumerate(lines()) if number(line) == LENGTH and atom(line) == 'O')
  changed = list(lines())
  changed[last] = put(changed[last], 13, f' {names[0]:<3}')
  chain = read([*changed, put(moved(changed[last], 2), 13, f' {names[1]:<3}')]).chains['A']
  assert_same(chain, plain)
  assert chain.atom_mask[-1, residues.ATOM_INDEX['OXT']] == 1


CHANGED = {
  'CD of isoleucine': lambda line: put(line, 13, ' CD ') if atom(line) == 'CD1' and residue(line) == 'ILE' else line,
  'lower case': lambda line: line[:21].lower() + line[21] + line[22:].lower(),
  'names at the left': lambda line: put(line, 13, f'{atom(line):<4}'),
  'names at the right': lambda line: put(line, 13, f'{atom(line):>4}'),
  'lines cut after the coordinates': lambda line: line[:54],
  'no occupancy': lambda line: put(line, 55, ' ' * 12),
  'carriage returns': lambda line: line + '\r',
  'all HETATM': lambda line: put(line, 1, 'HETATM'),
  'negative numbers': lambda line: put(line, 23, f'{number(line) - 30:>4}'),
  'overflowing numbers': lambda line: put(line, 23, '****'),
  'numbers of five digits': lambda line: put(line, 23, f'{number(line) + 12000}'),
  'numbers that begin again at 10,000': lambda line: put(line, 23, f'{(number(line) + 9970) % 10000:>4}'),
  'hybrid-36': lambda line: put(line, 23, f'{n:>4}' if (n := number(line) + 9970) < 10000 else f'A0{n - 10000:02d}'),
  'hexadecimal': lambda line: put(line, 23, f'{n:>4}' if (n := number(line) + 9970) < 10000 else f'{n:04x}'),
  'overflowing serial numbers': lambda line: put(line, 7, '*****'),
  'serial numbers of six digits': lambda line: line[:6] + '100001' + line[11:],
  'insertion codes': lambda line: put(line, 23, f'  20{chr(45 + number(line))}') if 20 < number(line) < 40 else line,
}


@pytest.mark.parametrize('change', CHANGED.values(), ids=CHANGED)
def test_the_same_atoms_in_another_manner_are_the_same_chain(read, plain, change):
  content = read(each(change))
  assert_same(content.chains['A'], plain)
  assert not content.left_out and not content.warnings


def test_numbers_are_decimal_hybrid_or_hexadecimal():
  numbers = {'-12': -12, '9999': 9999, 'A000': 10000, 'ZZZZ': 1223055, 'a000': 1223056, '271A': 10010, '****': None}
  assert {text: decoded(text) for text in [*numbers, '']} == {**numbers, '': None}


def test_hydrogens_and_deuterium_are_left_out_and_counted(read, plain):
  added = [
    put(put(line, 13, name), 77, ' H')
    for line in lines()
    if atom(line) == 'CA'
    for name in (' HA ', '1HB ', ' D  ', 'HD11')
  ]
  content = read([*lines(), *added])
  assert_same(content.chains['A'], plain)
  assert content.notes == (f'left out: {4 * LENGTH} hydrogens',) and content.warnings == ()


# What is no part of a chain

GLUTAMATE = [put(put(moved(line, 90), 1, 'HETATM'), 23, ' 500') for line in lines() if number(line) == 3]
WATERS = [WATER.format(i, i) for i in range(1, 20)]
BESIDE = {
  'waters numbered from 1': WATERS,
  'waters behind TER': ['TER', *WATERS, 'END'],
  'waters with hybrid-36 numbers': ['TER', *(put(line, 23, f'A0{i:02d}') for i, line in enumerate(WATERS))],
  'waters without numbers': ['TER', *(put(line, 23, '****') for line in WATERS)],
  'waters of CHARMM': [put(line, 18, 'TIP3') for line in WATERS],
  'a free amino acid behind TER': ['TER', *GLUTAMATE],
  'a free amino acid': GLUTAMATE,
  'a free amino acid of a number that is taken': [put(line, 23, '   3') for line in GLUTAMATE],
  'a free amino acid of its own chain': ['TER', *(put(line, 22, 'B') for line in GLUTAMATE)],
  'a ligand with N, CA and C': ['TER', *(put(line, 18, 'XYZ') for line in GLUTAMATE)],
  'calcium': [put(put(put(WATERS[0], 13, 'CA  '), 18, ' CA'), 77, 'CA')],
}


@pytest.mark.parametrize('beside', BESIDE.values(), ids=BESIDE)
def test_waters_ions_and_ligands_are_no_residues_and_no_chains(read, plain, beside):
  content = read([*lines(), *beside])
  assert list(content.chains) == ['A'] and content.warnings == ()
  assert_same(content.chains['A'], plain)
  assert content.notes[0].startswith('left out: ')
  assert content.num_atoms == placed(content) + sum(content.left_out.values())


def test_what_is_left_out_is_said_in_one_line(read):
  ligand = [put(put(line, 13, f' O{i} '), 18, 'SO4') for i, line in enumerate(GLUTAMATE[:5])]
  content = read([*lines(), *WATERS, *ligand])
  assert content.notes == ('left out: 19 waters, 1 ligand (SO4 5 atoms)',)
  with pytest.raises(structures.InputError, match='no protein chain; the file holds 19 waters'):
    read(WATERS)


def test_only_the_first_model_counts_and_atoms_behind_end_are_warned_of(read, plain):
  again = each(lambda line: moved(line, 1))
  models = read(['MODEL        1', *lines(), 'ENDMDL', 'MODEL        1', *again, 'ENDMDL'])
  behind = read([*lines(), 'END', *again])
  assert_same(models.chains['A'], plain)
  assert_same(behind.chains['A'], plain)
  assert models.left_out == {'other model': len(lines())} and models.warnings == ()
  assert behind.warnings == (f'left out: {len(lines()):,} atoms behind the line END',)


def test_alternatives_in_blocks_are_one_chain(read, plain):
  first = each(lambda line: put(line, 17, 'A') if number(line) > 40 else line)
  second = [put(put(moved(line, 1), 17, 'B'), 55, '  0.00') for line in lines() if number(line) > 40]
  content = read(first + second)
  assert_same(content.chains['A'], plain)
  assert content.left_out == {'alternative': len(second)}


def test_of_alternative_residues_the_one_of_highest_occupancy_is_taken(read, plain):
  """Not the one of most atoms: glycine beside the larger residue that is there less often."""
  at = plain.sequence.index('H') + 1
  larger = each(lambda line: put(put(line, 17, 'B'), 55, '  0.40') if number(line) == at else line)
  smaller = [
    put(put(put(line, 17, 'A'), 18, 'GLY'), 55, '  0.60')
    for line in lines()
    if number(line) == at and atom(line) in ('N', 'CA', 'C', 'O')
  ]
  content = read(larger + smaller)
  assert content.chains['A'].sequence == plain.sequence.replace('H', 'G')
  assert content.left_out == {'alternative': 10}


# Where chains end

COPY = each(lambda line: moved(line, 60))
GLUED = {
  'TER': [*lines(), 'TER', *COPY],
  'numbers from 1 again': [*lines(), *COPY],
  'numbers that fall': [*each(lambda line: put(line, 23, f'{number(line) + 300:>4}')), *COPY],
  'segment names': [
    *each(lambda line: put(line, 73, 'PROA')),
    *(put(put(line, 73, 'PROB'), 23, f'{number(line) + LENGTH:>4}') for line in COPY),
  ],
}


@pytest.mark.parametrize(
  ('glued', 'name'), [(glued, name) for glued in GLUED for name in ' A' if name == ' ' or glued != 'segment names']
)
def test_two_proteins_under_one_name_are_two_chains(read, plain, glued, name):
  content = read([line if line == 'TER' else put(line, 22, name) for line in GLUED[glued]])
  first = name.strip() or '_'
  assert list(content.chains) == [first, f'{first}2']
  for chain in content.chains.values():
    assert chain.sequence == plain.sequence
  assert content.warnings[0].startswith(f'chain {first}2: the file has several chains under the name {first};')


@pytest.mark.parametrize('end', [[], ['TER']])
def test_modified_residues_at_the_files_end_stand_where_they_are_bonded(read, plain, end):
  """Some programs write all ATOM records first, and HETATM of the same chain behind them."""
  late = (1, 30, 31)
  modified = [put(line, 1, 'HETATM') for line in lines() if number(line) in late]
  content = read([*(line for line in lines() if number(line) not in late), *end, *modified, *WATERS])
  assert_same(content.chains['A'], plain)
  assert list(content.chains) == ['A'] and content.warnings == ()
  assert content.chains['A'].numbering == plain.numbering


def test_a_chain_ends_behind_its_last_oxygen(read, plain):
  """Numbers go on in the second protein, as in files of molecular dynamics."""
  last = next(line for line in lines() if number(line) == LENGTH and atom(line) == 'O')
  second = [put(line, 23, f'{number(line) + LENGTH:>4}') for line in COPY]
  glued = [*lines(), put(moved(last, 2), 13, ' OXT'), *second]
  assert list(read(glued).chains) == ['A', 'A2'] and list(read([*lines(), *second]).chains) == ['A']


def test_an_atom_that_is_written_twice_begins_no_residue(read, plain):
  content = read([copy for line in lines() for copy in (line, moved(line, 0.5))])
  assert_same(content.chains['A'], plain)
  again = read([line for place in range(1, LENGTH + 1) for shift in (0, 0.5) for line in lines_of(place, shift)])
  assert_same(again.chains['A'], plain)
  assert content.left_out == again.left_out == {'alternative': len(lines())}


def test_an_interrupted_chain_is_one_chain_and_its_name_stays_free(read):
  gap = [line for line in lines() if not 20 <= number(line) <= 25]
  assert list(read(gap).chains) == ['A']
  interleaved = [*gap[:200], *(put(line, 22, 'B') for line in COPY), 'TER', *gap[200:]]
  assert list(read(interleaved).chains) == ['A', 'B']
  three = [*lines(), 'TER', *COPY, 'TER', *(put(moved(line, 120), 22, 'B') for line in lines())]
  assert list(read(three).chains) == ['A', 'A2', 'B']
  blank = [*each(lambda line: put(line, 22, ' ')), 'TER', *(put(line, 22, '_') for line in COPY)]
  assert list(read(blank).chains) == ['_', '_2']


def test_a_single_residue_without_an_amino_acids_name_is_a_ligand(read, plain):
  """Though it has N, CA and C, and a chain of its own, as docking programs write it."""
  ligand = [put(put(line, 18, 'LIG'), 22, 'L') for line in COPY if number(line) == 5]
  content = read([*lines(), 'TER', *ligand])
  assert list(content.chains) == ['A'] and content.left_out == {'ligand': len(ligand)}
  assert content.warnings == (f'left out: 1 ligand (LIG {len(ligand)} atoms)',)


def test_names_of_chains_may_have_two_letters(read):
  two = [*each(lambda line: put(line, 21, 'AB')), *(put(line, 21, 'BB') for line in COPY)]
  assert list(read(two).chains) == ['AB', 'BB']


def test_names_of_lipids_are_no_chains_of_two_letters(read, plain):
  """DPP is an amino acid; but NALA and TIP3 show that column 21 belongs to the name."""
  ends = each(
    lambda line: put(put(line, 22, ' '), 18, f'N{residue(line)}' if residue(line) == 'ALA' else residue(line))
  )
  others = [put(put(WATER.format(1, 90.0), 18, name), 14, 'X  ') for name in ('DPPC ', 'TIP3 ')]
  content = read([*ends, *others])
  assert_same(content.chains['_'], plain)
  assert content.left_out == {'ion': 1, 'water': 1}


# mmCIF

ATOM_SITE = (
  'group_PDB label_atom_id label_comp_id auth_asym_id auth_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy '
  'B_iso_or_equiv label_asym_id label_entity_id label_seq_id'
).split()


def mmcif(*, declared: bool, label: str = '{}', asym: str = 'A', shift: int = 0) -> list[str]:
  """The same atoms as mmCIF; `label` is written as label_seq_id, `shift` moves the authors' numbers."""
  rows = ['data_x', 'loop_', *(f'_atom_site.{item}' for item in ATOM_SITE)]
  for line in lines():
    xyz = ' '.join(line[start : start + 8] for start in (30, 38, 46))
    rows.append(
      f'ATOM {atom(line)} {residue(line)} A {number(line) + shift} ? {xyz} 1.0 {line[60:66]} {asym} 1 '
      f'{label.format(number(line))}'
    )
  names = {number(line): residue(line) for line in lines()}
  sequence = [f'1 {place} {name}' for place, name in names.items()] + [f'1 {LENGTH + 1} GLN']  # not observed
  poly = ['loop_', *(f'_entity_poly_seq.{item}' for item in ('entity_id', 'num', 'mon_id')), *sequence]
  return [*rows, *poly, 'loop_', '_struct_asym.id', '_struct_asym.entity_id', 'A 1'] if declared else rows


@pytest.mark.parametrize('shift', [0, 1000])
@pytest.mark.parametrize('label', ['{}', '.', '?'])
def test_atoms_without_label_seq_id_stay_on_the_declared_sequence(read, plain, label, shift):
  chain = read(mmcif(declared=True, label=label, shift=shift), 'x.cif').chains['A']
  assert chain.sequence == plain.sequence + 'Q' and chain.numbering[-1] == ''
  np.testing.assert_array_equal(chain.atom_positions[:-1], plain.atom_positions)
  assert chain.numbering[0] == str(1 + shift)


@pytest.mark.parametrize('asym', ['A', '.', '?'])
def test_an_mmcif_without_a_sequence_or_asym_ids_has_the_observed_residues(read, plain, asym):
  assert_same(read(mmcif(declared=False, label='.', asym=asym), 'x.cif').chains['A'], plain)


def test_what_was_observed_goes_before_what_was_declared(read, plain):
  content = read([row.replace(' HIS A', ' HIE A').replace(' CYS A', ' MET A') for row in mmcif(declared=True)], 'x.cif')
  chain = content.chains['A']
  assert chain.sequence == plain.sequence.replace('C', 'M') + 'Q'
  np.testing.assert_array_equal(chain.atom_mask[:-1], plain.atom_mask)
  assert content.warnings == (
    'chain A: declared HIS but observed HIE at 27',
    'chain A: declared CYS but observed MET at 51',
  )


def test_a_declared_residue_stays_without_a_backbone_of_its_own(read, plain):
  """As the chromophore CRO of fluorescent proteins, whose backbone atoms are numbered."""
  rows = mmcif(declared=True)
  content = read(
    [re.sub(r'ATOM (N|CA|C) HIS', r'HETATM \g<1>1 CRO', row).replace('HIS', 'CRO') for row in rows], 'x.cif'
  )
  chain, at = content.chains['A'], plain.sequence.index('H')
  assert chain.sequence == plain.sequence.replace('H', 'X') + 'Q'
  np.testing.assert_array_equal(chain.atom_mask[at, 3:], plain.atom_mask[at, 3:])
  assert content.left_out == {'unknown name': 3}


def test_labels_that_lead_to_other_residues_are_not_believed(read, plain):
  """They count from the first observed residue, where the sequence begins with a tag."""
  rows = [re.sub(r'^1 (\d+) (\w{3})$', lambda m: f'1 {int(m[1]) + 7} {m[2]}', row) for row in mmcif(declared=True)]
  start = next(i for i, row in enumerate(rows) if re.match(r'1 8 ', row))
  content = read([*rows[:start], *(f'1 {i} GLY' for i in range(1, 8)), *rows[start:]], 'x.cif')
  chain = content.chains['A']
  assert chain.sequence == 7 * 'G' + plain.sequence + 'Q' and content.warnings == ()
  np.testing.assert_array_equal(chain.atom_positions[7:-1], plain.atom_positions)


def test_many_differences_from_the_declared_sequence_are_counted(read, plain):
  rows = [re.sub(r'^(1 \d+) \w{3}$', r'\1 UNK', row) for row in mmcif(declared=True)]
  content = read(rows, 'x.cif')
  assert content.chains['A'].sequence == plain.sequence + 'X'
  assert len(content.warnings) == 6 and 'differences from the declared sequence, at' in content.warnings[-1]


def test_atoms_of_other_data_blocks_are_counted(read, plain):
  rows = mmcif(declared=False)
  content = read([*rows, 'data_y', *rows[1:]], 'x.cif')
  assert_same(content.chains['A'], plain)
  assert content.warnings == (f'left out: {len(lines())} atoms of other data blocks',)
  assert content.num_atoms == 2 * len(lines())


def test_a_declared_sequence_of_another_protein_is_not_used(read, plain):
  rows = [re.sub(r'^(1 \d+) \w{3}$', r'\1 TRP', row) for row in mmcif(declared=True, label='.')]
  content = read(rows, 'x.cif')
  assert_same(content.chains['A'], plain)
  assert 'the declared sequence does not fit' in content.warnings[0]


# Readers


def test_what_was_read_otherwise_is_logged_once(tmp_path, caplog):
  path = tmp_path / 'x.pdb'
  path.write_text('\n'.join([*renamed(0), 'TER', *COPY, *WATERS]))
  with caplog.at_level(logging.INFO):
    read_chains(path)
    read_chains(path)
  levels = [record.levelname for record in caplog.records]
  assert levels == ['WARNING', 'INFO', 'INFO'] and f'{path}: left out: 19 waters' in caplog.text


@pytest.mark.slow
def test_identical_coordinates_score_one_whatever_the_residues_are_called(tmp_path):
  for name, content in (('a', lines()), ('b', renamed(1))):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'x.pdb').write_text('\n'.join(content))
  for one, other in ('ab', 'ba'):
    (target,) = evaluation.evaluate(tmp_path / one, tmp_path / other, tmp_path / f'{one}{other}').targets
    assert target.scores.lddt == target.scores.gdt_ts == 1 and target.num_common == target.num_res == LENGTH
    assert 'HID as HIS (1 residue)' in ' '.join(target.notes)


def test_a_prediction_need_not_have_the_capping_groups_of_its_reference(tmp_path):
  prediction, reference = tmp_path / 'x.pdb', tmp_path / 'x.cif'
  prediction.write_text('\n'.join(lines()))
  rows = mmcif(declared=True)
  start, sequence = next(i for i, row in enumerate(rows) if row.startswith('ATOM')), rows.index('1 1 MET')
  cap = [f'ATOM {name} ACE A 0 ? {x} 30 20 1.0 9 A 1 0' for name, x in (('C', 3), ('O', 4), ('CH3', 5))]
  reference.write_text('\n'.join([*rows[:start], *cap, *rows[start:sequence], '1 0 ACE', *rows[sequence:]]))
  found = scoring.score_target(
    finding.PredictionFile('x', prediction), finding.ReferenceFile(reference), scoring.Limits(0.9, 0.5)
  )
  assert found.scores.lddt == 1 and found.num_res == LENGTH


def test_a_training_set_has_all_residues_and_says_what_was_left_out(tmp_path, plain):
  path = tmp_path / 'x.pdb'
  path.write_text('\n'.join([*renamed(2), 'TER', *COPY, *WATERS]))
  summary = build_cache(path, tmp_path / 'cache', processes=1)
  chains = cache.open_cache(tmp_path / 'cache')
  assert [chains[i].sequence for i in range(2)] == [plain.sequence] * 2
  assert summary.left_out == {'water': len(WATERS)}
  assert summary.skipped == ((str(path), f'chain A2: {"the file has several chains under the name A"}; this one, '
                              'from residue 1 on, is called A2'),)  # fmt: skip
