"""Building MSRP: strictly, and unchecked for what is wrong on purpose; fresh identifiers (RFC 4975 7, 9 and 14.1)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence

from cpmspec.wire.headers import Header, Headers, encode
from cpmspec.wire.msrp_grammar import IDENT
from cpmspec.wire.msrp_head import QUICK, parse_head, repeats
from cpmspec.wire.msrp_stream import HYPHENS
from cpmspec.wire.msrp_views import MsrpViews

_METHOD = re.compile(r"[A-Z]+")
# What is left to the caller: what is no plain "must"
_LEFT = frozenset(("MSR-4975-7.1.1-11", "MSR-4975-7.1.2-04", "MSR-LIMIT-05"))
# A REPORT repeats the From-Path and the Message-ID of a SEND (7.1.2): what is wrong with these is its peer's fault
_REPEATED = _LEFT | {
    *(f"MSR-4975-6-{number:02}" for number in range(1, 8)),
    "MSR-4975-9-04", "MSR-4975-9-10", "MSR-4975-9-12", "MSR-4975-9-17",
}  # fmt: skip


def new_transaction_id(avoid: bytes = b"") -> str:
    """A fresh transaction identifier of 80 random bits (RFC 4975 7.1) whose end-line does not occur in ``avoid``."""
    while True:
        candidate = secrets.token_hex(10)
        if encode(candidate) not in avoid:
            return candidate


def new_message_id() -> str:
    """A fresh Message-ID: an ``ident`` of 96 random bits (RFC 4975 7.1.1)."""
    return secrets.token_hex(12)


def new_session_id() -> str:
    """A fresh session-id of 128 random bits; at least 80 are asked for (RFC 4975 14.1)."""
    return secrets.token_hex(16)


def build_request(
    method: str, transaction_id: str, to_path: Sequence[str], from_path: Sequence[str],
    headers: Iterable[tuple[str, str]], body: bytes | None, flag: str = "$", *, content_type: str | None = None,
) -> bytes:  # fmt: skip
    """A request. Content-Type is moved to the end of the headers; ``body`` ``None`` makes a request without one.

    :raises ValueError: a part breaks the grammar, a body has no Content-Type (or the reverse), or the end-line of
        ``transaction_id`` occurs in the body (RFC 4975 7.1: take another identifier).
    """
    if body is not None and HYPHENS + encode(transaction_id) in body:
        raise ValueError(f"the end-line of {transaction_id!r} occurs in the body")
    head = build_head(
        method, transaction_id, to_path, from_path, headers, content_type=content_type, has_body=body is not None
    )
    return head + (body or b"") + build_end(transaction_id, flag, has_body=body is not None)


def build_head(
    method: str, transaction_id: str, to_path: Sequence[str], from_path: Sequence[str],
    headers: Iterable[tuple[str, str]], *, content_type: str | None = None, has_body: bool,
) -> bytes:  # fmt: skip
    """What comes before the body of a request: for those who send the body in pieces.

    :raises ValueError: a part breaks the grammar, or a body has no Content-Type (or the reverse).
    """
    if not _METHOD.fullmatch(method):
        raise ValueError(f"method {method!r} is not in upper-case letters")
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        if name.lower() == "content-type":
            content_type = value
        else:
            kept.append((name, value))
    if has_body != (content_type is not None):
        raise ValueError(f"a body and a Content-Type go together: Content-Type is {content_type!r}")
    last = [] if content_type is None else [("Content-Type", content_type)]
    start = _start(transaction_id, method, to_path, from_path)
    return _checked(start + Headers.of(*kept, *last).octets() + (b"\r\n" if has_body else b""), has_body=has_body)


def build_end(transaction_id: str, flag: str, *, has_body: bool) -> bytes:
    """The end-line, with the CRLF that stands between it and a body (RFC 4975 7.1).

    :raises ValueError: ``flag`` is none of ``$``, ``+``, ``#``, or ``transaction_id`` is no ``ident``.
    """
    if len(flag) != 1 or flag not in "$+#":
        raise ValueError(f"continuation flag {flag!r} is none of $, +, #")
    _check_ident(transaction_id)
    return (b"\r\n" if has_body else b"") + HYPHENS + encode(transaction_id + flag) + b"\r\n"


def build_response(request: MsrpViews, status: int, comment: str = "") -> bytes:
    """The response to a request: To-Path is the first URI of a SEND's From-Path, else the whole of it (RFC 4975 7.2).

    :raises ValueError: ``request`` is a response or a REPORT, which nobody answers, or lacks a path; ``status`` or
        ``comment`` break the grammar.
    """
    if not request.is_request or request.method == "REPORT":
        raise ValueError("neither a response nor a REPORT is answered (RFC 4975 7.1.2)")
    if not 100 <= status <= 999:
        raise ValueError(f"status {status} does not have three digits")
    to_path = request.from_path[:1] if request.method == "SEND" else request.from_path
    text = f"{status:03d} {comment}" if comment else f"{status:03d}"
    head = _start(request.transaction_id, text, to_path, request.to_path[:1])
    return head + build_end(request.transaction_id, "$", has_body=False)


def build_unchecked(
    start: str, headers: Iterable[tuple[str, str] | str], body: bytes | None = None, flag: str = "$", *,
    transaction_id: str | None = None, line_end: str = "\r\n", before_end: bytes = b"\r\n", end: bytes | None = None,
) -> bytes:  # fmt: skip
    """A message with anything in it: for sending what is wrong on purpose.

    ``start`` is the start-line without its line end. Each of ``headers``, To-Path and From-Path among them, is a name
    and a value, or a line as it shall stand; all are ended by ``line_end``, as is the empty line before a ``body``.
    ``before_end`` stands between body and end-line. The end-line bears ``transaction_id``, or the second word of
    ``start``, and ``flag``; ``end`` takes the place of all of it.
    """
    lines = [start, *(line if isinstance(line, str) else ": ".join(line) for line in headers)]
    if body is not None:
        lines.append("")
    if end is None:
        ident = [*start.split(), "", ""][1] if transaction_id is None else transaction_id
        end = HYPHENS + encode(f"{ident}{flag}\r\n")
    return encode("".join(line + line_end for line in lines)) + (b"" if body is None else body + before_end) + end


def _checked(head: bytes, *, has_body: bool) -> bytes:
    """The same head, if it breaks no rule."""
    plain = QUICK.fullmatch(head)
    if plain is None or repeats(head, *plain.group("first", "success", "failure")):
        read = parse_head(head, has_body=has_body)
        left = _REPEATED if read.method == "REPORT" else _LEFT
        found = [one for one in read.violations if one.id not in left]
        if found:
            raise ValueError(f"the head would break a rule: {found[0]}")
    return head


def _start(transaction_id: str, what: str, to_path: Sequence[str], from_path: Sequence[str]) -> bytes:
    _check_ident(transaction_id)
    if any(mark in what for mark in "\r\n\0"):
        raise ValueError(f"start-line {what!r} holds a CR, LF or NUL")
    for name, path in (("To-Path", to_path), ("From-Path", from_path)):
        if not path or any(not uri or re.search(r"\s", uri) for uri in path):
            raise ValueError(f"{name} {tuple(path)!r} is not a list of URIs")
    paths = Header.make("To-Path", " ".join(to_path)).raw + Header.make("From-Path", " ".join(from_path)).raw
    return encode(f"MSRP {transaction_id} {what}\r\n") + paths


def _check_ident(transaction_id: str) -> None:
    if not IDENT.fullmatch(transaction_id):
        raise ValueError(f"transaction identifier {transaction_id!r} is no ident of 4 to 32 characters")
