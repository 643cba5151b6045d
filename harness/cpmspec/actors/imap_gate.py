"""What the relay lets through between the PF and the message store: all of it, but for an APPEND that is to go wrong.

Octets in, octets out: nothing here reads or writes a socket. It follows commands with their literals (RFC 3501 4.3,
RFC 7888) and the store's answers, so that what it says itself stands between whole responses, after the answers to all
earlier commands (RFC 3501 5.5).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import deque
from collections.abc import Callable
from enum import Enum

from cpmspec.wire.imap import ImapCommand, ImapCommandStream, ImapResponse, ImapResponseStream

#: the account whose fault holds for everybody
EVERYBODY = "*"

#: what goes wrong for an account, if anything
FaultOf = Callable[[str], str | None]

# tag SP "APPEND" SP: the beginning of a command whose literal is still to come
_APPEND = re.compile(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]+) APPEND ", re.IGNORECASE)
_GO_ON = b"+ Ready for literal data\r\n"
_REFUSED = b" NO The store is out of order.\r\n"


class _Fate(Enum):
    """What becomes of a command."""

    PASS = "pass"
    FAIL = "fail"  #: the store does not see it, the answer is NO
    HANG = "hang"  #: the store does not see it, and there is no answer to it or to anything after it


class ImapGate:
    """One connection. ``fault`` is asked when an APPEND begins: ``fail`` answers NO, ``hang`` never answers.

    What is for the PF comes out of :meth:`for_pf`, to be asked after each octets of either side.
    """

    def __init__(self, fault: FaultOf) -> None:
        self.account: str | None = None  #: whoever the PF logged in as, or tried to
        self._fault = fault
        self._login = _LoginWatch()
        self._commands, self._begun = ImapCommandStream(), 0
        self._responses, self._open = ImapResponseStream(), 0
        self._fate: _Fate | None = None
        self._held = b""
        self._hung = False
        self._early = ""
        self._turns: deque[str | bytes] = deque()
        self._for_pf: list[bytes] = []

    def commands(self, octets: bytes) -> bytes:
        """Take what the PF sent; what of it is for the store."""
        onward: list[bytes] = []
        start = 0
        for command in self._commands.feed(octets):
            end = start + len(command.raw) - self._begun
            onward.append(self._whole(command, octets[start:end]))
            start, self._begun = end, 0
        if start < len(octets):
            self._begun += len(octets) - start
            onward.append(self._part(octets[start:]))
        self._own()
        return b"".join(onward)

    def responses(self, octets: bytes) -> None:
        """Take what the store sent."""
        start = 0
        for response in self._responses.feed(octets):
            end = start + len(response.raw) - self._open
            self._for_pf.append(octets[start:end])
            start, self._open = end, 0
            self._settle(response)
            self._own()
        if start < len(octets):
            self._open += len(octets) - start
            self._for_pf.append(octets[start:])

    def for_pf(self) -> bytes:
        """What is to be sent to the PF now, of the store's and of our own."""
        octets = b"".join(self._for_pf)
        self._for_pf.clear()
        return octets

    def _whole(self, command: ImapCommand, octets: bytes) -> bytes:
        """The end of a command, or all of it."""
        octets, self._held = self._held + octets, b""
        fate = self._fate or (self._wrong() if command.name == "APPEND" else _Fate.PASS)
        self._fate = None
        early, self._early = self._early, ""
        if self._hung:
            return b""
        if fate is _Fate.PASS:
            self.account = self._login.account(command) or self.account
            if command.tag and command.tag != early:
                self._turns.append(command.tag)
            return octets
        if fate is _Fate.FAIL:
            self._turns.append(command.tag.encode("ascii") + _REFUSED)
        else:
            self._hung = True
        return b""

    def _part(self, octets: bytes) -> bytes:
        """Some of a command that is not complete."""
        if self._hung:
            return b""
        if self._fate is None:
            octets, self._held = self._held + octets, b""
            self._fate = self._wrong()
            if self._fate is not _Fate.PASS:
                if b"\n" not in octets:  # the first line is needed to know the command
                    self._fate, self._held = None, octets
                    return b""
                if _APPEND.match(octets) is None:
                    self._fate = _Fate.PASS
        if self._fate is _Fate.PASS:
            return octets
        if self._commands.awaiting:
            self._announced()
        return b""

    def _announced(self) -> None:
        """A command that is to go wrong waits for leave to send a literal: that can be refused at once."""
        if self._fate is _Fate.HANG:
            self._turns.append(_GO_ON)
            return
        refused = self._commands.abandon()
        self._begun = 0
        if refused is not None:
            self._whole(refused, b"")

    def _wrong(self) -> _Fate:
        """What becomes of an APPEND that begins now."""
        fault = self._fault(EVERYBODY if self.account is None else self.account)
        return _Fate(fault) if fault in (_Fate.FAIL.value, _Fate.HANG.value) else _Fate.PASS

    def _settle(self, response: ImapResponse) -> None:
        """The store answered a command, or one that is not complete yet."""
        if response.tag in ("", "*", "+"):
            return
        if response.tag in self._turns:
            self._turns.remove(response.tag)
        elif self._fate is _Fate.PASS and self._commands.awaiting:  # it refused the literal, which the PF will not send
            self._commands.abandon()
            self._begun, self._fate = 0, None
        elif self._begun:
            self._early = response.tag

    def _own(self) -> None:
        """Say what we have to say ourselves, if it is its turn and no response of the store's is half said."""
        while self._turns and isinstance(own := self._turns[0], bytes) and not self._open:
            self._turns.popleft()
            self._for_pf.append(own)


# the first response of a client, by mechanism, with the account in it
_MECHANISMS = {
    "PLAIN": re.compile(rb"(?P<other>[^\0]*)\0(?P<account>[^\0]*)\0[^\0]*"),  # RFC 4616 2
    "LOGIN": re.compile(rb"(?P<account>.+)", re.DOTALL),  # draft-murchison-sasl-login 2
    "CRAM-MD5": re.compile(rb"(?P<account>.+) [0-9a-f]{32}", re.DOTALL),  # RFC 2195 2
}


class _LoginWatch:
    """Finds the account in the commands of a client: LOGIN, AUTHENTICATE (RFC 3501 6.2, RFC 4959)."""

    def __init__(self) -> None:
        self._awaited = ""  #: the mechanism whose response comes next

    def account(self, command: ImapCommand) -> str | None:
        """The account, when this command logs in."""
        mechanism, self._awaited = self._awaited, ""
        if mechanism and not command.name and (account := _named(mechanism, command.raw.strip())):
            return account
        if command.name == "LOGIN" and command.arguments:
            return command.arguments[0].decode("utf-8", "replace")
        if command.name == "AUTHENTICATE" and command.arguments:
            mechanism = command.arguments[0].upper().decode("ascii", "replace")
            if len(command.arguments) > 1:
                return _named(mechanism, command.arguments[1])
            self._awaited = mechanism
        return None


def _named(mechanism: str, response: bytes) -> str | None:
    """The account in a client's response; for PLAIN that of the other one for whom it logs in, if there is one."""
    pattern = _MECHANISMS.get(mechanism)
    try:
        found = pattern.fullmatch(base64.b64decode(response, validate=True)) if pattern else None
    except binascii.Error:
        return None
    if found is None:
        return None
    return (found.groupdict().get("other") or found["account"]).decode("utf-8", "replace")
