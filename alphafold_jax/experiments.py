# SPDX-License-Identifier: Apache-2.0
"""Named training experiments: one base configuration with the paper's numbers, and short differences from it.

Each section becomes a spec of the part it sets: model (model/alphafold.py), loss and chains (losses/total.py), data
(data/training/training_set.py), optimizer and step (train/), run (train/loop.py).
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from alphafold_jax import choices, config
from alphafold_jax.errors import InputError

# The weight of each loss of losses/total.py; 0: it is not computed.
LOSS_WEIGHTS = {
  'backbone_fape': 0.5,  # Suppl. 1.9: half of the auxiliary loss, Alg. 20 line 17
  'chain_fape': 0.0,  # in complexes 0.5: the pairs of backbone_fape within chains, Evans et al. 2021, 2.4
  'interface_fape': 0.0,  # in complexes 0.5: those between chains
  'chain_centres': 0.0,  # in complexes 1.0, Uni-Fold; OpenFold has 0.05. Evans et al. 2021, 2.5
  'side_chain_fape': 0.5,  # Suppl. 1.9: the FAPE of all atoms, Alg. 20 line 28
  'torsion': 0.5,  # Suppl. 1.9: within the auxiliary loss, Alg. 20 line 18
  'angle_norm': 0.01,  # Alg. 27 line 3: 0.02 within the torsion loss
  'distogram': 0.3,  # Suppl. 1.9
  'masked_msa': 2.0,  # Suppl. 1.9
  'plddt': 0.01,  # Suppl. 1.9
  'experimentally_resolved': 0.0,  # Suppl. 1.9: fine-tuning only
  'pae': 0.0,  # Suppl. 1.9.7: 0.1 for the models with that head
  'violation': 0.0,  # Suppl. 1.9: fine-tuning only
  'smooth_lddt': 0.0,  # not in the paper, see losses/smooth_lddt.py
}


def _base() -> config_dict.ConfigDict:
  """Initial training of the paper (Suppl. Table 4)."""
  return config_dict.ConfigDict(
    {
      'name': 'train_initial',
      'model': config.model_config('model_1'),
      'loss': LOSS_WEIGHTS,
      'chains': {  # how losses deal with chains and what parts them; these values are those of single chains
        'interface_clamp': 30.0,  # Å, AlphaFold-Multimer v2, OpenFold, Uni-Fold; in the published configuration 1,000
        'interface_unit': 20.0,  # Å, published
        'floored_errors': False,  # whether errors in the FAPE are at least 1e-4 Å instead of softened by 0.01 Å
        'corrected_violations': False,  # whether the published slips are mended, see losses/violations.py
        'average_clashes': False,  # whether an atom counts the mean of its clashes, not the sum
        'bond_tolerance': 12.0,  # standard deviations that a peptide bond's length and angles may be off, Suppl. 1.9.11
      },
      'data': {
        'crop_size': 256,  # residues, Suppl. Table 4
        'num_rows': 2048,  # alignment rows on the device, drawn from by each pass (124 + 1,024 of them)
        'num_templates': 4,  # Suppl. Table 4
        'template_identity_caps': (1.0,),  # of each example one of them: chains more alike are hidden; not in the paper
        'template_drop_fraction': 0.0,  # share of examples that are shown none; not in the paper
        'fewest_templates': 0,  # drawn for the others, where there are so many; Suppl. 1.2.3
        'validation_templates': 0,  # shown to a validation chain, the best ones
        'num_deletion_blocks': 5,  # Alg. 1
        'deletion_block_fraction': 0.3,  # Alg. 1
        'alignment_fraction': 0.0,  # at least this share of examples has an alignment; not in the paper
        'single_sequence_fraction': 0.0,  # share of examples shown without their alignment; not in the paper
        'couplings_fraction': 0.0,  # share of the others that see couplings of their alignment; not in the paper
        'clamped_fraction': 0.9,  # Suppl. 1.11.5
        'max_resolution': 9.0,  # Å, Suppl. 1.2.5
        'max_single_residue': 0.8,  # Suppl. 1.2.5
        'length_floor': 256,  # residues, Suppl. 1.2.5
        'length_cap': 512,  # residues, Suppl. 1.2.5
        'distillation_fraction': 0.0,  # Suppl. 1.3: 0.75 with a set of predicted structures
        'min_confidence': 50.0,  # pLDDT, Suppl. 1.3
        'complex_fraction': 0.0,  # share of experimental examples that are complexes
        'max_chains': 20,  # of a complex; AlphaFold-Multimer v3, technical note 2.3.0
        'spatial_fraction': 0.5,  # share of their crops that are around an interface; the others are contiguous
        'interface_distance': 10.0,  # Å between CA atoms of two chains, for such crops; Uni-Fold
      },
      'optimizer': {
        'method': 'adam',  # Suppl. 1.11.3; or 'muon', of train/optimizer.py
        'learning_rate': 1e-3,  # Suppl. 1.11.3
        'warmup_samples': 128_000,  # Suppl. 1.11.3
        'decay_samples': 6_400_000,  # Suppl. 1.11.3
        'decay_factor': 0.95,  # Suppl. 1.11.3
        'cooldown_start': 0,  # samples after which the rate falls, to nothing; not in the paper
        'cooldown_samples': 0,  # of that fall; 0: there is none
        'b1': 0.9,  # Suppl. 1.11.3
        'b2': 0.999,  # Suppl. 1.11.3
        'epsilon': 1e-6,  # Suppl. 1.11.3
        'clip_norm': 0.1,  # of each example's gradient, Suppl. 1.11.3
        'ema_decay': 0.999,  # Suppl. 1.11.7
      },
      'step': {
        'batch_size': 128,  # over all devices, Suppl. 1.11.3
        'examples_at_once': 1,  # computed side by side on a device; more only where memory is plenty
        'max_passes': 4,  # Suppl. 1.10
      },
      'run': {
        'num_samples': 10_000_000,  # Suppl. Table 4
        'seed': 0,
        'model_devices': 1,  # devices that share one example; the others multiply the data
        'cpu_devices': 1,  # into which a CPU is divided; 0: one per processor, as far as the batch can be divided
        'log_every': 10,  # steps
        'checkpoint_every': 500,  # steps
        'keep_checkpoints': 3,  # the last ones, besides the best
        'validate_every': 500,  # steps; 0: never, not at the end either
        'validation_split': 'validation',  # of the training set; 'pilot' judges short runs that choose a recipe
        'num_validation': 64,  # chains, one per cluster as far as there are so many
        'max_validation_length': 384,  # residues; longer chains are left out
        'max_skipped': 10,  # steps in a row whose gradients were not finite
        'num_workers': 4,  # threads that prepare examples
      },
      'phases': {},  # settings that change after a number of samples, see train/phases.py
    }
  )


_FINETUNE = {  # Suppl. Table 4, fine-tuning
  'loss.violation': 1.0,  # Suppl. 1.9
  'loss.experimentally_resolved': 0.01,  # Suppl. 1.9
  'data.crop_size': 384,
  'data.num_rows': 10_240,
  'optimizer.learning_rate': 5e-4,  # Suppl. 1.11.3
  'optimizer.warmup_samples': 0,
  'optimizer.decay_samples': 0,
  'optimizer.decay_factor': 1.0,
  'run.num_samples': 1_500_000,
}

_MULTIMER = {  # AlphaFold-Multimer v3, as far as its numbers are known: Evans et al. 2021, technical note 2.3.0
  'loss.backbone_fape': 0.0,  # its pairs are in the next two
  'loss.chain_fape': 0.5,  # Evans et al. 2021, 2.4; published configuration: half of their sum
  'loss.interface_fape': 0.5,
  'loss.chain_centres': 1.0,  # Uni-Fold
  'loss.experimentally_resolved': 0.01,
  'loss.violation': 0.03,  # OpenFold, in the first stage of training; published configuration: 1.0
  'chains.floored_errors': True,  # published
  'chains.corrected_violations': True,  # equal residue numbers of two chains clash as well: Uni-Fold
  'chains.average_clashes': True,  # AlphaFold-Multimer v2
  'data.crop_size': 640,  # technical note 2.3.0
  'data.num_rows': 5_120,  # drawn from by each pass: 508 and 2,048 of them
  'data.clamped_fraction': 1.0,  # published; OpenFold, Uni-Fold
  'data.complex_fraction': 0.75,  # not published: there all entries are drawn alike, most of which are complexes
}

_MINI = {  # the model that ships; its sizes are in config.py
  **dict.fromkeys((f'model.{key}' for key in config.DROPOUT), 0.0),  # no chain is drawn often enough to overfit
  'model.templates.remat': False,  # small enough to keep
  'model.extra_msa.remat': False,
  'model.evoformer.remat': False,
  'data.crop_size': 64,  # at first: what is local comes first, and 96 residues have 2.25 times as many pairs
  'data.num_rows': 128,
  'data.num_templates': 2,  # of the four that a prediction may have; each takes time in every step
  'data.template_identity_caps': (0.95, 0.4),  # its copies are hidden always, near relatives in half of the examples
  'data.template_drop_fraction': 0.1,  # four chains in ten have none anyway
  'data.fewest_templates': 1,  # where there are any: what templates show is learnt slowly
  'data.couplings_fraction': 0.9,  # the rest learns alignments that give none
  'data.num_deletion_blocks': 2,  # its alignments are shallow
  'data.alignment_fraction': 0.5,  # few of its chains have one
  'data.single_sequence_fraction': 0.15,  # users give it sequences without an alignment as well
  'data.clamped_fraction': 0.2,  # the clamped loss has no gradient where a structure is far off
  'loss.experimentally_resolved': 0.01,
  'loss.smooth_lddt': 1.0,  # FAPE leaves what is near blurred; tried from 45,000 samples on, see docs/mini.md
  # There are few samples: small batches and a large learning rate give structures early.
  'optimizer.learning_rate': 2e-3,  # flat: where it was lowered before the end, validation hardly rose any more
  'optimizer.warmup_samples': 1_000,
  'optimizer.decay_samples': 0,
  'optimizer.decay_factor': 1.0,
  'optimizer.cooldown_start': 85_000,  # the last 15 % settle what was learnt
  'optimizer.cooldown_samples': 15_000,
  'optimizer.ema_decay': 0.995,
  'step.batch_size': 4,
  'step.max_passes': 1,  # at first: there is little for recycling to refine, see the phases
  'run.num_samples': 100_000,  # validation still rose after the 22,200 of the first that shipped
  'run.cpu_devices': 0,  # its arrays are too small for several processors
  'run.checkpoint_every': 100,
  'run.validate_every': 200,
  'run.num_validation': 16,
  'run.max_validation_length': 128,
  'run.num_workers': 1,
  'phases': {
    'longer': {
      'samples': 30_000,  # of 100,000
      'data': {'crop_size': 96},  # contacts further apart in sequence; 128 has 1.8 times as many pairs
      'step': {'max_passes': 3},  # a prediction has four passes
    },
    'physical': {
      'samples': 90_000,  # the last tenth: chains become chains once they have a shape, while the rate falls
      'loss': {'violation': 0.03},  # as OpenFold's first stage for complexes; the paper has 1.0 in a stage of its own
    },
  },
}

EXPERIMENTS: Mapping[str, Mapping[str, Any]] = {
  choices.INITIAL: {},
  choices.FINETUNE: _FINETUNE,
  choices.TRAIN_MULTIMER: _MULTIMER,
  choices.TRAIN_MINI: _MINI,
}

# Settings that are younger than runs that people go on with, with the values that leave a run as it was before.
LATER: Mapping[str, Any] = {
  **{f'model.{key}': value for key, value in config.LATER.items()},
  'chains.interface_clamp': 30.0,
  'chains.interface_unit': 20.0,
  'chains.floored_errors': False,
  'chains.corrected_violations': False,
  'chains.average_clashes': False,
  'chains.bond_tolerance': 12.0,
  'data.couplings_fraction': 0.0,
  'data.template_identity_caps': [1.0],  # as a file has it
  'data.template_drop_fraction': 0.0,
  'data.fewest_templates': 0,
  'data.validation_templates': 0,
  'data.complex_fraction': 0.0,
  'data.max_chains': 20,
  'data.spatial_fraction': 0.5,
  'data.interface_distance': 10.0,
  'optimizer.method': 'adam',
  'optimizer.cooldown_start': 0,
  'optimizer.cooldown_samples': 0,
  'run.validation_split': 'validation',
  'loss.smooth_lddt': 0.0,
}

# Which model an experiment trains; the others: model_1.
_MODELS = {choices.TRAIN_MINI: choices.MINI, choices.TRAIN_MULTIMER: 'model_1_multimer_v3'}
_ROWS = {choices.INITIAL: (128, 1024)}  # clusters (templates included) and extra rows, Suppl. Table 4; else the model's
_TRAINED = config.DROPOUT | {  # what training changes in any model
  'templates.remat': True,  # Suppl. 1.11.8
  'extra_msa.remat': True,
  'evoformer.remat': True,
  'dtype': 'auto',  # bfloat16, Suppl. 1.11.3; float32 on CPUs
}


def experiment_config(name: str, model: str | None = None) -> config_dict.ConfigDict:
  """The configuration of an experiment, on its own or another model of config.py.

  Raises:
    InputError: no such experiment or model.
  """
  if not isinstance(name, str) or name not in EXPERIMENTS:
    raise InputError(f'there is no experiment {name!r}; choose one of {", ".join(EXPERIMENTS)}')
  trained = config.changed(config.model_config(model or _MODELS.get(name, 'model_1')), _TRAINED)
  if name in _ROWS:
    clusters, extra = _ROWS[name]
    templates = trained.max_templates if trained.templates is not None else 0
    trained = config.changed(trained, {'sampling.num_msa': clusters - templates, 'sampling.num_extra': extra})
  result = _base()
  result.name, result.model = name, trained
  changes = {'loss.pae': 0.1 if trained.heads.num_pae_bins else 0.0}  # Suppl. 1.9.7
  return config.changed(result, changes | dict(EXPERIMENTS[name]) | _missing_inputs(trained))


def _missing_inputs(model: config_dict.ConfigDict) -> dict[str, Any]:
  """The settings by which examples have nothing of an input that a model lacks."""
  changes: dict[str, Any] = {}
  if model.templates is None:
    changes['data.num_templates'] = 0
  if not model.embedder.couplings:
    changes['data.couplings_fraction'] = 0.0
  return changes
