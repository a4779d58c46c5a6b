# SPDX-License-Identifier: Apache-2.0
"""Work on many things by several processes of this machine."""

import collections
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from alphafold_jax import machine
from alphafold_jax.errors import ResourceError

Item = TypeVar('Item')
Result = TypeVar('Result')
_AHEAD = 16  # items of each process that are done before those before them are taken: results may be large


def spread(
  function: Callable[[Item], Result],
  items: Sequence[Item],
  begin: Callable[..., None],
  arguments: tuple[Any, ...],
  processes: int | None,
  work: str,
) -> Iterator[Result]:
  """A function of each item, in their order.

  Args:
    function: by its name in a module, since other processes call it.
    items: are sent to the processes.
    begin: called once in each process with `arguments`, before the first item; for what all items need.
    arguments: of `begin`.
    processes: by default one per CPU; 1: all is done here.
    work: what a process does, such as 'parsed structures', for a message.

  Raises:
    ResourceError: a process died.
  """
  processes = min(processes or machine.num_processors(), len(items))
  if processes == 1:
    begin(*arguments)
    yield from map(function, items)
    return
  context = multiprocessing.get_context('spawn')  # forking a process in which JAX runs threads can lock up
  with futures.ProcessPoolExecutor(processes, context, begin, arguments) as pool:
    try:
      begun: collections.deque[futures.Future] = collections.deque()
      for item in items:
        begun.append(pool.submit(function, item))
        if len(begun) > _AHEAD * processes:
          yield begun.popleft().result()
      while begun:
        yield begun.popleft().result()
    except BrokenProcessPool:
      raise ResourceError(
        f'a process that {work} was ended from outside, often for want of memory; use fewer processes'
      ) from None
    finally:
      pool.shutdown(cancel_futures=True)
