# SPDX-License-Identifier: Apache-2.0
"""The compiled programs of a prediction: the network on one device, or on several that share the protein."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from alphafold_jax import compiled_once, confidence, devices, fields, machine, schema
from alphafold_jax.model import alphafold, recycling
from alphafold_jax.model.alphafold import AlphaFoldSpec
from alphafold_jax.model.sampling import MsaSample
from alphafold_jax.model.templates import TemplateContext
from alphafold_jax.ops import axial, seam

_MODEL = 'model'  # the axis of the mesh, as in training
_QUICKLY = {'xla_backend_optimization_level': 1}  # for what takes longer to compile than it ever runs; the same bits


@schema.pytree
class PassResult:
  """What leaves a compiled pass: what the next one recycles, and the little that may go to the host."""

  recycled: schema.Recycled
  atom_mask: schema.Array
  confidence: confidence.Confidence
  change: schema.Array  # Å, against the pass before
  representations: schema.Representations | None


@schema.pytree
class PassKey:
  """What all randomness of a pass comes from, as numbers of the host: each program makes the key of it by itself."""

  seed: schema.Array  # [] int32, of the prediction
  index: schema.Array  # [] int32, of the pass

  @classmethod
  def of(cls, seed: int, index: int) -> 'PassKey':
    """The numbers as arrays of the host."""
    return cls(seed=np.int32(seed), index=np.int32(index))

  def key(self) -> jax.Array:
    """The key itself, to be made inside a program."""
    return jax.random.fold_in(jax.random.key(self.seed), self.index)


class Program:
  """A function under jit that is traced and compiled for a shape once, by this process or one before."""

  def __init__(
    self,
    function: Callable,
    identity: Hashable = None,
    describe: Callable[..., str] | None = None,
    is_quiet: bool = False,
    **options: Any,
  ):
    """Wraps a function.

    Args:
      function: a pure function of its arguments.
      identity: distinguishes the function from all others, so that it is kept on disk; None: it is not.
      describe: given the arguments says what is kept, for people; by default the identity does.
      is_quiet: it is told neither that it is compiled nor that it is read.
      options: of `jax.jit`.
    """
    self._jitted, self._identity, self._options = jax.jit(function, **options), identity, options
    self._describe, self._is_quiet = describe, is_quiet
    self.compiled: dict[Hashable, jax.stages.Compiled] = {}  # by shapes of arguments

  def __call__(self, *arguments: Any) -> Any:
    machine.refuse_forked()
    leaves, tree = jax.tree.flatten(arguments)
    shapes = (tree, *(jax.typeof(leaf) for leaf in leaves))
    if shapes not in self.compiled:
      self.compiled[shapes] = self.compile(*arguments)
    return self.compiled[shapes](*arguments)

  def lower(self, *arguments: Any, platform: str | None = None) -> jax.stages.Lowered:
    """The function traced for arguments of these shapes, which may be given by `jax.ShapeDtypeStruct`.

    Args:
      arguments: of the function.
      platform: of the devices that they lie on, if these are not here.
    """
    return self.trace(*arguments).lower(lowering_platforms=(platform,) if platform else None)

  def trace(self, *arguments: Any) -> jax.stages.Traced:
    """The operations that the function asks for, given arguments of these shapes."""
    return self._jitted.trace(*arguments)

  def eval_shape(self, *arguments: Any) -> Any:
    """The shapes of what it gives, as that of a function under `jax.jit`."""
    return self._jitted.eval_shape(*arguments)

  def compile(self, *arguments: Any) -> jax.stages.Compiled:
    """The function compiled for arguments of these shapes, or read if that was done before."""
    what = self._describe(*arguments) if self._describe else ''
    with compiled_once.quietly() if self._is_quiet else contextlib.nullcontext():
      return compiled_once.compiled(self._jitted, self._identity, arguments, what=what, **self._options)


class Programs(NamedTuple):
  """Arguments are the same for any number of devices; of large results each device holds a part.

  `begin(params, pass_key, batch) -> Context, Recycled`, what all passes share and what the first recycles;
  `draw(pass_key, batch) -> key, MsaSample`, the key and the rows of a pass;
  `one_pass(params, key, batch, context, previous, rows) -> PassResult`, which is given these and the previous pass's
  memory. Keys are consumed. Where several proteins are computed together, all of these but the parameters have one
  more axis in front: `stacked` adds it, `of` undoes it.

  Only `draw` looks at the alignment, so the others take a batch whose alignment has no rows (`without_alignment`), and
  alignments of any depth share them. On one device a pass may also draw its rows itself, without `rows`.

  A prediction runs these three and no other program: each costs a process time to trace, even if it does next to
  nothing. All three are kept on disk on one device.
  """

  begin: Callable[..., tuple[alphafold.Context, schema.Recycled]]
  draw: Callable[..., tuple[jax.Array, MsaSample]]
  one_pass: Callable[..., PassResult]
  everywhere: NamedSharding | None  # where their arguments lie: whole on every device; None: on the default one
  num_proteins: int = 1  # that are computed together
  of_pass: tuple[Any, ...] = ()  # where each argument of `one_pass` lies among several devices

  def stacked(self, trees: Sequence[Any]) -> Any:
    """Arrays of the host for each protein as the programs want them, the last one's as often as some are missing."""
    if self.num_proteins == 1:
      return trees[0]
    filled = [*trees, *[trees[-1]] * (self.num_proteins - len(trees))]
    return jax.tree.map(lambda *arrays: np.stack(arrays), *filled)

  def of(self, result: Any, index: int) -> Any:
    """A protein's part of a result, copied to the host where it is of several."""
    return result if self.num_proteins == 1 else jax.tree.map(lambda array: np.asarray(array)[index], result)

  def put(self, tree: Any) -> Any:
    """Arrays where the programs want them; done once, they are not copied again for every pass."""
    if self.everywhere is not None:
      return jax.device_put(tree, self.everywhere)
    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree)):
      return tree  # such as a loaded model's parameters: to put hundreds of arrays where they are takes 12 ms
    return jax.device_put(tree)


@functools.cache
def compiled(
  spec: AlphaFoldSpec,
  keep_representations: bool,
  num_devices: int = 1,
  keep_distogram: bool = False,
  num_proteins: int = 1,
  has_chains: bool = False,
  mesh: Mesh | None = None,
) -> Programs:
  """The programs of a spec, compiled once per shapes.

  Args:
    spec: of the network
    keep_representations: whether a pass gives them
    num_devices: that share the protein; the padded number of residues is a multiple of it
    keep_distogram: whether a pass gives it
    num_proteins: of like sizes that one device computes together; they share the bytes of a slice
    has_chains: whether a pass gives what scores of the interfaces of several chains need
    mesh: the devices that share the protein, of `mesh_of`; None: the first of this process

  Raises:
    InputError: there are fewer devices.
  """
  assert num_devices == 1 or num_proteins == 1  # devices share one protein, or a device has several
  kept = _Kept(keep_representations, keep_distogram, has_chains)
  if num_devices == 1:
    return _on_one_device(spec, kept, num_proteins)
  return _on_several(spec, kept, mesh or mesh_of(devices.first(num_devices)))


def mesh_of(found: Sequence[jax.Device]) -> Mesh:
  """Devices that share one protein."""
  return Mesh(np.asarray(found), (_MODEL,))


class _Kept(NamedTuple):
  """What a pass gives beside the least."""

  representations: bool
  distogram: bool
  has_chains: bool


_LEAST = _Kept(False, False, False)


class _Functions(NamedTuple):
  """What the programs compute, of one protein."""

  begin: Callable[..., tuple[alphafold.Context, schema.Recycled]]
  draw: Callable[..., tuple[jax.Array, MsaSample]]
  one_pass: Callable[..., PassResult]


def _functions(spec: AlphaFoldSpec, kept: _Kept) -> _Functions:
  network = alphafold.network(spec)

  def one_pass(params, key, batch, context, previous, rows=None):
    predicted = network.predict(params, key, batch, context, previous, rows, kept.distogram, kept.has_chains)
    positions = predicted.structure.atom_positions
    return PassResult(
      recycled=predicted.recycled,
      atom_mask=predicted.structure.atom_mask,
      confidence=predicted.confidence,
      change=recycling.distance_change(previous.atom_positions, positions, batch.seq_mask),
      representations=predicted.representations if kept.representations else None,
    )

  def begin(params, pass_key, batch):
    return network.prepare(params, pass_key.key(), batch), network.initial(len(batch.aatype), spec.dtype)

  def draw(pass_key, batch):
    key = pass_key.key()
    return key, axial.share(network.rows({}, key, batch), axis=2)

  return _Functions(begin, draw, one_pass)


def _on_one_device(spec: AlphaFoldSpec, kept: _Kept, num_proteins: int) -> Programs:
  spec = dataclasses.replace(spec, kernels=seam.divided(spec.kernels, num_proteins))
  of_one = _functions(spec, kept)
  begin, draw, one_pass = of_one.begin, of_one.draw, of_one.one_pass
  describe = functools.partial(_described, spec, num_proteins)
  return Programs(
    Program(
      _of_each(begin, num_proteins, has_params=True),
      ('begin', spec, num_proteins),
      lambda params, pass_key, batch: describe('begin', batch),
      is_quiet=spec.templates is None,  # else it holds their stack, and takes a while
    ),
    Program(
      _of_each(draw, num_proteins),
      ('draw', spec.sampling, spec.num_ensemble, num_proteins),
      lambda pass_key, batch: describe('draw', batch),
      is_quiet=True,
      compiler_options=_QUICKLY,
    ),
    Program(
      _of_each(one_pass, num_proteins, has_params=True),
      ('one_pass', spec, *kept, num_proteins),
      lambda params, key, batch, *_: describe('one_pass', batch, kept),
      donate_argnums=4,
    ),
    everywhere=None,
    num_proteins=num_proteins,
  )


def _described(
  spec: AlphaFoldSpec,
  num_proteins: int,
  name: str,
  batch: schema.Batch,
  kept: _Kept = _LEAST,
) -> str:
  """The sizes of a program and what it gives, for people."""
  depth, num_templ = batch.msa.tokens.shape[-2], batch.templates.mask.shape[-1]
  of_all = f' of {depth}' if depth else ''  # only a draw is given the whole alignment
  parts = {
    name: True,
    f'{batch.aatype.shape[-1]} residues': True,
    f'{spec.sampling.num_msa}:{spec.sampling.num_extra}{of_all} rows': name != 'begin',
    f'{num_templ} templates': num_templ > 0,
    spec.dtype: name != 'draw',
    f'{spec.evoformer.num_block} blocks': name == 'one_pass',
    f'{num_proteins} proteins': num_proteins > 1,
    f'ensemble of {spec.num_ensemble}': spec.num_ensemble > 1,
    'representations': kept.representations,
    'distogram': kept.distogram,
    'several chains': kept.has_chains,
  }
  return ', '.join(part for part, is_said in parts.items() if is_said)


def _of_each(function: Callable, num_proteins: int, has_params: bool = False) -> Callable:
  """A function of one protein, for several along a leading axis of all its arguments but the parameters, the first."""
  if num_proteins == 1:
    return function

  def of_all(*arguments):
    shared, own = arguments[:has_params], arguments[has_params:]
    return jax.vmap(functools.partial(function, *shared), axis_size=num_proteins)(*own)

  return of_all


def _on_several(spec: AlphaFoldSpec, kept: _Kept, mesh: Mesh) -> Programs:
  begin, draw, one_pass = _functions(spec, kept)
  templates = None if spec.templates is None else axial.partition(TemplateContext, _MODEL)
  context, recycled = alphafold.Context(templates=templates), axial.partition(schema.Recycled, _MODEL)
  rows = P(None, None, _MODEL)
  result: Any = PassResult(
    recycled=recycled,
    atom_mask=P(),
    confidence=axial.partition(confidence.Confidence, _MODEL),
    change=P(),
    representations=axial.partition(schema.Representations, _MODEL) if kept.representations else None,
  )
  of_pass = (P(), P(), P(), context, recycled, rows)
  return Programs(
    jax.jit(_shared(begin, mesh, (P(), P(), P()), (context, recycled))),
    jax.jit(_shared(draw, mesh, (P(), P()), (P(), rows)), compiler_options=_QUICKLY),
    Program(_shared(one_pass, mesh, of_pass, result), donate_argnums=4),
    everywhere=NamedSharding(mesh, P()),
    of_pass=jax.tree.map(lambda spec: NamedSharding(mesh, spec), of_pass),
  )


def without_alignment(batch: schema.Batch) -> schema.Batch:
  """A batch whose alignment has no rows, for what does not look at it."""
  return dataclasses.replace(batch, msa=fields.filled(schema.Msa, {'num_seq': 0, 'num_res': len(batch.aatype)}))


def _shared(function: Callable, mesh: Mesh, in_specs: tuple, out_specs: Any) -> Callable:
  """A function of whole arrays, or of what another such function gave, whose work all devices of a mesh share."""

  def of_device(*arguments):
    with axial.sharded_over(_MODEL):
      return function(*arguments)

  # What is the same on all devices is not tracked (check_vma): the network is written so that it is.
  return jax.shard_map(of_device, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
