# SPDX-License-Identifier: Apache-2.0
"""From anything that can be predicted to the unpadded input of the network."""

import dataclasses
import logging
import warnings
from typing import Any

import jax
import numpy as np

from alphafold_jax import coevolution, schema
from alphafold_jax.arguments import wrong
from alphafold_jax.data import features
from alphafold_jax.data.alignment import MAX_ROWS, Alignment
from alphafold_jax.data.complexes import COLABFOLD, Merging
from alphafold_jax.data.query import Query, taken
from alphafold_jax.data.templates import own_templates
from alphafold_jax.errors import InputError

_log = logging.getLogger(__name__)
_QUERIES = (
  'must be one protein or complex: a Query of afj.read_queries, an Alignment, a batch of afj.make_batch, or a sequence '
  "as text ('AAA:BBB' for a complex); for a file or many proteins: afj.read_queries(path), or alphafold_jax.runs.run"
)
_BARE = (
  'a sequence without an alignment: the prediction will be far less accurate than with homologues. Give an .a3m or '
  '.sto file to afj.read_queries, or search with runs.Options(search=...); if it is meant, give '
  'afj.single_sequence(sequence), and nothing is said'
)


def as_batch(
  query: Query | Alignment | schema.Batch | str, templates: schema.Templates | None = None, couplings: bool = False
) -> schema.Batch:
  """The unpadded input arrays of anything that can be predicted.

  Args:
    query: from `read_queries`, an alignment, a batch that is checked and given back, or a bare sequence; of a complex
      'AAA:BBB'.
    templates: structures placed on the query, from `data.templates`; a batch has its own.
    couplings: whether those of the alignment are computed, for networks that take them.

  Raises:
    InputError: it is none of these, its arrays do not fit together, or it cannot be read.
  """
  warn_of_bare_sequence(query)
  return to_batch(query, templates, couplings)


def to_batch(
  query: Query | Alignment | schema.Batch | str,
  templates: schema.Templates | None,
  couplings: bool = False,
  merging: Merging = COLABFOLD,
) -> schema.Batch:
  """As `as_batch`, and no warning of a bare sequence; `merging`: which rows are taken of a complex's alignments."""
  batch = _to_batch(query, templates, merging)
  return with_couplings(batch) if couplings else batch


def with_couplings(batch: schema.Batch) -> schema.Batch:
  """The batch with the couplings of all rows of its alignment, unless it has some; zeros where there are none."""
  if batch.couplings is not None:
    return batch
  tokens, mask = np.asarray(batch.msa.tokens), np.asarray(batch.msa.mask)
  num_rows, num_res = int(np.any(mask > 0, axis=1).sum()), tokens.shape[1]
  if why := coevolution.refusal(num_rows, num_res):
    if num_rows > 1:
      _log.info('no couplings: %s', why)
    return dataclasses.replace(batch, couplings=coevolution.no_features(num_res))
  found = coevolution.couplings(tokens, mask)
  return dataclasses.replace(batch, couplings=coevolution.features(coevolution.levels(found.scores), found.neff))


def _to_batch(
  query: Query | Alignment | schema.Batch | str, templates: schema.Templates | None, merging: Merging
) -> schema.Batch:
  if isinstance(query, schema.Batch):
    if templates is not None:
      raise InputError('templates: a batch has its own; give them to afj.make_batch, together with the query')
    if any(isinstance(array, jax.core.Tracer) for array in jax.tree.leaves(query)):
      raise InputError(
        'a batch inside a transformation of JAX (jit, grad, vmap): afj.predict runs outside of them; inside, call '
        'model.prepare and model.iterate'
      )
    features.check_batch(query, 'batch')
    return query
  if isinstance(query, str) and ':' in query:
    query = Query('query', query)
  if isinstance(query, Query):
    if templates is None and query.templates:
      templates = own_templates(query.templates, query.chains, query.name)
    query = query.load_alignment(merging=merging) or query.bare_alignment(merging)
  elif isinstance(query, Alignment):
    query = taken(query, merging)
  if not isinstance(query, str | Alignment):
    raise wrong('query', query, _QUERIES)
  return features.make_batch(query, templates=templates, num_templates=0, max_rows=MAX_ROWS)


def warn_of_bare_sequence(query: Any) -> None:
  """Warns the caller of the function that is given a sequence without an alignment, which the command line refuses."""
  if isinstance(query, str) or isinstance(query, Query) and query.alignment is None:
    warnings.warn(_BARE, stacklevel=3)
