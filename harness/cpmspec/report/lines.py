"""One line for each frame, and its octets made readable: what a ladder shows. Nothing is judged here.

A frame may hold part of a message only, so lines are read off the head of the octets, not off a parsed message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cpmspec.evidence.trace import Frame, Kind, Pco, Role

_LONGEST_LINE = 160

# RFC 3261 7.1, 7.2
_SIP_REQUEST = re.compile(r"([A-Za-z\-.!%*_+`'~0-9]+) (\S+) SIP/2\.0")
_SIP_STATUS = re.compile(r"SIP/2\.0 (\d{3}) ?(.*)")
# RFC 4975 9: pMSRP SP transact-id SP (method / status-code [SP comment])
_MSRP = re.compile(r"MSRP (\S+) (?:([A-Z]+)$|(\d{3})(?: (.*))?$)")
# RFC 3501 9: tag SP command; response: ("*" / "+" / tag) SP ...; a literal may look like either: known commands only
_COMMANDS = """CAPABILITY NOOP LOGOUT STARTTLS AUTHENTICATE LOGIN SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE
UNSUBSCRIBE LIST LSUB STATUS APPEND CHECK CLOSE EXPUNGE SEARCH FETCH STORE COPY MOVE ID IDLE ENABLE NAMESPACE
SETMETADATA GETMETADATA"""
_IMAP_COMMAND = re.compile(rf"([^\s*+]+) ((?:UID )?(?:{'|'.join(_COMMANDS.split())}))(?: (.*))?$", re.IGNORECASE)
_IMAP_ANSWER = re.compile(r"(\*|\+|[^\s*+]{1,20}) (.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """What a ladder says of a frame: a label for the arrow, a line of text, and the protocol's name."""

    label: str
    text: str
    protocol: str  #: "sip", "msrp", "imap" or "tcp" (life of a connection)


def line_of(frame: Frame) -> Line:
    """The line of one frame."""
    if frame.kind is not Kind.DATA:
        return _connection(frame)
    head = frame.octets.decode("utf-8", "replace").split("\r\n")
    if frame.pco is Pco.STORE:
        return _imap(frame, head[0])
    if found := _MSRP.match(head[0]):
        return _msrp(frame, head, found)
    if found := _SIP_REQUEST.fullmatch(head[0]):
        return _sip_request(head, found)
    if found := _SIP_STATUS.fullmatch(head[0]):
        method = _header(head, "CSeq").rpartition(" ")[2]
        return Line(found[1], _short(f"{found[1]} {found[2]}{f' ({method})' if method else ''}"), "sip")
    protocol = "msrp" if frame.pco is Pco.MSRP or frame.connection else "sip"
    ended = re.search(rb"\r\n-------\S+([$+#])\r\n$", frame.octets)
    label = f"… {ended[1].decode()}" if ended else "…"
    return Line(label, f"{len(frame.octets)} octets more", protocol)


def _connection(frame: Frame) -> Line:
    name = f"{frame.transport.upper()} connection {frame.connection}"
    text = {
        Kind.OPEN: f"{name}: {frame.source} opens to {frame.destination}",
        Kind.CLOSE: f"{name}: closed",
        Kind.RESET: f"{name}: reset",
        Kind.LEFT: f"{name}: still open when the trace ended",
    }[frame.kind]
    return Line({Kind.LEFT: "open still"}.get(frame.kind, frame.kind.value), text, "tcp")


def _sip_request(head: list[str], found: re.Match[str]) -> Line:
    content = _header(head, "Content-Type", "c").partition(";")[0]
    expires = _header(head, "Expires")
    extra = f" · {content}" if content else ""
    if found[1] in ("REGISTER", "SUBSCRIBE") and expires:
        extra += f" · Expires {expires}"
    return Line(found[1], _short(f"{found[1]} {found[2]}{extra}"), "sip")


def _msrp(frame: Frame, head: list[str], found: re.Match[str]) -> Line:
    transaction, method, status, comment = found[1], found[2], found[3], found[4]
    if status:
        return Line(status, _short(f"{status} {comment or ''}".strip() + f" · transaction {transaction}"), "msrp")
    ended = re.search(rb"\r\n-------" + re.escape(transaction.encode()) + rb"([$+#])\r\n$", frame.octets)
    flag = ended[1].decode() if ended else "…"
    words = [method, _header(head, "Byte-Range") or _header(head, "Status"), flag]
    message_id, content = _header(head, "Message-ID"), _header(head, "Content-Type").partition(";")[0]
    words += [f"Message-ID {message_id}" if message_id else "", f"· {content}" if content else ""]
    return Line(f"{method} {flag}", _short(" ".join(word for word in words if word)), "msrp")


def _imap(frame: Frame, first: str) -> Line:
    found = (_IMAP_ANSWER if frame.sender is Role.STORE else _IMAP_COMMAND).match(first)
    if found is None:
        return Line("…", f"{len(frame.octets)} octets more", "imap")
    if frame.sender is not Role.STORE:
        return Line(found[2].upper(), _short(f"{found[2].upper()} {found[3] or ''}"), "imap")
    word = found[2].split(" ")[0]
    label = {"+": "+", "*": f"* {word}"}.get(found[1], word)
    return Line(label, _short(first), "imap")


def _header(head: list[str], *names: str) -> str:
    """The value of the first header of one of the names, without the lines that fold it."""
    wanted = {name.lower() for name in names}
    for line in head[1:]:
        if not line:
            break
        name, _, value = line.partition(":")
        if name.strip().lower() in wanted:
            return value.strip()
    return ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"


@dataclass(frozen=True, slots=True)
class Octets:
    """The beginning of a frame's octets as text; ``hidden`` octets are left out."""

    text: str
    shown: int
    hidden: int


def readable(octets: bytes, limit: int) -> Octets:
    """The first ``limit`` octets as text: a lone CR or LF is marked, what is no text is shown in hexadecimal."""
    kept = octets[:limit]
    text = _LINE_END.sub(lambda found: _LINE_ENDS[found[0]], kept.decode("utf-8", "surrogateescape"))
    return Octets(visible(text, keep="\n\t"), len(kept), len(octets) - len(kept))


def visible(text: str, *, keep: str = "\n\t") -> str:
    """The text with each character that cannot be shown, or is no character at all, as ``‹hex›``."""
    return _UNSHOWABLE.sub(lambda found: found[0] if found[0] in keep else _code(found[0]), text)


# Control characters, surrogates (octets that were no UTF-8), non-characters, and what reverses the writing direction
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_LINE_END = re.compile("\r\n|\r|\n")
_LINE_ENDS = {"\r\n": "\n", "\r": "‹CR›", "\n": "‹LF›\n"}


def _code(character: str) -> str:
    number = ord(character)
    octet = number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else number
    return f"‹{octet:02X}›"
