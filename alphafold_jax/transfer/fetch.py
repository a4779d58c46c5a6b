# SPDX-License-Identifier: Apache-2.0
"""Downloads one large file over HTTP, going on where an earlier attempt stopped, and compares its digest.

Beside the growing `.part` file, `.part.json` records what it is a part of: the address, the length, and the validator
(ETag or date) by which the server identifies the version. Where the server has another version by now, or cannot send
ranges, the transfer starts over; two versions never end up in one file.
"""

import base64
import contextlib
import dataclasses
import http.client
import json
import logging
import os
import pathlib
import random
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

from alphafold_jax import atomic, untrusted
from alphafold_jax.errors import TransferError
from alphafold_jax.transfer.files import Meter, UnusableError, digest, disk_errors, human_size, meter, require_space
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
_READ = 1 << 18  # bytes
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP states that may be gone on the next try


@dataclasses.dataclass(frozen=True)
class Patience:
  """How long a transfer keeps trying, in seconds."""

  deadline: float = 24 * 3600.0  # for the whole transfer
  timeout: float = 60.0  # without a single byte
  retries: int = 6  # failures in a row that bring nothing new
  backoff: float = 1.0  # wait before the first retry; doubles up to a minute


@dataclasses.dataclass(frozen=True)
class _RemoteFile:
  """The file on the server that the `.part` file is a part of."""

  url: str
  total: int | None = None
  validator: str | None = None  # value for If-Range
  md5: str | None = None  # hexadecimal, where the server states it


class _TryAgainError(Exception):
  """A failure that may pass."""

  def __init__(self, reason: str, wait: float = 0.0):
    super().__init__(reason)
    self.wait = wait  # seconds the server asks for


def fetch(url: str, part: pathlib.Path, patience: Patience, reserve: float = 0.0) -> str | None:
  """Completes `part` with the content of `url`.

  Args:
    url: an http(s) address.
    part: the file to grow; it is kept, with its `.part.json`, when the transfer fails for good.
    patience: retries and deadlines.
    reserve: room wanted on the disk beside the file, as a multiple of its length.

  Returns:
    the MD5 that the server states, if any, in hexadecimal.

  Raises:
    TransferError: the server cannot be reached or refuses, or the deadline is over.
    ResourceError: there is no room on the disk.
  """
  if urllib.parse.urlsplit(url).scheme not in ('http', 'https'):
    raise TransferError(f'{url}: not an http or https address.')
  give_up = time.monotonic() + patience.deadline
  failures = 0
  with meter(part.name.removesuffix('.part')) as bar:
    while True:
      before = _size(part)
      try:
        return _attempt(url, part, bar, patience.timeout, give_up, reserve)
      except _TryAgainError as error:
        failures = 1 if _size(part) > before else failures + 1
        wait = max(min(patience.backoff * 2 ** (failures - 1), 60.0) * random.uniform(0.75, 1.25), error.wait)
        if failures > patience.retries or time.monotonic() + wait > give_up:
          raise TransferError(
            f'{url}: {error}; gave up with {human_size(_size(part))} in {part}. Run the same command again to go on '
            'from there.'
          ) from error
        _log.warning('%s: %s; next try in %.1f s, from %s', url, error, wait, human_size(_size(part)))
        time.sleep(wait)


def discard(part: pathlib.Path) -> None:
  """Removes a part and its `.part.json`."""
  for path in (part, _note(part)):
    with disk_errors(path):
      path.unlink(missing_ok=True)


def check(
  path: pathlib.Path,
  source: str,
  *,
  asked: str | None,
  stated_md5: str | None,
  recorded: Mapping[str, Any] | None,
) -> str:
  """The SHA-256 of a file that was fetched, provided that it is the one expected.

  Args:
    path: the file.
    source: its address or name, for messages.
    asked: SHA-256 that the person gave, if any.
    stated_md5: MD5 that the server states, if any.
    recorded: `sha256` and `date` of an earlier transfer, if it must be the same again.

  Raises:
    UnusableError: it is another file.
  """
  with meter(f'checking {path.name.removesuffix(".part")}') as bar:
    found = digest(path, ('sha256', 'md5') if stated_md5 else ('sha256',), bar)
  sha256 = found['sha256']
  if asked is not None and sha256 != asked:
    raise UnusableError(
      f'{source}: its SHA-256 is {sha256}, asked for was {asked}. It was damaged on its way, or is not the one meant; '
      'nothing was installed. Check the digest and the address, then run the command again.'
    )
  if stated_md5 is not None and found['md5'] != stated_md5:
    raise UnusableError(
      f'{source}: its MD5 is {found["md5"]}, the server states {stated_md5}. It was damaged on its way; nothing was '
      'installed. Run the command again.'
    )
  if recorded is not None and sha256 != recorded['sha256']:
    raise UnusableError(
      f'{source}: is not what it was on {recorded.get("date")}: SHA-256 was {recorded["sha256"]}, is {sha256}. It may '
      'have been tampered with; nothing was installed. If its publisher says that it was replaced, install it into a '
      'new folder.'
    )
  return sha256


def _attempt(url: str, part: pathlib.Path, bar: Meter, timeout: float, give_up: float, reserve: float) -> str | None:
  """One request: appends what arrives, and raises _TryAgainError unless the file is complete then."""
  known = _read_note(part, url)
  have = _size(part)
  if known and have == known.total:
    bar(have, have)
    return known.md5
  headers = {'User-Agent': f'alphafold-jax/{__version__}', 'Accept-Encoding': 'identity'}
  if have and known and known.validator is not None and have <= (known.total or have):
    headers |= {'Range': f'bytes={have}-', 'If-Range': known.validator}
  else:
    have = 0
  try:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
      start, now = _where_it_starts(response, url, part, known, have)
      require_space(part.parent, (now.total or 0) - start + int(reserve * (now.total or 0)), 'the download')
      atomic.write_text(_note(part), json.dumps(dataclasses.asdict(now)))
      with disk_errors(part):
        out = open(part, 'r+b' if start else 'wb', buffering=0)
      with out:
        done = _receive(response, out, part, start, now.total, bar, give_up)
  except urllib.error.HTTPError as error:
    _refused(error, url, part, have)
  except urllib.error.URLError as error:
    _unreachable(error.reason, url, have)
  except (OSError, http.client.HTTPException) as error:
    raise _TryAgainError(f'the connection broke ({error or type(error).__name__})') from error
  if now.total is not None and done < now.total:
    raise _TryAgainError(f'the connection closed after {done} of {now.total} bytes')
  return now.md5


def _where_it_starts(
  response: Any, url: str, part: pathlib.Path, known: _RemoteFile | None, have: int
) -> tuple[int, _RemoteFile]:
  """The offset of the first byte that the response brings, and the file that it is of."""
  headers = response.headers
  validator = headers.get('ETag')
  if validator is None or validator.startswith('W/'):  # a weak tag does not promise equal bytes
    validator = headers.get('Last-Modified')
  length = headers.get('Content-Length')
  total = untrusted.whole_number(length) if 'Content-Encoding' not in headers else None
  if response.status != 206:
    if have:
      _log.warning('%s: the server sends the file from its beginning; starting over', url)
    return 0, _RemoteFile(url, total, validator, _stated_md5(headers))
  span = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', headers.get('Content-Range', '').strip())
  if known and span and untrusted.whole_number(span[1]) == have and validator in (None, known.validator):
    if span[2] in ('*', str(known.total)):
      return have, known
  discard(part)
  raise _TryAgainError('the file on the server has changed, or the server sent another range; starting over')


def _receive(
  response: Any, out: Any, part: pathlib.Path, start: int, total: int | None, bar: Meter, give_up: float
) -> int:
  """Writes the body behind `start`; returns the position reached."""
  done = start
  out.seek(start)
  out.truncate()
  while total is None or done < total:
    chunk = response.read1(_READ if total is None else min(_READ, total - done))
    if not chunk:
      break
    view = memoryview(chunk)
    while view:
      with disk_errors(part):
        view = view[out.write(view) :]
    done += len(chunk)
    bar(done, total)
    if time.monotonic() > give_up:
      raise _TryAgainError('the time for the whole download is over')
  with disk_errors(part):
    os.fsync(out.fileno())
  return done


def _refused(error: urllib.error.HTTPError, url: str, part: pathlib.Path, have: int) -> NoReturn:
  """Raises _TryAgainError for an HTTP error state that may pass, else TransferError."""
  with error:
    if error.code == 416 and have:
      discard(part)
      raise _TryAgainError('the file on the server has changed its length; starting over')
    if error.code in _PASSING:
      after = error.headers.get('Retry-After', '')
      raise _TryAgainError(f'the server answered {error.code} {error.reason}', untrusted.whole_number(after) or 0)
    raise TransferError(
      f'{url}: the server answered {error.code} {error.reason}. Check the address and your proxy settings.'
    ) from error


def _unreachable(reason: object, url: str, have: int) -> NoReturn:
  """Raises _TryAgainError for a failure to connect that may pass, else TransferError."""
  if isinstance(reason, ssl.SSLCertVerificationError):
    raise TransferError(
      f'{url}: its certificate cannot be checked ({reason.verify_message}). Behind a proxy that opens TLS, set '
      'SSL_CERT_FILE to its certificate.'
    )
  if isinstance(reason, socket.gaierror) and not have:
    raise TransferError(f'{url}: the host name cannot be resolved ({reason.strerror}). Check address and connection.')
  raise _TryAgainError(f'no connection ({reason})')


def _stated_md5(headers: http.client.HTTPMessage) -> str | None:
  """The MD5 of the whole file in hexadecimal, as Google Cloud Storage states it (x-goog-hash)."""
  for value in headers.get_all('x-goog-hash') or []:
    for item in value.split(','):
      name, _, code = item.strip().partition('=')
      if name == 'md5':
        with contextlib.suppress(ValueError):
          return base64.b64decode(code, validate=True).hex()
  return None


def _note(part: pathlib.Path) -> pathlib.Path:
  return part.with_name(part.name + '.json')


def _read_note(part: pathlib.Path, url: str) -> _RemoteFile | None:
  """The file that a part is of; None if that is not recorded or has another address."""
  try:
    known = _RemoteFile(**untrusted.from_json(_note(part).read_text(encoding='utf-8')))
  except (OSError, ValueError, TypeError):
    return None
  texts = (known.validator, known.md5)
  whole = isinstance(known.total, int | None) and all(isinstance(text, str | None) for text in texts)
  return known if whole and known.url == url else None


def _size(path: pathlib.Path) -> int:
  try:
    return path.stat().st_size
  except OSError:
    return 0
