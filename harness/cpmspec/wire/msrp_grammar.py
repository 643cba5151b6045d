"""The grammar of MSRP as regular expressions, and the values made of it (RFC 4975 9, RFC 4976 7).

Patterns over octets read lines as they stand on the wire, patterns over text read header values. Repetitions that could
be tried in several ways are possessive: a hostile peer cannot make a search take longer than its input is long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_SHORT_CHUNK: Final = 2048  #: octets: longer chunks must be interruptible (RFC 4975 7.1.1)
MAX_NON_SEND_BODY: Final = 10_240  #: octets (RFC 4975 7.1)
MAX_DIGITS: Final = 20  #: digits of a number in Byte-Range and the like: 2^64 has 20, and no message is longer
MAX_PORT: Final = 65_535

_IDENT = r"[A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}"
# ident = ALPHANUM 3*31ident-char ; ident-char = ALPHANUM / "." / "-" / "+" / "%" / "="
IDENT: Final = re.compile(_IDENT)
# req-start = "MSRP" SP transact-id SP method CRLF ; resp-start = "MSRP" SP transact-id SP status-code [SP comment] CRLF
START_LINE: Final = re.compile(rf"MSRP ({_IDENT}) ([A-Z]+|[0-9]{{3}}(?: [^\r\n]*)?)\r\n".encode())
START_LIKE: Final = re.compile(rb"([Mm][Ss][Rr][Pp])( +)([^\s]+)( +)([^\r\n]*)(\r?\n)")
# end-line = "-------" transact-id continuation-flag CRLF ; continuation-flag = "+" / "$" / "#"
END_LINE: Final = re.compile(rb"-{7}(\S+)([$+#])(\r?\n)")
# Byte-Range = range-start "-" range-end "/" total ; range-start = 1*DIGIT ; range-end, total = 1*DIGIT / "*"
RANGE: Final = re.compile(r"([0-9]+)-([0-9]+|\*)/([0-9]+|\*)")
# Status = namespace SP status-code [SP comment] ; namespace = 3(DIGIT)
STATUS: Final = re.compile(r"([0-9]{3}) ([0-9]{3})(?: (.*))?")
# hname ":" SP hval CRLF ; hname = ALPHA *token
HEADER: Final = re.compile(rb"([A-Za-z][A-Za-z0-9!#$%&'*+\-.^_`|{}~]*+):([ \t]*+)([^\n]*?)(\r?\n)")
# utf8text = *(HTAB / %x20-7E / UTF8-NONASCII): what may not stand in it, but for octets that are no UTF-8
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
NO_UTF8: Final = re.compile(r"[\udc80-\udcff]")  #: octets that :func:`cpmspec.wire.headers.decode` found to be no UTF-8

# token = 1*(%x21 / %x23-27 / %x2A-2B / %x2D-2E / %x30-39 / %x41-5A / %x5E-7E)
TOKEN: Final = r"[!#-'*+\-.0-9A-Z^-~]+"
# quoted-string = DQUOTE *(qdtext / qd-esc) DQUOTE ; qd-esc = "\\" / "\" DQUOTE
QUOTED: Final = r'"(?:[\t !#-\[\]-~\x80-\U0010ffff]|\\["\\])*+"'
# media-type = type "/" subtype *( ";" gen-param ) ; gen-param = pname [ "=" pval ] ; pval = token / quoted-string
# Space around the semicolon is not in the grammar, but in that of MIME and everywhere (RFC 2045 5.1): it is let pass
MEDIA_TYPE: Final = re.compile(rf"{TOKEN}/{TOKEN}(?:[ \t]*;[ \t]*{TOKEN}(?:=(?:{TOKEN}|{QUOTED}))?)*")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A Byte-Range: 1-based octet numbers; ``end`` and ``total`` are ``None`` for ``*`` (RFC 4975 7.1.1)."""

    start: int
    end: int | None
    total: int | None

    def __str__(self) -> str:
        end, total = (("*" if number is None else number) for number in (self.end, self.total))
        return f"{self.start}-{end}/{total}"

    @classmethod
    def parse(cls, value: str) -> ByteRange | None:
        """Read a header value; ``None`` if it is not one, or has numbers of more than ``MAX_DIGITS`` digits."""
        found = RANGE.fullmatch(value.strip())
        if found is None or any(len(number) > MAX_DIGITS for number in found.groups()):
            return None
        start, end, total = found.groups()
        return cls(int(start), None if end == "*" else int(end), None if total == "*" else int(total))
