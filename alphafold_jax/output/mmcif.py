# SPDX-License-Identifier: Apache-2.0
"""mmCIF with the ModelCIF extension: the format without limits of size, and with the scores of every residue.

The `modelcif` library writes the categories; here the prediction is put into its objects. Identical chains share one
entity. Residues without atoms (unknown type) stay in the sequence, so numbering is kept. Beside this file:

mmcif_targets        entities, with their entries of UniProt, and chains
mmcif_protocol       the steps and programs that led to the model
mmcif_conformations  helices, strands and sheets
"""

import datetime
import io
import re
from collections.abc import Iterator

import ihm
import modelcif
import modelcif.dumper
import modelcif.model
import modelcif.qa_metric

from alphafold_jax.output import mmcif_conformations, mmcif_protocol, mmcif_targets, record
from alphafold_jax.output.mmcif_targets import ascii_only
from alphafold_jax.output.provenance import Provenance
from alphafold_jax.output.record import PredictionRecord, Residue

DISCLAIMER = 'Predicted, not observed, coordinates. The B-factor column holds pLDDT, 0 to 100.'


def to_mmcif(
  prediction: PredictionRecord,
  name: str,
  *,
  date: datetime.date | None = None,
  provenance: Provenance | None = None,
) -> str:
  """The prediction as the text of a ModelCIF file.

  Args:
    prediction: what to write; its notes stand where people and programs look: comments, title and disclaimers.
    name: what was predicted; becomes the entry's id, with other characters than letters, digits, `_.-` replaced.
    date: of the entry's only revision; left out by default, so that the same prediction gives the same file.
    provenance: where the protein is from and what was done before; by default its name is taken for its header.

  Raises:
    NumericalError: it holds NaN or infinity.
  """
  chains, notes = record.chains(prediction), prediction.notes
  provenance = provenance or Provenance((prediction.name,))
  system = modelcif.System(
    title=': '.join([*notes, f'predicted structure of {ascii_only(name)}']),
    id=re.sub(r'[^A-Za-z0-9_.-]', '_', name) or 'model',
    model_details='. '.join([*notes, DISCLAIMER]),
  )
  system.comments += [ascii_only(note) for note in notes]
  system.data_usage += [ihm.Disclaimer(ascii_only(text)) for text in (*notes, DISCLAIMER)]
  if date is not None:
    system.revisions.append(ihm.Revision('Structure model', major=1, minor=0, date=date))

  software = mmcif_protocol.software()
  asym_units = mmcif_targets.asym_units(chains, prediction.chains, ascii_only(name), provenance)
  model = _Model(asym_units, chains, f'network {prediction.model_name}')
  for metric in _metrics(prediction, asym_units, chains):
    metric.software = software
    model.qa_metrics.append(metric)
  system.asym_units += asym_units
  system.entities += dict.fromkeys(asym.entity for asym in asym_units)
  system.model_groups.append(modelcif.model.ModelGroup([model], name='Predicted structure'))
  system.protocols.append(mmcif_protocol.protocol(model, software, prediction, provenance))
  system.conformations = mmcif_conformations.conformations(prediction, asym_units)

  text, more = io.StringIO(), [mmcif_conformations.ConformationDumper]
  modelcif.dumper.write(text, [system], dumpers=more, variant=mmcif_targets.Variant)
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
