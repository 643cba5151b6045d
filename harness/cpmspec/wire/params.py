"""Parameters after a semicolon, as SIP headers, URIs and MIME share them (RFC 3261 25.1: generic-param)."""

from __future__ import annotations

import re
from itertools import repeat

#: names and values in order; ``None`` is a flag, values are as written
Params = tuple[tuple[str, str | None], ...]

_USUAL = re.compile(r"[!#-~]*")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


# *( SEMI name [ EQUAL value ] ), value = token / host / quoted-string
def parse_params(text: str) -> Params:
    """Read ``;name=value`` parameters; semicolons inside quotes do not count, values stay as written."""
    if _USUAL.fullmatch(text) is not None:
        return usual_params(text)
    found: list[tuple[str, str | None]] = []
    for item in split_outside_quotes(text, ";"):
        name, equals, value = item.partition("=")
        if name.strip() or equals:
            found.append((name.strip(), value.strip() if equals else None))
    return tuple(found)


def usual_params(text: str) -> Params:
    """As :func:`parse_params`, of text that holds neither white space nor quotes."""
    parts = map(str.partition, text.split(";"), repeat("="))
    return tuple([(name, value if equals else None) for name, equals, value in parts if name or equals])


def format_params(params: Params) -> str:
    """The inverse of :func:`parse_params`, with a leading semicolon."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)


def find_param(params: Params, name: str) -> str | None:
    """The value of the first parameter of that name (in any case), '' if it has none, ``None`` if it is absent."""
    key = name.lower()
    return next((value or "" for given, value in params if given.lower() == key), None)


def set_param(params: Params, name: str, value: str | None) -> Params:
    """The parameters with one set, at its place or at the end."""
    key = name.lower()
    if any(given.lower() == key for given, _ in params):
        return tuple((given, value) if given.lower() == key else (given, old) for given, old in params)
    return (*params, (name, value))


def split_outside_quotes(text: str, mark: str) -> list[str]:
    """Split at a mark, except inside quoted strings."""
    if '"' not in text:
        return text.split(mark)
    parts: list[str] = []
    start, quoted, escaped = 0, False, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == mark and not quoted:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


def unquoted(text: str) -> str:
    """The content of a quoted string (RFC 3261 25.1); other text as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return _QUOTED_PAIR.sub(r"\1", text[1:-1])
