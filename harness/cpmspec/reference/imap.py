"""One visit to the IMAP message store (RFC 3501), blocking: made in a thread, over when it is done."""

from __future__ import annotations

import imaplib
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cpmspec.wire.imap import encode_mailbox

if TYPE_CHECKING:
    from typing_extensions import Buffer

TIMEOUT = 10.0
"""Seconds that each answer of the store may take."""

# RFC 3501 6.3.8: "*" and "%" are wildcards, "/" and "\" hierarchy separators of servers in use; "#" and "~" lead into
# namespaces (5.1.2). "=" is escaped only where it would look like an escape, so that no two names become one.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff/\\*%\"]|=(?=[0-9A-F]{2})|^[#~.]")
_LONGEST = 120  # characters of a folder name
_WIDEST = 240  # octets of it in modified UTF-7: a store may keep it as the name of a file, which has at most 255

Hook = Callable[[bytes], bytes | None]


class StoreFailure(Exception):
    """The message store did not do what was asked; it may later."""


class Visit:
    """A logged-in connection. Everything in it that came off the wire is quoted or refused, never injected.

    :raises StoreFailure: no connection, or the store refuses the account.
    """

    def __init__(self, host: str, port: int, account: str, password: str, hook: Hook | None = None) -> None:
        try:
            self._imap = _Imap(host, port, hook)
            try:
                self._ask(self._imap.login, quoted(account), password)
                self._separator = self._find_separator()
            except (StoreFailure, OSError, imaplib.IMAP4.error):
                self.close()
                raise
        except (OSError, imaplib.IMAP4.error) as error:
            raise StoreFailure(f"{host}:{port}: {error}") from error

    def append(self, folder: str, octets: bytes, received: float) -> None:
        """Put an object into a folder, which is made if it is not there (6.3.3, 6.3.11).

        :raises StoreFailure: the object is not in the store, or nobody knows.
        """
        mailbox = self._mailbox(folder)
        try:
            self._imap.create(mailbox)  # NO: it exists
            self._ask(self._imap.append, mailbox, "", imaplib.Time2Internaldate(received), octets)
        except (OSError, imaplib.IMAP4.error) as error:
            raise StoreFailure(str(error)) from error

    def holds(self, folder: str, message_id: str) -> bool:
        """Whether the folder has an object with that Message-ID: the question before appending again."""
        try:
            status, _ = self._imap.select(self._mailbox(folder), readonly=True)
            if status != "OK":
                return False
            found = self._ask(self._imap.search, None, "HEADER", "Message-ID", quoted(message_id))
            self._imap.close()
        except (OSError, imaplib.IMAP4.error) as error:
            raise StoreFailure(str(error)) from error
        return any(isinstance(line, bytes) and line.strip() for line in found)

    def close(self) -> None:
        """Leave."""
        try:
            self._imap.logout()
        except (OSError, imaplib.IMAP4.error):
            self._imap.shutdown()

    def _ask(self, command: Callable[..., tuple[str, list[Any]]], *arguments: Any) -> list[Any]:
        status, data = command(*arguments)
        if status != "OK":
            raise StoreFailure(f"{status} {data!r:.200}")
        return data

    def _find_separator(self) -> str:
        found = re.search(rb'\) "(.)" ', b" ".join(line for line in self._ask(self._imap.list, '""', '""') if line))
        return found[1].decode("latin-1") if found else "/"

    def _mailbox(self, folder: str) -> str:
        safe = safe_folder(folder, self._separator)
        return quoted(encode_mailbox(safe).decode("ascii"))


class _Imap(imaplib.IMAP4):
    """The client of the standard library, with a hook on what it writes."""

    def __init__(self, host: str, port: int, hook: Hook | None) -> None:
        self._hook = hook
        super().__init__(host, port, timeout=TIMEOUT)

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        super().open(host, port, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a literal and its end leave at once

    def send(self, data: Buffer) -> None:
        octets = bytes(data) if self._hook is None else self._hook(bytes(data))
        if octets:
            super().send(octets)


def quoted(text: str) -> str:
    """A quoted string (RFC 3501 9).

    :raises StoreFailure: the text holds what no quoted string can: CR, LF, NUL or 8-bit characters.
    """
    if not text.isascii() or any(mark in text for mark in "\r\n\0"):
        raise StoreFailure(f"{text!r} cannot be quoted")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def safe_folder(name: str, separator: str = "/") -> str:
    """A folder name that is one level of the hierarchy and neither a pattern nor INBOX; most names stay as they are."""
    safe = _UNSAFE.sub(lambda found: f"={ord(found[0]):02X}", name)
    if separator not in ("/", "\\"):
        safe = safe.replace(separator, f"={ord(separator):02X}")
    if safe.upper() == "INBOX":
        safe = f"={ord(safe[0]):02X}{safe[1:]}"
    safe = safe[:_LONGEST]
    while len(encode_mailbox(safe)) > _WIDEST:
        safe = safe[:-1]
    return safe
