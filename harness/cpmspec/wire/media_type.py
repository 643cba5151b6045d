"""The value of a Content-Type (RFC 2045 5.1), read leniently and told whether it is one by the grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# token := 1*<any (US-ASCII) CHAR except SPACE, CTLs, or tspecials>
TOKEN: Final = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
TSPECIALS: Final = frozenset('()<>@,;:\\"/[]?=')

_SPACE = r"[ \t\r\n]*"
_LENIENT = r"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]+"
# content := type "/" subtype *(";" attribute "=" value) ; value := token / quoted-string
# with white space between any two of these: RFC 822 3.1.4, and SLASH of RFC 3261 25.1
_TYPE = re.compile(rf"{_SPACE}({_LENIENT}){_SPACE}/{_SPACE}({_LENIENT}){_SPACE}")
_PARAM = re.compile(rf';{_SPACE}({_LENIENT}){_SPACE}={_SPACE}("(?:[^"\\]|\\.)*"|[^;"\s]+){_SPACE}', re.DOTALL)
_QUOTED = r'"(?:[^"\\\r\n]|\\.)*"'
_PARAMS = rf"(?:;{_SPACE}{TOKEN}{_SPACE}={_SPACE}(?:{TOKEN}|{_QUOTED}){_SPACE})*"
_STRICT_TYPE = re.compile(rf"{_SPACE}{TOKEN}{_SPACE}/{_SPACE}{TOKEN}{_SPACE}{_PARAMS}")
# disposition := "Content-Disposition" ":" disposition-type *(";" disposition-parm) (RFC 2183 2)
_STRICT_DISPOSITION = re.compile(rf"{_SPACE}{TOKEN}{_SPACE}{_PARAMS}")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MediaType:
    """The value of a Content-Type: names in lower case, values as they stand; ``type`` is empty if it is unreadable."""

    type: str
    subtype: str
    params: tuple[tuple[str, str], ...]
    text: str

    @classmethod
    def parse(cls, value: str) -> MediaType:
        """Read a header value; what follows the last readable parameter is left out (see :attr:`well_formed`)."""
        bare = without_comments(value)
        found = _TYPE.match(bare)
        if found is None:
            return cls("", "", (), value)
        params = tuple((name, _unquoted(given)) for name, given in _parameters(bare, found.end()))
        return cls(found[1].lower(), found[2].lower(), params, value)

    @property
    def full(self) -> str:
        """Type and subtype, e.g. ``multipart/mixed``; empty if unreadable."""
        return f"{self.type}/{self.subtype}" if self.type else ""

    @property
    def grammatical(self) -> bool:
        """Whether the text is a Content-Type by the grammar, comments allowed (RFC 2045 5.1, RFC 822 3.4.3)."""
        return _STRICT_TYPE.fullmatch(without_comments(self.text)) is not None

    @property
    def repeated(self) -> bool:
        """Whether a parameter stands twice (RFC 6838 4.3)."""
        names = [name for name, _ in self.params]
        return len(names) != len(set(names))

    @property
    def well_formed(self) -> bool:
        """Whether the text is a Content-Type by the grammar, with no parameter twice."""
        return self.grammatical and not self.repeated

    @property
    def composite(self) -> bool:
        """Whether the entity holds entities: multipart or message (RFC 2046 5)."""
        return self.type in ("multipart", "message")

    @property
    def bare_boundary(self) -> bool:
        """Whether the boundary has characters that need quotes, and no quotes (RFC 2046 5.1.1)."""
        bare = without_comments(self.text)
        found = _TYPE.match(bare)
        given = dict(reversed(_parameters(bare, found.end()))).get("boundary", "") if found is not None else ""
        return not given.startswith('"') and not TSPECIALS.isdisjoint(given)

    def param(self, name: str) -> str | None:
        """The first parameter of that name, quotes taken off."""
        key = name.lower()
        return next((value for known, value in self.params if known == key), None)

    def continued(self, name: str) -> str | None:
        """The value that stands in pieces, as ``name*0``, ``name*1`` and so on, put together (RFC 2231 3)."""
        pieces: list[str] = []
        while (piece := self.param(f"{name}*{len(pieces)}")) is not None:
            pieces.append(piece)
        return "".join(pieces) if pieces else None

    def __str__(self) -> str:
        return self.text


def is_disposition(value: str) -> bool:
    """Whether the value of a Content-Disposition is one by the grammar (RFC 2183 2)."""
    return _STRICT_DISPOSITION.fullmatch(without_comments(value)) is not None


# comment = "(" *(ctext / quoted-pair / comment) ")" (RFC 822 3.3)
def without_comments(text: str) -> str:
    """A structured header value with a space for each comment; as it stands if one of them has no end."""
    if "(" not in text:
        return text
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for mark in text:
        inside = depth > 0
        if escaped:
            escaped = False
        elif mark == "\\" and (inside or quoted):
            escaped = True
        elif mark == '"' and not inside:
            quoted = not quoted
        elif mark == "(" and not quoted:
            depth += 1
        elif mark == ")" and inside:
            depth -= 1
            if not depth:
                kept.append(" ")
            continue
        if not depth:
            kept.append(mark)
    return text if depth else "".join(kept)


def _parameters(text: str, at: int) -> list[tuple[str, str]]:
    """Names in lower case and values as written, quotes and all, as far as they can be read."""
    params: list[tuple[str, str]] = []
    while parameter := _PARAM.match(text, at):
        params.append((parameter[1].lower(), parameter[2]))
        at = parameter.end()
    return params


def _unquoted(value: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", value[1:-1]) if value[0] == '"' else value


DEFAULT_TYPE: Final = MediaType.parse("text/plain;charset=us-ascii")  #: of a part without Content-Type (RFC 2046 5.1)
DIGEST_TYPE: Final = MediaType.parse("message/rfc822")  #: the same in a multipart/digest (RFC 2046 5.1.5)
