# SPDX-License-Identifier: Apache-2.0
"""mmCIF with the ModelCIF extension: the format without limits of size, and with the scores of every residue.

The `modelcif` library writes the categories; here the prediction is put into its objects. Identical chains share one
entity. Residues without atoms (unknown type) stay in the sequence, so numbering is kept.
"""

import datetime
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import ihm
import modelcif
import modelcif.dumper
import modelcif.model
import modelcif.protocol
import modelcif.qa_metric

from alphafold_jax.output import record
from alphafold_jax.output.record import PredictionRecord, Residue
from alphafold_jax.version import __version__

DISCLAIMER = 'Predicted, not observed, coordinates. The B-factor column holds pLDDT, 0 to 100.'
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


def to_mmcif(prediction: PredictionRecord, name: str, *, date: datetime.date | None = None) -> str:
  """The prediction as the text of a ModelCIF file.

  Args:
    prediction: what to write; its notes stand where people and programs look: comments, title and disclaimers.
    name: what was predicted; becomes the entry's id, with other characters than letters, digits, `_.-` replaced.
    date: of the entry's only revision; left out by default, so that the same prediction gives the same file.

  Raises:
    NumericalError: it holds NaN or infinity.
  """
  chains, notes = record.chains(prediction), prediction.notes
  system = modelcif.System(
    title=': '.join([*notes, f'predicted structure of {_ascii(name)}']),
    id=re.sub(r'[^A-Za-z0-9_.-]', '_', name) or 'model',
    model_details='. '.join([*notes, DISCLAIMER]),
  )
  system.comments += [_ascii(note) for note in notes]
  system.data_usage += [ihm.Disclaimer(_ascii(text)) for text in (*notes, DISCLAIMER)]
  if date is not None:
    system.revisions.append(ihm.Revision('Structure model', major=1, minor=0, date=date))

  software = _software()
  asym_units = _asym_units(chains, _identifiers(prediction.chains), _ascii(name))
  model = _Model(asym_units, chains, f'network {prediction.model_name}')
  for metric in _metrics(prediction, asym_units, chains):
    metric.software = software
    model.qa_metrics.append(metric)
  system.asym_units += asym_units
  system.entities += dict.fromkeys(asym.entity for asym in asym_units)
  system.model_groups.append(modelcif.model.ModelGroup([model], name='Predicted structure'))
  system.protocols.append(_protocol(model, software, prediction.model_name, map(_ascii, notes)))

  text = io.StringIO()
  modelcif.dumper.write(text, [system])
  return text.getvalue()


class _Model(modelcif.model.AbInitioModel):
  """The atoms, made as they are written."""

  def __init__(self, asym_units: list[modelcif.AsymUnit], chains: list[list[Residue]], name: str):
    super().__init__(modelcif.Assembly(asym_units, name='Predicted assembly'), name=name)
    self._asym_units, self._chains = asym_units, chains
    for asym, chain in zip(asym_units, chains):
      missing = [number for number, residue in enumerate(chain, start=1) if not residue.atoms]
      self.not_modeled_residue_ranges += [modelcif.model.NotModeledResidueRange(asym, i, i) for i in missing]

  def get_atoms(self) -> Iterator[modelcif.model.Atom]:
    for asym, chain in zip(self._asym_units, self._chains):
      for number, residue in enumerate(chain, start=1):
        for atom in residue.atoms:
          x, y, z = atom.position
          place = dict(asym_unit=asym, seq_id=number, atom_id=atom.name, type_symbol=atom.element)
          yield modelcif.model.Atom(**place, x=x, y=y, z=z, biso=residue.plddt, occupancy=1.0)


class _GlobalPlddt(modelcif.qa_metric.Global, modelcif.qa_metric.PLDDT):
  """Mean predicted lDDT of the C-alpha atoms over all residues, 0 to 100"""

  name = 'pLDDT'


class _LocalPlddt(modelcif.qa_metric.Local, modelcif.qa_metric.PLDDT):
  """Predicted lDDT of the C-alpha atom, 0 to 100"""

  name = 'pLDDT'


class _Ptm(modelcif.qa_metric.Global, modelcif.qa_metric.PTM):
  """Predicted TM-score, 0 to 1"""

  name = 'pTM'


class _Iptm(modelcif.qa_metric.Global, modelcif.qa_metric.IpTM):
  """Predicted TM-score between chains, 0 to 1"""

  name = 'ipTM'


def _metrics(
  prediction: PredictionRecord, asym_units: list[modelcif.AsymUnit], chains: list[list[Residue]]
) -> Iterator[modelcif.qa_metric.MetricMode]:
  yield _GlobalPlddt(round(prediction.mean_plddt, 2))
  for metric, value in ((_Ptm, prediction.ptm), (_Iptm, prediction.iptm)):
    if value is not None:
      yield metric(float(value))
  for asym, chain in zip(asym_units, chains):
    for number, residue in enumerate(chain, start=1):
      yield _LocalPlddt(asym.residue(number), residue.plddt)


def _asym_units(chains: list[list[Residue]], ids: Sequence[str], description: str) -> list[modelcif.AsymUnit]:
  """One unit per chain; chains of one sequence share its entity."""
  components = {component.id: component for component in ihm.LPeptideAlphabet().values}
  entities: dict[tuple[str, ...], modelcif.Entity] = {}
  units = []
  for chain_id, chain in zip(ids, chains, strict=True):
    names = tuple(residue.name for residue in chain)
    if names not in entities:
      entities[names] = modelcif.Entity([components[name] for name in names], description=description)
    numbers = {number: residue.number for number, residue in enumerate(chain, start=1)}
    units.append(modelcif.AsymUnit(entities[names], auth_seq_id_map=numbers, id=chain_id))
  return units


def _identifiers(names: Sequence[str]) -> list[str]:
  """Names of chains as CIF codes: those that are one stay, others get other characters and a number where one is taken.

  ('a_b', 'a b', 'β') -> ['a_b', 'a_b_1', '_'].
  """
  codes = [re.sub(r'[^A-Za-z0-9_-]', '_', name) for name in names]
  taken = {name for name, code in zip(names, codes) if name == code}
  for i, (name, code) in enumerate(zip(names, codes)):
    if name != code:
      codes[i] = next(one for k in itertools.count() if (one := f'{code}_{k}' if k else code) not in taken)
      taken.add(codes[i])
  return codes


def _protocol(
  model: _Model, software: modelcif.Software, model_name: str, notes: Iterable[str]
) -> modelcif.protocol.Protocol:
  protocol = modelcif.protocol.Protocol()
  entities = modelcif.data.DataGroup(dict.fromkeys(asym.entity for asym in model.assembly))
  step = modelcif.protocol.ModelingStep(entities, model, name='Structure prediction', software=software)
  step.details = '; '.join([f'network: {model_name}', *notes])
  protocol.steps.append(step)
  return protocol


def _software() -> modelcif.Software:
  return modelcif.Software(
    name='alphafold_jax',
    classification='model building',
    description='AlphaFold 2 in JAX and Haiku',
    location=None,
    type='package',
    version=__version__,
    citation=ihm.Citation(**ALPHAFOLD_2),
  )


def _ascii(text: str) -> str:
  return ' '.join(text.encode('ascii', 'replace').decode().split())
