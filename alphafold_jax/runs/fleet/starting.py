# SPDX-License-Identifier: Apache-2.0
"""What a process that predicts begins with: JAX, a place for compiled programs, and the predictor."""

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphafold_jax.runs.files import Failure, Outcome
from alphafold_jax.runs.fleet.models import Models
from alphafold_jax.runs.fleet.predicting import Predictor
from alphafold_jax.runs.fleet.progress import Progress
from alphafold_jax.runs.options import Options
from alphafold_jax.runs.work import Keys, TemplateSource

_log = logging.getLogger(__name__)
_GPU_SHARE = '0.92'  # of a GPU's memory that JAX takes; its own default is 0.75


@dataclasses.dataclass(frozen=True)
class Setup:
  """All that a process needs to know of a run; it can be sent to another process."""

  out: Path
  options: Options
  models: Models
  keys: Keys
  templates: TemplateSource | None

  def start_device(self, who: str = '') -> dict[str, Any]:
    """Loads JAX and logs what it computes on.

    Args:
      who: begins the lines, where there are several processes.

    Returns:
      facts for the record of the run.
    """
    _log.info('%sstarting JAX', who)
    os.environ.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', _GPU_SHARE)
    import jax

    from alphafold_jax import devices, tuning

    device = devices.describe()
    free = '' if device['free_bytes'] is None else f', {device["free_bytes"] / 2**30:.1f} GiB free'
    kind = device['kind'] if device['kind'] == device['platform'] else f'{device["kind"]} ({device["platform"]})'
    _log.info('%sJAX %s on %d x %s%s', who, jax.__version__, device['count'], kind, free)
    if hint := devices.idle_accelerator():
      _log.warning('%s', hint)
    self._log_longest(who)
    if not self.options.compilation_cache:
      jax.config.update('jax_enable_compilation_cache', False)
    elif (cache := devices.use_compilation_cache()) is None:
      _log.warning('compiled programs cannot be kept for later runs: the cache folder cannot be written')
    else:
      _log.info('%scompiled programs are kept in %s', who, cache)
      device['compilation_cache'] = str(cache)
    device['kernels'] = self.options.settings.kernels or tuning.preferred()
    if device['kernels'] != 'auto':
      _log.info('%skernels: %s', who, device['kernels'])
    return device | {'dtype': self.options.settings.dtype or devices.default_dtype()}

  def _log_longest(self, who: str) -> None:
    """Logs how long a protein may be, before one is begun that is too long."""
    from alphafold_jax import config as configs
    from alphafold_jax import devices, planning

    num_devices = self.options.settings.num_devices
    if (free := devices.available_bytes(num_devices)) is None:
      return
    dtype = self.options.settings.dtype or devices.default_dtype()
    fitting = []
    for name in self.options.models:
      config = configs.changed(self.options.model_config(name), {'dtype': dtype})
      num_templ = config.max_templates if self.templates else 0
      rows = f'{config.sampling.num_msa}:{config.sampling.num_extra}'
      fitting.append((planning.longest(config, free, num_devices, num_templ), rows))
    longest, rows = min(fitting)
    where, each = ('this device', '') if num_devices == 1 else (f'{num_devices} devices together', ' on each')
    _log.info(
      '%sup to about %s residues fit %s (%.1f GiB free%s, %s alignment rows, %s)',
      who,
      f'{longest:,}',
      where,
      free / 2**30,
      each,
      rows,
      dtype,
    )

  def predictor(self, progress: Progress, ended: Callable[[Outcome, list[Failure]], None]) -> Predictor:
    """Makes what predicts.

    Args:
      progress: of the run; gets each step.
      ended: called with how each protein ended, perhaps in another thread.

    Raises:
      InputError: with the settings there is no network, or there are fewer devices.
    """
    from alphafold_jax import devices, prediction

    devices.first(self.options.settings.num_devices)
    if self.options.settings.kernels or self.options.config:
      prediction.check_network(self.options.model_config(self.options.models[0]))
    return Predictor(self.out, self.options, self.models, self.keys, self.templates, progress, ended)
