# SPDX-License-Identifier: Apache-2.0
"""How a character that does not belong in a sequence is named: those that only look like a letter, or like nothing.

Word processors, PDF files and keyboards of other scripts put them there, and nobody can see them in a message.
"""

import unicodedata

_CYRILLIC, _AS_CYRILLIC = 'АВЕЅІЈКМНОРСТУХҮԚԜаеѕіјорсухԛԝ', 'ABESIJKMHOPCTYXYQWaesijopcyxqw'
_GREEK, _AS_GREEK = 'ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο', 'ABEZHIKMNOPTYXo'
_LOOK_ALIKE = dict(zip(_CYRILLIC + _GREEK, _AS_CYRILLIC + _AS_GREEK, strict=True))
_INVISIBLE = {'Cf': 'is invisible', 'Cc': 'is invisible', 'Zs': 'is a blank'}
_DASHES = '\u2010\u2011\u2012\u2013\u2014\u2015\u2212'


def shown(symbol: str) -> str:
  """A character in quotes; one outside ASCII also with its code point and name: `'А' (U+0410 CYRILLIC CAPITAL ...)`."""
  if symbol.isascii():
    return repr(symbol)
  return f'{symbol!r} (U+{ord(symbol):04X} {unicodedata.name(symbol, "without a name")})'


def advice(symbol: str) -> str | None:
  """What to do about a character that is mistaken for another or cannot be seen; None if it is neither."""
  if symbol.isascii():
    return None
  if unicodedata.category(symbol) in _INVISIBLE:
    return f'{_INVISIBLE[unicodedata.category(symbol)]} and no residue; delete it, or type the line again'
  if symbol in _DASHES:
    return "only looks like '-', a gap; type the line again, or save the file as plain text"
  plain = _LOOK_ALIKE.get(symbol) or unicodedata.normalize('NFKC', symbol)
  if len(plain) == 1 and plain.isascii() and plain.isalpha():
    return f'only looks like the letter {plain}; type {plain} in its place'
  return None
