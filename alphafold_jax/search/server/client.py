# SPDX-License-Identifier: Apache-2.0
"""Requests to one HTTP server: tried again where a failure may pass, with an error where it will not, in a deadline.

Nothing is sent to any other host: redirections are refused, and credentials go out encrypted or to this machine only.
"""

import base64
import dataclasses
import datetime
import email.message
import email.utils
import http.client
import logging
import random
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from alphafold_jax import untrusted
from alphafold_jax.errors import InputError, SearchError
from alphafold_jax.version import __version__

_log = logging.getLogger(__name__)
_READ = 1 << 18  # bytes
_LARGEST = 1 << 30  # bytes of a packed answer
_LARGEST_REFUSAL = 1 << 16  # bytes
_RETRIES = 6  # failures in a row; the answer that the server is busy is not among them
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds
_PASSING = (408, 425, 500, 502, 503, 504)
_BUSY = 429
_LOCAL = ('localhost', '127.0.0.1', '::1')
_HEADER_NAME = re.compile(r'[A-Za-z0-9-]+')
_HEADER_VALUE = re.compile(r'[!-~](?:[ -~]*[!-~])?')
_ELSEWHERE = 'Another server can be named with --host-url; without internet access search databases of your own.'
_DENIED = {
  401: 'It asks for credentials, or does not know those given: check user name and password, or the API key and the '
  'name of its header',
  403: 'It does not serve you: your address may have been blocked for too many requests, or it wants credentials. '
  f'{_ELSEWHERE}',
}


@dataclasses.dataclass(frozen=True)
class RequestClock:
  """How a client reads the time and waits, in seconds; tests have their own."""

  now: Callable[[], float] = time.monotonic
  sleep: Callable[[float], None] = time.sleep


@dataclasses.dataclass(frozen=True)
class Credentials:
  """User name, password and API key for a private server; secrets are in no message and no repr."""

  user: str | None = None
  password: str | None = dataclasses.field(default=None, repr=False)
  key_header: str = 'X-API-Key'
  key: str | None = dataclasses.field(default=None, repr=False)

  def headers(self) -> dict[str, str]:
    """The HTTP headers with these credentials; InputError if headers cannot hold them."""
    made = {}
    if self.user is not None:
      if ':' in self.user:
        raise InputError('the user name for the server holds a colon, which HTTP does not allow')
      pair = f'{self.user}:{self.password or ""}'.encode()
      made['Authorization'] = f'Basic {base64.b64encode(pair).decode()}'
    if self.key is not None:
      if not _HEADER_NAME.fullmatch(self.key_header) or not _HEADER_VALUE.fullmatch(self.key):
        raise InputError(
          f'the API key in header {self.key_header!r} holds characters that a header cannot; '
          'check for blanks and line ends around it'
        )
      made[self.key_header] = self.key
    return made

  @property
  def secrets(self) -> list[str]:
    """Texts that must not be in any message."""
    secrets = [self.password, self.key, self.headers().get('Authorization', '').removeprefix('Basic ')]
    return [secret for secret in secrets if secret]


class PassingError(Exception):
  """A failure that may be gone on the next try."""

  def __init__(self, reason: str, wait: float = 0.0, *, counts: bool = True):
    super().__init__(reason)
    self.wait = wait  # seconds the server asks for
    self.counts = counts  # as a failed try; a busy server has not failed


class RefusedError(SearchError):
  """The server answered that it will not do this (HTTP 400 to 499)."""


class _SameServer(urllib.request.HTTPRedirectHandler):
  """Refuses redirections: urllib would send credentials on to wherever they lead."""

  def __init__(self, url: str):
    self._url = url

  def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> NoReturn:
    to = urllib.parse.urlsplit(newurl)
    raise SearchError(
      f'{self._url}: the server redirects to {to.scheme}://{to.netloc.rpartition("@")[2]}, where '
      'nothing is sent unasked; if you trust that address, give it with --host-url'
    )


class Client:
  """Sends requests to one server."""

  def __init__(self, url: str, credentials: Credentials, *, contact: str, timeout: float, clock: RequestClock):
    """Checks the address; sends nothing yet.

    Args:
      url: of the server, http or https.
      credentials: sent with every request.
      contact: mail address for the server's operators, or ''.
      timeout: seconds without a single byte after which a request has failed.
      clock: for waits and the deadline.

    Raises:
      InputError: the address or the credentials cannot be used.
    """
    self.url = _checked(url, credentials)
    agent = f'alphafold-jax/{__version__}' + (f' ({contact})' if contact else '')
    if not _HEADER_VALUE.fullmatch(agent):
      raise InputError(f'contact {contact!r}: give a mail address in plain letters')
    self._headers = {'User-Agent': agent, 'Accept-Encoding': 'identity', **credentials.headers()}
    self._secrets = credentials.secrets
    self._timeout, self._clock = timeout, clock
    self._seconds, self._give_up = 0.0, clock.now()
    self._answered = False
    self._opener = urllib.request.build_opener(_SameServer(self.url))

  def begin(self, seconds: float) -> None:
    """Sets the deadline of all requests that follow, in seconds from now."""
    self._seconds, self._give_up = seconds, self._clock.now() + seconds

  def ask(self, path: str, read: Callable[[bytes], Any], form: Mapping[str, str] | None = None) -> Any:
    """Sends a request, again after failures that may pass, and reads the answer.

    Args:
      path: below the address of the server.
      read: makes the result of the answer; raises PassingError when the answer is not whole.
      form: sent by POST; without it the request is a GET.

    Returns:
      what `read` returns.

    Raises:
      RefusedError: the server refuses the request.
      SearchError: it cannot be reached, or the deadline is over.
    """
    failures = tries = 0
    while True:
      try:
        return read(self._send(path, form))
      except PassingError as error:
        failures += error.counts
        if failures > _RETRIES:
          raise SearchError(f'{self.url}: {error}; gave up after {failures} tries. {_ELSEWHERE}') from None
        _log.info('%s: %s; trying again', self.url, error)
        self.wait(tries, str(error), at_least=error.wait)
        tries += 1

  def wait(self, step: int, reason: str, *, at_least: float = 0.0, first: float = _FIRST_WAIT) -> None:
    """Waits: twice as long with each step up to a minute, a quarter more or less by chance.

    Args:
      step: number of waits before this one.
      reason: for messages.
      at_least: seconds.
      first: seconds of the first wait.

    Raises:
      SearchError: the deadline would be over.
    """
    seconds = max(min(first * 2.0 ** min(step, 10), _LONGEST_WAIT) * random.uniform(0.75, 1.25), at_least)
    if self._clock.now() + seconds > self._give_up:
      raise SearchError(
        f'{self.url}: no result within the {duration(self._seconds)} allowed, the last word was: '
        f'{reason}. Run the same command again later: a search that the server has begun is asked for, '
        'not begun anew. Or allow more time, or use another server (--host-url)'
      )
    self._clock.sleep(seconds)

  def _send(self, path: str, form: Mapping[str, str] | None) -> bytes:
    """One request and its whole answer."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(f'{self.url}/{path}', data, self._headers)
    try:
      with self._opener.open(request, timeout=self._timeout) as response:
        self._answered = True
        return self._receive(response)
    except urllib.error.HTTPError as error:
      with error:
        self._answered = True
        raise self._refusal(error) from None
    except urllib.error.URLError as error:
      raise self._failure(error.reason) from None
    except (OSError, http.client.HTTPException) as error:
      raise PassingError(f'the connection broke ({error or type(error).__name__})') from None

  def _receive(self, response: http.client.HTTPResponse) -> bytes:
    body, length = bytearray(), response.headers.get('Content-Length', '')
    while chunk := response.read1(_READ):
      body += chunk
      if len(body) > _LARGEST:
        raise SearchError(f'{self.url}: an answer of more than {_LARGEST >> 20} MiB; is this an MMseqs2 server?')
      if self._clock.now() > self._give_up:
        raise PassingError(f'the answer came too slowly ({len(body)} bytes)')
    if len(body) < (untrusted.whole_number(length) or 0):
      raise PassingError(f'the answer was cut off after {len(body)} of {length} bytes')
    return bytes(body)

  def _refusal(self, error: urllib.error.HTTPError) -> Exception:
    """The error for an HTTP error state."""
    try:
      text = error.read(_LARGEST_REFUSAL).decode('utf-8', 'replace')
    except (OSError, http.client.HTTPException):
      text = ''
    what = f'the server answered {error.code} {error.reason}{self._quoted(text)}'
    if error.code in (_BUSY, *_PASSING):
      return PassingError(what, _asked_wait(error.headers), counts=error.code != _BUSY)
    if error.code in _DENIED:
      return SearchError(f'{self.url}: {what}. {_DENIED[error.code]}')
    return RefusedError(f'{self.url}: {what}. Check the address: {_ELSEWHERE}')

  def _failure(self, reason: object) -> Exception:
    """The error for a failure to connect."""
    if isinstance(reason, ssl.SSLCertVerificationError):
      return SearchError(
        f'{self.url}: its certificate cannot be checked ({reason.verify_message}). Behind a proxy '
        'that opens TLS, or for a private server, set SSL_CERT_FILE to the certificate that signed it'
      )
    if isinstance(reason, socket.gaierror) and not self._answered:
      return SearchError(
        f'{self.url}: the host name cannot be resolved ({reason.strerror}). Check the address and the '
        f'connection. {_ELSEWHERE}'
      )
    return PassingError(f'no connection ({reason})')

  def _quoted(self, text: str) -> str:
    """The beginning of the server's answer, without credentials that it may repeat."""
    for secret in self._secrets:
      text = text.replace(secret, '***')
    words = ' '.join(''.join(c if c.isprintable() else ' ' for c in re.sub('<[^>]*>', ' ', text)).split())
    return f' ({words[:200]})' if words else ''


def duration(seconds: float) -> str:
  """7200 -> '2 h'."""
  for unit, name in ((3600, 'h'), (60, 'min')):
    if seconds >= unit:
      return f'{seconds / unit:.3g} {name}'
  return f'{seconds:.3g} s'


def _checked(url: str, credentials: Credentials) -> str:
  """The address without a slash at its end; InputError where it cannot be used."""
  try:
    parts = urllib.parse.urlsplit(url)
    usable = parts.scheme in ('http', 'https') and parts.hostname and (parts.port or 1) and url.isascii()
  except ValueError:
    usable = False
  if '@' in url:
    raise InputError('the address of the server holds a user name or password; give them apart, not in the address')
  if not usable or parts.query or parts.fragment or not url.isprintable() or ' ' in url:
    raise InputError(f'{url}: not the address of a server; give one like https://msa.example.org')
  if parts.scheme == 'http' and parts.hostname not in _LOCAL and credentials.headers():
    raise InputError(f'{url}: credentials would go out unencrypted; use https, or a tunnel to localhost')
  return url.rstrip('/')


def _asked_wait(headers: email.message.Message) -> float:
  """Seconds until the time in the header Retry-After, 0 without one."""
  text = (headers.get('Retry-After') or '').strip()
  if (seconds := untrusted.whole_number(text)) is not None:
    return float(seconds)
  try:
    then = email.utils.parsedate_to_datetime(text)
  except (ValueError, OverflowError):
    return 0.0
  return max(0.0, (then - datetime.datetime.now(then.tzinfo)).total_seconds())
