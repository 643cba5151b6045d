"""What was deferred: each message that an originator sent to a served user, as it arrived at the PF (8.3.2.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cpmspec.evidence.context import ServedUser
from cpmspec.judge.octets import MsrpSeen, SipSeen
from cpmspec.judge.transfers import Attempt, attempts_of
from cpmspec.wire.cpim import parse_cpim
from cpmspec.wire.headers import Headers
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import MsrpUri, aor, parse_name_addr, parse_uri

PAGER = "pager"
LARGE = "large"


@dataclass(frozen=True)
class Deferred:
    """One message that the PF took over, or may have taken over, for a served user who did not receive it at once.

    ``arrived_us`` and ``accepted_us`` bound its time of receipt: first request at the PF, and the answer that took the
    message over (the final response to the MESSAGE, the 200 to the last chunk).
    """

    user: ServedUser
    mode: str
    request: SipRequest
    content: bytes
    content_type: str | None
    arrived_us: int
    accepted_us: int
    accepted_frame: int
    send: Headers | None = None  #: the headers of the originator's (first) MSRP SEND, large mode only
    status: int = 202
    #: whether the PF has to keep it. It may have kept one that it refused, or left without an answer that tells, or
    #: that the client took when it was forwarded; then it is known if it comes, and not missed if it does not.
    firm: bool = True
    index: int = field(default=0)

    @property
    def key(self) -> int:
        """Position among the deferred messages of the trace."""
        return self.index

    @property
    def marks(self) -> tuple[str, str | None, bytes]:
        """What a retry of the originator has in common with the request that failed."""
        return (self.call_id, self.msrp_message_id, b"" if self.mode == LARGE else self.content)

    @property
    def call_id(self) -> str:
        """The Call-ID of the stored request."""
        return self.request.call_id or ""

    @cached_property
    def sha256(self) -> str:
        """The digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def imdn_message_id(self) -> str | None:
        """The imdn.Message-ID of a CPIM content, if it has one (RFC 5438 6.3)."""
        if self.content_type and MediaType.parse(self.content_type).full == "message/cpim":
            return parse_cpim(self.content).imdn_message_id
        return None

    @property
    def msrp_message_id(self) -> str | None:
        """The Message-ID of the originator's MSRP SEND."""
        return self.send.get("Message-ID") if self.send is not None else None

    @cached_property
    def identifiers(self) -> frozenset[str]:
        """Every identifier that a notification may name it by."""
        found = (
            self.imdn_message_id,
            self.call_id,
            self.request.headers.get("Contribution-ID"),
            self.msrp_message_id,
        )
        return frozenset(one for one in found if one)

    @cached_property
    def expires_us(self) -> int | None:
        """When it expires, in microseconds since the epoch (RFC 3428 7): by Date + Expires, else by receipt + Expires.

        The Expires of an INVITE limits the invitation, not the message; there Message-Expires counts.
        """
        name = "Expires" if self.mode == PAGER else "Message-Expires"
        text = (self.request.headers if self.mode == PAGER else self.send or self.request.headers).get(name)
        if text is None or not text.strip().isdigit():
            return None
        date = self.request.date
        base = round(date.timestamp() * 1_000_000) if date is not None else self.arrived_us
        return base + int(text) * 1_000_000

    def expired(self, us: int) -> bool:
        """Whether it had expired by then."""
        return self.expires_us is not None and self.expires_us <= us

    @property
    def name(self) -> str:
        """How a report calls it."""
        return f"{self.mode}-mode message {self.call_id!r}"


def user_of(users: Sequence[ServedUser], identity: str | None) -> ServedUser | None:
    """The served user with that identity, if it is one."""
    if not identity:
        return None
    key = aor(identity)
    return next((user for user in users if aor(user.uri) == key), None)


def addressee(users: Sequence[ServedUser], request: SipRequest) -> ServedUser | None:
    """Whom a request is for: by its Request-URI, else by what the core says (P-Served-User, RFC 5502 4)."""
    served = request.headers.get("P-Served-User")
    if served is not None and parse_name_addr(served).param("sescase") == "orig":
        return None
    return user_of(users, request.uri) or user_of(users, served)


def deferred_messages(
    sip: Sequence[SipSeen], msrp: Sequence[MsrpSeen], users: Sequence[ServedUser]
) -> tuple[Deferred, ...]:
    """All messages to served users that the PF accepted or may have kept, in the order of its answers.

    ``sip`` is what crossed ``isc``, ``msrp`` what crossed ``mo``.
    """
    found = [*_pager(sip, users), *_large(sip, msrp, users)]
    firm = {one.marks for one in found if one.firm}
    found = [one for one in found if one.firm or one.marks not in firm]
    found.sort(key=lambda one: one.accepted_us)
    for index, one in enumerate(found):
        object.__setattr__(one, "index", index)
    return tuple(found)


def _first_final(sip: Sequence[SipSeen], request: SipSeen, *, from_iut: bool) -> SipSeen | None:
    """The first final response to a request, in the given direction."""
    for seen in sip:
        if (
            isinstance(seen.message, SipResponse)
            and seen.message.status >= 200
            and seen.from_iut is from_iut
            and seen.transaction == request.transaction
        ):
            return seen
    return None


def _pager(sip: Sequence[SipSeen], users: Sequence[ServedUser]) -> Iterator[Deferred]:
    last: dict[tuple[str, int, str], SipSeen] = {}
    for seen in sip:
        if not seen.from_iut and isinstance(seen.message, SipRequest):
            last[seen.transaction] = seen
    done: set[tuple[str, int, str]] = set()
    for seen in sip:
        request = seen.message
        if seen.from_iut or not isinstance(request, SipRequest) or request.method != "MESSAGE":
            continue
        user = addressee(users, request)
        if user is None or seen.transaction in done:
            continue
        done.add(seen.transaction)
        answer = _first_final(sip, seen, from_iut=True)
        status = answer.message.status if answer is not None and isinstance(answer.message, SipResponse) else 0
        known = answer or last[seen.transaction]
        yield Deferred(
            user,
            PAGER,
            request,
            request.body,
            request.content_type,
            seen.us,
            known.us,
            known.frame.number,
            status=status,
            firm=200 <= status < 300 and not _taken_by_client(sip, seen, request, known),
        )


def _taken_by_client(sip: Sequence[SipSeen], original: SipSeen, request: SipRequest, answer: SipSeen) -> bool:
    """Whether the PF forwarded the request and the client took it, at once or late: then it need not be deferred.

    What it forwards has the same Call-ID, or, from a PF that stands between as a user agent of its own, the same
    content before the PF's answer to the originator.
    """
    for seen in sip:
        copy = seen.message
        if not seen.from_iut or not isinstance(copy, SipRequest) or copy.method != "MESSAGE":
            continue
        between = original.frame.number < seen.frame.number < answer.frame.number
        alike = between and bool(copy.body) and copy.body == request.body and aor(copy.uri) == aor(request.uri)
        if copy.call_id == request.call_id or alike:
            taken = _first_final(sip, seen, from_iut=False)
            if taken is not None and isinstance(taken.message, SipResponse) and taken.message.status < 300:
                return True
    return False


def session_ids(octets: bytes) -> frozenset[str]:
    """The session-ids of all ``a=path`` URIs of an SDP (RFC 4975 8.2)."""
    media = parse_sdp(octets).message
    uris = (parse_uri(text) for text in (media.path if media is not None else ()))
    return frozenset(uri.session_id for uri in uris if isinstance(uri, MsrpUri) and uri.session_id)


def last_session_id(path: Sequence[str]) -> str | None:
    """The session-id at the end of a To-Path: the endpoint's own URI."""
    uri = parse_uri(path[-1]) if path else None
    return uri.session_id if isinstance(uri, MsrpUri) else None


def _large(sip: Sequence[SipSeen], msrp: Sequence[MsrpSeen], users: Sequence[ServedUser]) -> Iterator[Deferred]:
    done: set[str] = set()
    for seen in sip:
        request = seen.message
        if seen.from_iut or not isinstance(request, SipRequest) or request.method != "INVITE":
            continue
        user = addressee(users, request)
        if user is None or request.to_tag or (request.call_id or "") in done:
            continue
        answer = _first_final(sip, seen, from_iut=True)
        if answer is None or not isinstance(answer.message, SipResponse) or answer.message.status >= 300:
            continue
        done.add(request.call_id or "")
        ids = session_ids(answer.message.body)
        sends = [
            (None, one)
            for one in msrp
            if not one.from_iut and one.head.method == "SEND" and last_session_id(one.head.to_path) in ids
        ]
        content = [(session, one) for session, one in sends if one.body is not None]
        for attempt in attempts_of(content, msrp):
            yield _large_message(user, seen, request, attempt)


def _large_message(user: ServedUser, invite: SipSeen, request: SipRequest, attempt: Attempt) -> Deferred:
    """One transfer of the originator: it is taken over for certain if it is whole and every chunk was answered 200."""
    given = [answer for answer in attempt.answers if answer is not None]
    last = given[-1] if given else attempt.chunks[-1]
    return Deferred(
        user,
        LARGE,
        request,
        attempt.body,
        attempt.content_type,
        invite.us,
        max(last.end_us, attempt.end_us),
        last.last.number,
        send=attempt.chunks[0].head.headers,
        status=200,
        firm=not attempt.aborted and attempt.accepted_us is not None,
    )
