# SPDX-License-Identifier: Apache-2.0
"""Text as HTML. What a person or a file gave goes through `escaped`, `linked` or `as_json` on its way into a page."""

import base64
import functools
import hashlib
import html
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from alphafold_jax.output.drawing import colour_map
from alphafold_jax.output.plots import PLDDT_BANDS
from alphafold_jax.version import __version__

PAE_COLOURS, IDENTITY_COLOURS = 'Greens_r', 'viridis'


def escaped(text: Any) -> str:
  """Text as HTML shows it, letter for letter, also within an attribute."""
  return html.escape(str(text).encode('utf-8', 'backslashreplace').decode('utf-8'))


def as_json(value: Any) -> str:
  """JSON that can stand in a script element: it holds no letter that HTML reads."""
  text = json.dumps(value, allow_nan=False, separators=(',', ':'))
  return text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026')


def linked(name: str, text: str | None = None) -> str:
  """A link to a file in the page's own folder, whatever its name looks like."""
  address = './' + urllib.parse.quote(name.encode('utf-8', 'surrogateescape'), safe='')
  return f'<a href="{address}">{escaped(name if text is None else text)}</a>'


def items(lines: Iterable[str], css_class: str = '') -> str:
  """A list of lines of HTML."""
  named = f' class="{css_class}"' if css_class else ''
  return f'<ul{named}>' + ''.join(f'<li>{line}</li>' for line in lines) + '</ul>'


def terms(pairs: Mapping[str, str]) -> str:
  """Names with their values, both plain text."""
  rows = ''.join(f'<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>' for name, value in pairs.items())
  return f'<dl>{rows}</dl>' if rows else ''


TERM = re.compile('<dt>(.*?)</dt><dd>(.*?)</dd>', re.DOTALL)  # of `terms`


def table(label: str, heading: Sequence[str], rows: Iterable[Sequence[str]], table_id: str) -> str:
  """A table that scrolls sideways where it is too wide.

  Args:
    label: what it is, for who cannot see it.
    heading: plain text.
    rows: cells of HTML.
    table_id: its id.
  """
  head = ''.join(f'<th scope="col">{escaped(name)}</th>' for name in heading)
  body = ''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)
  return (
    f'<div class="scrolling" role="region" aria-label="{escaped(label)}" tabindex="0">'
    f'<table id="{table_id}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
  )


def notes(texts: Iterable[str]) -> str:
  """What must be said of predictions, in a bar that stays in sight."""
  lines = ''.join(f'<p>{escaped(text)}</p>' for text in texts)
  return f'<div class="notes" role="note" aria-label="Warning">{lines}</div>' if lines else ''


# ------------------------------------------------------------------------------------------ scripts and styles


@functools.cache
def asset(name: str) -> str:
  """The text of a file beside this one."""
  return resources.files(__package__).joinpath(name).read_text(encoding='utf-8')


@functools.cache
def style() -> str:
  """The style sheet, with the colours that other pictures have as well."""
  bands = ''.join(f'--band-{i}: {colour}; ' for i, (_, _, colour, _) in enumerate(PLDDT_BANDS))
  scales = ''.join(
    f'--scale-{name}: linear-gradient(to right, {", ".join(map(_hex, colour_map(name)[::15]))}); '
    for name in (PAE_COLOURS, IDENTITY_COLOURS)
  )
  return f':root {{ {bands}{scales}}}\n{asset("page.css")}'


@functools.cache
def script(*names: str) -> str:
  """Several scripts as one."""
  return '\n'.join(map(asset, names))


@functools.cache
def digest(text: str) -> str:
  """How a content security policy names a script or style that may be used."""
  return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(scripts: Iterable[str], **others: str) -> str:
  """A content security policy by which a page loads nothing and runs these scripts only.

  Args:
    scripts: sources, such as from `digest`.
    **others: sources of other kinds, such as img_src='data:'.
  """
  rules = {'default-src': "'none'", 'script-src': ' '.join(scripts), 'style-src': digest(style())}
  rules |= {name.replace('_', '-'): sources for name, sources in others.items()}
  rules |= {'base-uri': "'none'", 'form-action': "'none'"}
  return escaped('; '.join(f'{name} {sources}' for name, sources in rules.items()))


def document(body: str, *, title: str, policy: str, **parts: str) -> str:
  """A whole page: the frame that all have, around a body.

  Args:
    body: its template.
    title: HTML.
    policy: from `policy`.
    **parts: of the body, HTML.
  """
  shared = {'title': title, 'program': f'alphafold_jax {__version__}'}
  return filled('frame.html', **shared, policy=policy, style=style(), body=filled(body, **shared, **parts))


def filled(template: str, **parts: str) -> str:
  """A template with each {{name}} replaced; a part that looks like a name itself stays as it is."""
  return re.sub(r'\{\{(\w+)\}\}', lambda found: parts[found[1]], asset(template))


def _hex(colour: Sequence[int]) -> str:
  return '#' + ''.join(f'{int(channel):02x}' for channel in colour)
