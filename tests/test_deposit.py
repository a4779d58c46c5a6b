# SPDX-License-Identifier: Apache-2.0
"""ModelCIF files that can be deposited: valid by the dictionary, and with what files of AlphaFold DB say."""

import dataclasses
import gzip
import io
from pathlib import Path

import gemmi
import ihm.dictionary
import numpy as np
import pytest
from random_complexes import prediction_of

from alphafold_jax.choices import DESIGNED
from alphafold_jax.constants import residues
from alphafold_jax.data import structures
from alphafold_jax.headers import of_uniprot
from alphafold_jax.output import mmcif
from alphafold_jax.output.cartoon import secondary_structure
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.provenance import EarlierStep, Provenance, UsedDatabase
from alphafold_jax.output.record import Pass

DATA = Path(__file__).parent / 'data'
AFDB = DATA / 'AF-P01112-F1-model_v4.cif.gz'
RAS = 'sp|P01112|RASH_HUMAN GTPase HRas OS=Homo sapiens OX=9606 GN=HRAS PE=1 SV=1'
TRYPSIN = 'tr|Q8N2U3|Q8N2U3_HUMAN 5\'-"odd" protein OS=Homo sapiens (Human) OX=9606 PE=2 SV=1'
STEPS = (
  EarlierStep(
    'alignment',
    '--msa-mode hmmer',
    'jackhmmer (pyhmmer)',
    '0.12.1',
    databases=(UsedDatabase('UniRef90', url='https://example.org/uniref90.gz'), UsedDatabase('MGnify', '2022_05')),
  ),
  EarlierStep('templates', 'at most 20 hits', 'hmmsearch (pyhmmer)', '0.12.1', databases=(UsedDatabase('PDB seqres'),)),
)


@pytest.fixture(scope='module')
def ras() -> Prediction:
  """AlphaFold DB's prediction of human HRAS, as if it were ours."""
  chain = structures.read_chain(AFDB)
  num_res = len(chain.sequence)
  arrays = {
    'aatype': np.array([residues.LETTER_TO_TOKEN[letter] for letter in chain.sequence]),
    'residue_index': np.arange(num_res),
    'asym_id': np.ones(num_res, int),
    'atom_positions': chain.atom_positions,
    'atom_mask': chain.atom_mask,
    'plddt': chain.b_factors,
  }
  passes = (Pass(0, 90.0, None, 1.0, 2.0), Pass(1, 90.0, None, 0.1, 2.0))
  return Prediction(RAS, 'ras', 'model_1', 3, float(chain.b_factors.mean()), None, passes, arrays)


@pytest.fixture(scope='module')
def short(ras) -> Prediction:
  """Its first residues, which are written in less time."""
  return dataclasses.replace(ras, arrays={name: array[:30] for name, array in ras.arrays.items()})


@pytest.fixture(scope='module')
def dictionary() -> ihm.dictionary.Dictionary:
  with gzip.open(DATA / 'mmcif_ma_ext.dic.gz', 'rt') as file:
    return ihm.dictionary.read(file)


def block_of(prediction, provenance=None, name='a job') -> gemmi.cif.Block:
  return gemmi.cif.read_string(mmcif.to_mmcif(prediction, name, provenance=provenance)).sole_block()


def item(block: gemmi.cif.Block, name: str) -> str:
  """The value of an item that is there once, without quotes and line ends."""
  (value,) = block.find_values(name)
  return ''.join(gemmi.cif.as_string(value).split('\n'))


def copies(prediction: Prediction, count: int) -> Prediction:
  """The chain so many times."""
  arrays = {name: np.concatenate([array] * count) for name, array in prediction.arrays.items()}
  arrays['asym_id'] = np.repeat(np.arange(count) + 1, len(prediction.plddt))
  arrays['atom_positions'] = arrays['atom_positions'] + 200.0 * arrays['asym_id'][:, None, None]
  return dataclasses.replace(prediction, arrays=arrays)


HETEROMER = Provenance((RAS, TRYPSIN, RAS), STEPS)  # of the complex A2B
CASES = {
  'single chain without PAE': lambda short: (short, Provenance((RAS,), STEPS[:1])),
  'homomer': lambda short: (copies(short, 2), None),
  'heteromer with PAE and templates': lambda short: (prediction_of('A2B'), HETEROMER),
  'heteromer of unknown origin': lambda short: (prediction_of('two'), None),
  'designed': lambda short: (prediction_of('many short'), Provenance(('x',), origin=DESIGNED)),
  'given alignment and templates': lambda short: (
    dataclasses.replace(short, notes=('MINI MODEL: small',)),
    Provenance(('x',), (EarlierStep('alignment', 'given'), EarlierStep('templates', 'given'))),
  ),
}


@pytest.mark.parametrize('case', CASES)
def test_files_are_valid_by_the_dictionary_of_modelcif(case, short, dictionary):
  prediction, provenance = CASES[case](short)
  text = mmcif.to_mmcif(prediction, 'a job', provenance=provenance)
  try:
    dictionary.validate(io.StringIO(text))
  except ihm.dictionary.ValidatorError as error:  # categories and items of the dictionary that this one extends
    lines = [line for line in str(error).split('\n\n') if 'are not defined in the dictionary' not in line]
    assert not lines


def test_the_dictionary_knows_no_natural_origin(short, dictionary):
  text = mmcif.to_mmcif(short, 'a job').replace("'reference database'", 'natural')
  with pytest.raises(ihm.dictionary.ValidatorError, match='ma_target_entity.origin value natural is not a valid'):
    dictionary.validate(io.StringIO(text))


@pytest.mark.slow
def test_gemmi_finds_no_fault_by_the_dictionary_either(short):
  said = []
  ddl = gemmi.cif.Ddl(logger=(said.append, 5), print_unknown_tags=False, use_unique_keys=True)
  ddl.read_ddl(gemmi.cif.read(str(DATA / 'mmcif_ma_ext.dic.gz')))
  prediction, provenance = CASES['heteromer with PAE and templates'](short)
  assert ddl.validate_cif(gemmi.cif.read_string(mmcif.to_mmcif(prediction, 'a job', provenance=provenance))), said


def test_a_header_of_uniprot_gives_the_references_that_alphafold_db_has(ras):
  ours, theirs = block_of(ras), gemmi.cif.read(str(AFDB)).sole_block()
  for category, names in {
    '_ma_target_ref_db_details': (
      'db_accession', 'db_code', 'db_name', 'gene_name', 'ncbi_taxonomy_id', 'organism_scientific',
      'seq_db_align_begin', 'seq_db_align_end', 'target_entity_id',
    ),
    '_struct_ref': ('db_code', 'db_name', 'pdbx_align_begin', 'pdbx_db_accession', 'pdbx_seq_one_letter_code'),
    '_struct_ref_seq': ('db_align_beg', 'db_align_end', 'seq_align_beg', 'seq_align_end', 'ref_id'),
    '_ma_target_entity': ('origin',),
    '_entity': ('pdbx_description',),
  }.items():  # fmt: skip
    for name in names:
      assert item(ours, f'{category}.{name}') == item(theirs, f'{category}.{name}'), (category, name)


def test_entries_belong_to_the_chains_that_they_name_and_to_copies_of_them():
  prediction = prediction_of('A2B').in_memory()
  prediction.arrays['aatype'] = prediction.aatype.copy()
  prediction.aatype[52:] = prediction.aatype[:30]  # the third chain is the first again
  block = block_of(prediction, HETEROMER)
  entities = dict(block.find('_struct_asym.', ['id', 'entity_id']))
  assert entities['A'] == entities['C'] != entities['B']
  of_entity = dict(block.find('_ma_target_ref_db_details.', ['target_entity_id', 'db_accession']))
  assert of_entity == {entities['A']: 'P01112', entities['B']: 'Q8N2U3'}
  assert "5'-'odd' protein" in list(block.find_values('_entity.pdbx_description'))[1]
  alone = block_of(prediction, Provenance((RAS,)))  # which of the chains it names is not said
  assert not alone.find_values('_ma_target_ref_db_details.db_accession')


@pytest.mark.parametrize(
  ('header', 'origin', 'method', 'said'),
  [
    (RAS, 'natural', 'nat', 'reference database'),
    ('my protein', 'natural', 'nat', '.'),
    (RAS, 'designed', 'syn', 'designed'),
  ],
)
def test_proteins_are_natural_unless_said_otherwise(short, header, origin, method, said):
  block = block_of(short, Provenance((header,), origin=origin))
  assert item(block, '_entity.src_method') == method
  (value,) = block.find_values('_ma_target_entity.origin')
  assert gemmi.cif.as_string(value) == gemmi.cif.as_string(said)


def test_the_organism_of_a_header_is_the_source(short):
  block = block_of(short)
  assert item(block, '_entity_src_nat.pdbx_ncbi_taxonomy_id') == '9606'
  assert item(block, '_entity_src_nat.pdbx_organism_scientific') == 'Homo sapiens'


def test_the_protocol_names_programs_databases_and_versions():
  block = block_of(prediction_of('A2B'), HETEROMER)
  rows = block.find('_ma_protocol_step.', ['method_type', 'software_group_id', 'input_data_group_id'])
  assert [gemmi.cif.as_string(row[0]) for row in rows] == ['coevolution MSA', 'template search', 'modeling']
  programs = [tuple(map(gemmi.cif.as_string, row)) for row in block.find('_software.', ['name', 'version'])]
  assert ('jackhmmer (pyhmmer)', '0.12.1') in programs and len(programs) == 3
  databases = [tuple(map(gemmi.cif.as_string, row)) for row in block.find('_ma_data_ref_db.', ['name', 'version'])]
  assert databases == [('UniRef90', ''), ('MGnify', '2022_05'), ('PDB seqres', '')]
  settings = {row[0]: row[1] for row in block.find('_ma_software_parameter.', ['name', 'value'])}
  assert settings == {'network': 'model_1_ptm', 'seed': '7', 'recycles': '0'}


def test_a_model_that_takes_no_templates_has_no_search_for_them():
  prediction = dataclasses.replace(prediction_of('two'), model_name='model_3_ptm')
  types = block_of(prediction, HETEROMER).find_values('_ma_protocol_step.method_type')
  assert list(map(gemmi.cif.as_string, types)) == ['coevolution MSA', 'modeling']


# ------------------------------------------------------------------------------------------ helices, strands, sheets


def ends(block: gemmi.cif.Block, table: str, kind: str = '') -> list[tuple[int, int]]:
  rows = block.find(f'{table}.', ['beg_label_seq_id', 'end_label_seq_id', '?conf_type_id'])
  return [(int(row[0]), int(row[1])) for row in rows if not kind or kind in row[2]]


def test_helices_and_strands_are_where_alphafold_db_has_them(ras):
  ours, theirs = block_of(ras), gemmi.cif.read(str(AFDB)).sole_block()
  for kind, ours_too in (('HELX_RH_AL', 'HELX_P'), ('STRN', 'STRN')):
    found = {number for first, last in ends(ours, '_struct_conf', ours_too) for number in range(first, last + 1)}
    expected = {number for first, last in ends(theirs, '_struct_conf', kind) for number in range(first, last + 1)}
    assert len(found & expected) / len(found | expected) > 0.8, kind


def test_the_sheet_of_ras_has_its_six_strands_and_gemmi_reads_them(ras):
  block = block_of(ras)
  assert item(block, '_struct_sheet.number_strands') == '6'
  assert ends(block, '_struct_sheet_range') == ends(block, '_struct_conf', 'STRN')
  structure = gemmi.make_structure_from_block(block)
  assert len(structure.helices) == len(ends(block, '_struct_conf', 'HELX')) and len(structure.sheets[0].strands) == 6
  first, last = ends(block, '_struct_conf', 'HELX')[0]
  assert (structure.helices[0].start.res_id.seqid.num, structure.helices[0].end.res_id.seqid.num) == (first, last)
  assert structure.helices[0].length == last - first + 1


@pytest.mark.slow
def test_chains_far_apart_have_sheets_of_their_own_and_no_helix_goes_on_in_the_next(ras):
  two = copies(ras, 2)
  block = block_of(two)
  one = ends(block_of(ras), '_struct_conf')
  assert ends(block, '_struct_conf') == one + one
  assert [row[0] for row in block.find('_struct_sheet.', ['number_strands'])] == ['6', '6']
  names = dict.fromkeys(row[0] for row in block.find('_struct_conf.', ['beg_auth_asym_id']))
  assert list(names) == ['A', 'B']


def test_chains_end_where_they_are_said_to_end(ras):
  positions, mask = ras.atom_positions[86:104], ras.atom_mask[86:104]  # in the middle of a helix
  whole = secondary_structure.assign(positions, mask)
  cut = secondary_structure.assign_sheets(positions, mask, np.repeat([1, 2], 9)).kinds
  assert (whole[7:11] == 'H').all() and not (cut[8:10] == 'H').all()


# ------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize(
  ('header', 'identifier', 'entry', 'gene'),
  [
    (RAS, 'P01112', 'RASH_HUMAN', 'HRAS'),
    (
      'sp|P01112-2|RASH_HUMAN Isoform 2 of GTPase HRas OS=Homo sapiens OX=9606 GN=HRAS',
      'P01112-2',
      'RASH_HUMAN',
      'HRAS',
    ),
    ('tr|A0A024R161|A0A024R161_HUMAN Guanine nucleotide-binding protein', 'A0A024R161', 'A0A024R161_HUMAN', None),
    ('sp|P01112|RASH_HUMAN', 'P01112', 'RASH_HUMAN', None),
  ],
)
def test_headers_of_uniprot_are_read(header, identifier, entry, gene):
  found = of_uniprot(header)
  assert (found.identifier, found.entry, found.gene) == (identifier, entry, gene)


@pytest.mark.parametrize(
  'header', ['', 'P01112', 'UniRef90_P01112 x', 'sp|P01112', 'pdb|1ctq|A', 'sp|12345|X_Y', 'my sp|P01112|X_Y']
)
def test_other_headers_are_of_no_entry(header):
  assert of_uniprot(header) is None
