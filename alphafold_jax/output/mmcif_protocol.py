# SPDX-License-Identifier: Apache-2.0
"""How a model came to be, in ModelCIF: searches for homologues and templates, and the prediction, with programs."""

from collections.abc import Sequence

import ihm
import modelcif
import modelcif.data
import modelcif.model
import modelcif.protocol

from alphafold_jax import config
from alphafold_jax.output.mmcif_targets import ascii_only
from alphafold_jax.output.provenance import EarlierStep, Provenance
from alphafold_jax.output.record import PredictionRecord
from alphafold_jax.version import __version__

ALPHAFOLD_2 = dict(
  title='Highly accurate protein structure prediction with AlphaFold',
  journal='Nature',
  volume=596,
  page_range=(583, 589),
  year=2021,
  authors=[],
  pmid='34265844',
  doi='10.1038/s41586-021-03819-2',
)


class _Alignment(modelcif.data.Data):
  """The rows of homologues."""

  data_content_type = 'coevolution MSA'


class _Templates(modelcif.data.Data):
  """Structures that the network is shown; the library's own class wants their alignments as well."""

  data_content_type = 'template structure'


_GIVES = {
  'alignment': (modelcif.protocol.CoevolutionMSAStep, 'Alignment of homologues', _Alignment),
  'templates': (modelcif.protocol.TemplateSearchStep, 'Search for templates', _Templates),
}


def software() -> modelcif.Software:
  """This program."""
  return modelcif.Software(
    name='alphafold_jax',
    classification='model building',
    description='AlphaFold 2 in JAX and Haiku',
    location=None,
    type='package',
    version=__version__,
    citation=ihm.Citation(**ALPHAFOLD_2),
  )


def protocol(
  model: modelcif.model.Model, ours: modelcif.Software, prediction: PredictionRecord, provenance: Provenance
) -> modelcif.protocol.Protocol:
  """The steps that led to a model.

  Args:
    model: what came of them.
    ours: this program.
    prediction: the same as a record.
    provenance: what was done before.
  """
  found = modelcif.protocol.Protocol()
  entities = list(dict.fromkeys(asym.entity for asym in model.assembly))
  given: list[modelcif.data.Data] = []
  for step in provenance.steps:
    if step.gives == 'alignment' or _takes_templates(prediction.model_name):
      kind, name, data = _GIVES[step.gives]
      given.append(data(step.gives.capitalize(), details=None))
      databases = [
        modelcif.ReferenceDatabase(ascii_only(one.name), one.url, version=one.version) for one in step.databases
      ]
      inputs = modelcif.data.DataGroup([*entities, *databases])
      found.steps.append(kind(inputs, given[-1], name=name, details=ascii_only(step.details), software=_program(step)))
  details = '; '.join([f'network: {prediction.model_name}', *map(ascii_only, prediction.notes)])
  inputs = modelcif.data.DataGroup([*entities, *given])
  with_settings = _with_settings(ours, prediction)
  last = modelcif.protocol.ModelingStep(inputs, model, name='Structure prediction', software=with_settings)
  last.details = details
  found.steps.append(last)
  return found


def _takes_templates(model_name: str) -> bool:
  return config.model_config(model_name).templates is not None


def _program(step: EarlierStep) -> modelcif.Software | None:
  """The program of a step; None where it is not known, as of an alignment that was given."""
  if step.program is None:
    return None
  return modelcif.Software(
    name=ascii_only(step.program),
    classification='data collection',
    description=f'finds {step.gives}',
    location=step.location,
    type='program',
    version=step.version,
  )


def _with_settings(ours: modelcif.Software, prediction: PredictionRecord) -> Sequence[modelcif.Software]:
  """This program as it was run."""
  settings = {'network': prediction.model_name, 'seed': prediction.seed, 'recycles': len(prediction.passes) - 1}
  parameters = [modelcif.SoftwareParameter(name, value) for name, value in settings.items()]
  return modelcif.SoftwareGroup([modelcif.SoftwareWithParameters(ours, parameters)])
