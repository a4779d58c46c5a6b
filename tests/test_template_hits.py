# SPDX-License-Identifier: Apache-2.0
"""Which chains are templates of a chain: found by sequence, kept in the cache, and hidden or shown by rules."""

import collections
import dataclasses

import numpy as np
import pytest
import small_cache
from Bio.Align import PairwiseAligner, substitution_matrices

from alphafold_jax import cli
from alphafold_jax.data import alignment
from alphafold_jax.data.training import homologs, template_finding, template_hits
from alphafold_jax.data.training.cache import TrainingCache, open_cache
from alphafold_jax.data.training.template_finding import TemplateFinder, find_templates
from alphafold_jax.data.training.template_hits import ChainHit, TemplateHits
from alphafold_jax.data.training.training_set import DataSpec, TrainingSet, whole_chain
from alphafold_jax.errors import InputError
from alphafold_jax.train import validation

# Human haemoglobin (UniProt P69905, P68871) and myoglobin (P02144), a quarter of whose residues are identical.
HBA = (
  'VLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKLRVDPVNFKLLSHCLLVTLAAHLPAEFTP'
  'AVHASLDKFLASVSTVLTSKYR'
)
HBB = (
  'VHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSELHCDKLHVDPENFRLLGNVLVCVLAHHFG'
  'KEFTPPVQAAYQKVVAGVANALAHKYH'
)
MYO = (
  'GLSDGEWQLVLNVWGKVEADIPGHGQEVLIRLFKGHPETLEKFDKFKHLKSEDEMKASEDLKKHGATVLTALGGILKKKGHHEAEIKPLAQSHATKHKIPVKYLEFISECIIQVLQSKHP'
  'GDFGADAQGAMNKALELFRKDMASNYKELGFQG'
)
RNG = np.random.default_rng(3)


def mutant(sequence: str, num: int) -> str:
  """The sequence with other letters in so many places, of which two are in its middle."""
  letters, middle = list(sequence), [len(sequence) // 2, len(sequence) // 2 + 9]
  for i in [*middle, *RNG.choice(len(sequence), num - 2, replace=False)]:
    letters[i] = 'W' if letters[i] != 'W' else 'C'
  return ''.join(letters)


SEQUENCES = {
  'hba': HBA,
  'hbb': HBB,
  'twin': mutant(HBA, 3),
  'sister': mutant(HBA, 40),
  'later': mutant(HBA, 41),
  'part': HBA[20:120],
  'myo': MYO,
  'apart': mutant(HBA, 30),
} | {f'chance{i}': small_cache.random_sequence(RNG, 140) for i in range(12)}
SPLITS = {'myo': 'validation', 'apart': 'test'}
DATES = {'hba': '2005-01-01', 'later': '2010-01-01'}
SPEC = DataSpec(crop_size=150, num_rows=2, num_templates=2, length_floor=25, length_cap=50)


@pytest.fixture(scope='module')
def unsearched(tmp_path_factory) -> TrainingCache:
  folder = tmp_path_factory.mktemp('hits')
  table = small_cache.write_table(
    folder / 't.csv',
    [
      {'id': name, 'cluster': name, 'split': SPLITS.get(name, 'train'), 'release_date': DATES.get(name, '')}
      for name in SEQUENCES
    ],
  )
  return small_cache.make_cache(folder, SEQUENCES, table=table)


@pytest.fixture(scope='module')
def cache(unsearched) -> TrainingCache:
  """The same after templates were looked for."""
  find_templates(unsearched, processes=1)
  return open_cache(unsearched.path)


def place(cache: TrainingCache, name: str) -> int:
  return next(i for i, entry in enumerate(cache.entries) if entry.id == name)


def hits_of(cache: TrainingCache, name: str, *limits: float) -> list[str]:
  return [cache.entries[i].id for i in cache.hits.of(place(cache, name), *limits)]


# What is found


def test_remote_relatives_are_found_before_all_that_chance_finds(cache):
  found = hits_of(cache, 'myo')
  assert set(found[:4]) == {'hba', 'hbb', 'twin', 'part'}
  start = cache.hits.starts[place(cache, 'myo')]
  assert 0.2 < cache.hits.identities[start] < 0.35 and cache.hits.coverages[start] > 0.85
  assert (np.diff(cache.hits.scores[start : start + len(found)]) <= 0).all()


def test_relatives_are_found_among_the_few_with_the_most_words_in_common(monkeypatch):
  monkeypatch.setattr(template_finding, '_MOST_ALIGNED', 3)
  sequences = [small_cache.random_sequence(np.random.default_rng(i), 140) for i in range(50)] + [HBB, HBA]
  assert TemplateFinder(sequences, range(51)).hits(51)[0].chain == 50


def test_a_chain_its_parts_and_what_it_is_part_of_are_no_hits(cache):
  assert not {'hba', 'part'} & set(hits_of(cache, 'hba'))
  assert not {'part', 'hba'} & set(hits_of(cache, 'part')) and 'twin' in hits_of(cache, 'part')


def test_only_training_chains_are_hits_and_all_chains_have_some(cache):
  every = {name: hits_of(cache, name) for name in SEQUENCES}
  assert not {'myo', 'apart'} & set().union(*every.values())
  assert every['apart'][0] in ('hba', 'twin') and every['myo']


def test_near_relatives_do_not_crowd_out_far_ones(monkeypatch):
  monkeypatch.setattr(template_finding, '_KEPT', 1)
  sequences = [HBA, mutant(HBA, 2), mutant(HBA, 4), mutant(HBA, 40), MYO]
  found = TemplateFinder(sequences, range(1, 5)).hits(0)
  assert [hit.chain for hit in found] == [1, 3, 4]
  assert found[0].identity > 0.95 > found[1].identity > 0.4 > found[2].identity


def test_scores_are_those_of_biopythons_alignments():
  rng = np.random.default_rng(0)
  sequences = [HBA, HBB, MYO, 'X' * 9, 'W', 'GG', 'W' * 3_000]  # the last scores more than 16 bits hold
  sequences += [small_cache.random_sequence(rng, length) for length in (7, 33, 150, 420)]
  aligner = PairwiseAligner(mode='global', substitution_matrix=substitution_matrices.load('BLOSUM62'))
  aligner.open_gap_score, aligner.extend_gap_score, aligner.end_gap_score = -11, -1, 0
  for query in sequences:
    expected = [aligner.score(query, other) for other in sequences]
    assert alignment.scores(query, sequences).tolist() == expected


def test_what_chance_would_score_is_no_hit(monkeypatch):
  monkeypatch.setattr(template_finding, '_MAX_EVALUE', 1e-3)
  sequences = list(SEQUENCES.values())
  found = TemplateFinder(sequences, range(1, len(sequences))).hits(0)
  assert {list(SEQUENCES)[hit.chain] for hit in found} == {'hbb', 'twin', 'sister', 'later', 'apart', 'myo'}


def test_several_processes_find_the_same_as_one(unsearched):
  one = find_templates(unsearched, processes=1)
  several = find_templates(unsearched, processes=2)
  for field in dataclasses.fields(TemplateHits):
    np.testing.assert_array_equal(getattr(one, field.name), getattr(several, field.name))


# The file

HITS = template_hits.joined([[ChainHit(1, 50, 0.4, 0.9), ChainHit(0, 20, 0.2, 0.5)], [], [ChainHit(0, 30, 1.0, 1.0)]])


def test_the_file_gives_back_what_was_written(tmp_path):
  template_hits.write(tmp_path / 'x.npz', HITS, 'abc')
  hits = template_hits.read(tmp_path / 'x.npz', 'abc')
  for field in dataclasses.fields(TemplateHits):
    np.testing.assert_array_equal(getattr(hits, field.name), getattr(HITS, field.name))
  assert [hits.of(i) for i in range(3)] == [[1, 0], [], [0]] and hits.counts().tolist() == [2, 0, 1]
  assert hits.of(0, 0.4) == [1, 0] and hits.of(0, 0.3) == [0] and hits.of(2, 0.95) == []


def test_no_hits_at_all_are_a_file_too(tmp_path):
  template_hits.write(tmp_path / 'x.npz', template_hits.joined([[], []]), 'ab')
  assert template_hits.read(tmp_path / 'x.npz', 'ab').of(1) == []


def test_a_file_that_is_missing_is_none_and_another_caches_or_a_damaged_one_is_refused(tmp_path):
  path = tmp_path / 'x.npz'
  assert template_hits.read(path, 'abc') is None
  template_hits.write(path, HITS, 'abc')
  with pytest.raises(InputError, match=f'x.npz: of another cache .* `alphafold-jax dataset {tmp_path} --templates`'):
    template_hits.read(path, 'abd')
  content = path.read_bytes()
  for damaged in (content[:-40], b'', content[:60] + bytes(8) + content[68:]):
    path.write_bytes(damaged)
    with pytest.raises(InputError, match='x.npz: damaged .* --templates`'):
      template_hits.read(path, 'abc')


# What is shown in training


def only(cache: TrainingCache, name: str) -> TrainingCache:
  """The same cache, of which one chain alone is trained on."""
  entries = (dataclasses.replace(entry, split='train' if entry.id == name else 'test') for entry in cache.entries)
  return TrainingCache(cache.path, tuple(entries))


@pytest.fixture
def shown(monkeypatch) -> list[str]:
  """The names of the chains that are shown as templates from now on."""
  names, original = [], homologs._placed

  def placed(*given):
    for template in original(*given):
      names.append(template.name)
      yield template

  monkeypatch.setattr(homologs, '_placed', placed)
  return names


def examples(cache: TrainingCache, name: str, num: int = 30, seed: int = 0, **settings) -> list:
  drawn = TrainingSet([only(cache, name)], dataclasses.replace(SPEC, **settings), seed=seed, batch_size=4)
  return [drawn.example(i)[1] for i in range(num)]


def test_hits_are_shown_up_to_the_slots_and_as_few_as_none(cache, shown):
  batches = examples(cache, 'hba')
  counts = collections.Counter(int(batch.templates.mask.sum()) for batch in batches)
  assert set(counts) == {0, 1, 2} and counts[2] > counts[0]
  assert {'hbb', 'twin', 'sister'} <= set(shown) and not {'hba', 'part', 'myo', 'apart'} & set(shown)


def test_near_relatives_are_hidden_above_the_cap(cache, shown):
  examples(cache, 'hba', template_identity_caps=(0.95,))
  assert {'hbb', 'sister'} <= set(shown) and 'twin' not in shown
  shown.clear()
  examples(cache, 'hba', template_identity_caps=(0.6,))
  assert 'hbb' in shown and not {'twin', 'sister', 'later'} & set(shown)


def test_of_several_caps_each_example_draws_one(cache, monkeypatch):
  caps, original = [], TemplateHits.of
  monkeypatch.setattr(TemplateHits, 'of', lambda self, *given: caps.append(given[1]) or original(self, *given))
  examples(cache, 'hba', num=80, template_identity_caps=(0.95, 0.4))
  counts = collections.Counter(caps)
  assert set(counts) == {0.95, 0.4} and abs(counts[0.4] - 40) < 18


def test_later_releases_are_hidden(cache, shown):
  examples(cache, 'hba')
  assert 'later' not in shown
  examples(cache, 'hbb')
  assert 'later' in shown and 'hba' in shown  # its own date is unknown


def test_a_share_is_shown_without_templates(cache, shown):
  examples(cache, 'hba', template_drop_fraction=1.0)
  assert shown == []
  usual, dropped = (
    sum(bool(batch.templates.mask.sum()) for batch in examples(cache, 'hba', num=70, template_drop_fraction=drop))
    for drop in (0.0, 0.5)
  )
  assert abs(dropped / usual - 0.5) < 0.2


def test_the_fewest_are_shown_wherever_there_are_so_many(cache):
  shown = [int(batch.templates.mask.sum()) for batch in examples(cache, 'hba', num=20, fewest_templates=1)]
  assert min(shown) == 1 and max(shown) > 1
  assert any(not batch.templates.mask.any() for batch in examples(cache, 'hba', num=20))
  most = [int(batch.templates.mask.sum()) for batch in examples(cache, 'hba', num=20, fewest_templates=99)]
  assert len(set(most)) == 1 and most[0] > 1


def test_a_negative_number_of_templates_is_refused():
  with pytest.raises(InputError, match=r'data\.fewest_templates is -1'):
    DataSpec(fewest_templates=-1)


def test_templates_depend_on_seed_and_number_only(cache):
  settings = {'template_identity_caps': (0.95, 0.4), 'template_drop_fraction': 0.3}
  one, two, other = (examples(cache, 'hba', num=20, seed=seed, **settings) for seed in (1, 1, 2))
  same = [np.array_equal(a.templates.aatype, b.templates.aatype) for a, b in zip(one, two, strict=True)]
  assert all(same)
  assert not all(np.array_equal(a.templates.aatype, b.templates.aatype) for a, b in zip(one, other, strict=True))


def test_templates_change_nothing_else_of_an_example(cache):
  for with_some, without in zip(
    examples(cache, 'hba', crop_size=40), examples(cache, 'hba', crop_size=40, num_templates=0)
  ):
    np.testing.assert_array_equal(with_some.residue_index, without.residue_index)
    np.testing.assert_array_equal(with_some.msa.tokens, without.msa.tokens)


def test_caps_hide_chains_of_the_cluster_too_where_nobody_looked_for_templates(tmp_path, shown):
  table = small_cache.write_table(
    tmp_path / 't.csv', [{'id': name, 'cluster': 1, 'split': 'train'} for name in ('hba', 'twin', 'sister')]
  )
  clustered = small_cache.make_cache(tmp_path, {n: SEQUENCES[n] for n in ('hba', 'twin', 'sister')}, table=table)
  assert clustered.hits is None
  for cap, expected in ((1.0, {'twin', 'sister'}), (0.95, {'sister'}), (0.4, set())):
    spec, seen = dataclasses.replace(SPEC, template_identity_caps=(cap,)), set()
    drawn = TrainingSet([clustered], spec, seed=0, batch_size=4)
    for i in range(24):
      shown.clear()
      if drawn.example(i)[0] == 'hba':
        seen.update(shown)
    assert seen == expected


@pytest.mark.parametrize('caps', [(), (0.4, 40)])
def test_caps_that_make_no_sense_are_refused(caps):
  with pytest.raises(InputError, match='data.template_identity_caps is .* at least one'):
    DataSpec(template_identity_caps=caps)


# Validation and prediction


def test_the_best_templates_are_those_of_the_highest_scores_in_their_order(cache, shown):
  templates = homologs.best_templates(cache, place(cache, 'myo'), 3)
  assert shown == hits_of(cache, 'myo')[:3] and templates.mask.tolist() == [1, 1, 1]
  record = cache[place(cache, 'myo')]
  batch = whole_chain(record, SPEC, 1, templates)
  assert batch.templates is templates and batch.templates.aatype.shape == (3, len(MYO))
  assert (templates.aatype[0] != 21).sum() > 120


def test_slots_without_a_hit_stay_empty(cache):
  templates = homologs.best_templates(cache, place(cache, 'hba'), 40)
  assert templates.mask.sum() == len(hits_of(cache, 'hba')) < 40


def test_validation_chains_are_shown_templates_where_that_is_asked_for(cache):
  for asked, slots, filled in ((0, 2, 0), (3, 3, 3)):
    spec = dataclasses.replace(SPEC, validation_templates=asked)
    ((name, batch),) = validation.choose_chains([cache], spec, 5, 200)
    assert name == 'myo' and batch.templates.mask.shape == (slots,) and batch.templates.mask.sum() == filled


def test_templates_of_a_cache_in_which_nobody_looked_are_refused_with_the_command(tmp_path):
  alone = small_cache.make_cache(tmp_path, {'hba': HBA})
  with pytest.raises(InputError, match=f'`alphafold-jax dataset {alone.path} --templates` does it'):
    homologs.best_templates(alone, 0, 1)


# The command


def test_the_command_looks_for_templates_of_a_new_cache_and_of_one_that_stands(tmp_path, capsys):
  structures = small_cache.write_structures(tmp_path / 's', {name: SEQUENCES[name] for name in ('hba', 'hbb', 'twin')})
  out, flags = str(tmp_path / 'c'), ['--templates', '--processes', '1', '--quiet']
  said = f'{out}: 3 chains of 3 with templates among the training chains, 2 templates at most'
  assert cli.main(['dataset', str(structures), out, *flags]) == 0
  assert capsys.readouterr().out.splitlines()[-1] == said
  (tmp_path / 'c' / 'templates.npz').unlink()
  assert cli.main(['dataset', out, *flags]) == 0
  assert capsys.readouterr().out.splitlines() == [said]
  assert open_cache(out).hits.counts().tolist() == [2, 2, 2]


def test_the_command_says_what_goes_together(tmp_path, capsys):
  table = small_cache.write_table(tmp_path / 't.csv', [{'id': 'hba', 'split': 'test'}])
  cache = small_cache.make_cache(tmp_path, {'hba': HBA}, table=table)
  out, structures = str(cache.path), str(tmp_path / 'structures')
  for words, said in (
    ([structures, out, '--templates'], f'this cache stands; `alphafold-jax dataset {out} --templates` looks for'),
    ([out], 'give STRUCTURES and OUT'),
    ([out, '--templates', '--msas', structures], '--msas: goes with STRUCTURES'),
    ([out, '--templates'], 'no chain is of the split train'),
    ([structures, '--templates'], 'no training cache here'),
  ):
    assert cli.main(['dataset', *words]) == 2
    assert said in capsys.readouterr().err
