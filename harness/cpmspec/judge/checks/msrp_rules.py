"""The MSRP requests of the PF seen together: identifiers, paths, the order of chunks (RFC 4975 7.1, 7.1.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.checks.common import Check, broken, ruled
from cpmspec.judge.facts import Facts
from cpmspec.judge.media import MediaSession, MediaView, media_of
from cpmspec.judge.octets import MsrpSeen
from cpmspec.judge.transfers import Attempt
from cpmspec.judge.verdict import Finding
from cpmspec.wire.uri import same_uri

#: octets: a chunk that is neither the last nor interrupted has at least so many (RFC 4975 7.1.1)
SHORT = 2048


def transaction_ids(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1-21: no request has the transaction id of another one that is still out on its connection."""
    view = media_of(facts)
    yield from ruled("MSR-4975-7.1-21", _transactions(facts, view), "requests")


def _transactions(facts: Facts, view: MediaView) -> Iterator[Finding | None]:
    last: dict[tuple[int, str], MsrpSeen] = {}
    for one in view.messages:
        if not one.from_iut or one.head.method in (None, "REPORT"):
            continue
        key = (one.connection, one.head.transaction_id)
        before = last.get(key)
        last[key] = one
        if before is None or not _out(facts, view, before, one.begin_us):
            yield None
            continue
        yield broken(
            "MSR-4975-7.1-21",
            f"the transaction id {key[1]} is used again while its first request is out",
            one.first.number,
            before.first.number,
            expected="a transaction id of its own for each request that is out",
            actual=f"{key[1]} twice",
        )


def _out(facts: Facts, view: MediaView, request: MsrpSeen, us: int) -> bool:
    """Whether a request was still waiting for its answer; one that asks for none waits for nothing."""
    if (request.head.failure_report or "yes") != "yes":
        return False
    answer = view.answers.to(request)
    if answer is not None and answer.begin_us <= us:
        return False
    return us < request.end_us + facts.settings.us("msrp_response_timer") * 9 // 10


def to_path(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1-22: To-Path of a request is the whole path that the peer gave, in its order."""
    yield from ruled("MSR-4975-7.1-22", _to_paths(media_of(facts)), "requests")


def _requests(view: MediaView) -> Iterator[tuple[MediaSession, MsrpSeen]]:
    """The requests that the IUT makes as an end of a session; a REPORT answers, and AUTH is for relays."""
    for session in view.sessions:
        for one in session.sent(by_iut=True):
            if one.head.method not in ("REPORT", "AUTH"):
                yield session, one


def _to_paths(view: MediaView) -> Iterator[Finding | None]:
    for session, one in _requests(view):
        if any(same_path(one.head.to_path, media.path) for media in session.peer):
            yield None
            continue
        yield broken(
            "MSR-4975-7.1-22",
            "To-Path is not the path of the peer's session description",
            one.first.number,
            expected=" ".join(session.peer[-1].path),
            actual=" ".join(one.head.to_path) or "none",
        )


def from_path(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1-23: From-Path of a request is the URI that the IUT gave as its own."""
    yield from ruled("MSR-4975-7.1-23", _from_paths(media_of(facts)), "requests")


def _from_paths(view: MediaView) -> Iterator[Finding | None]:
    for session, one in _requests(view):
        path = one.head.from_path
        if any(_is_own(path, media.path) for media in session.own):
            yield None
            continue
        yield broken(
            "MSR-4975-7.1-23",
            "From-Path is not the URI of the IUT's own session description",
            one.first.number,
            expected=session.own[-1].path[-1] if session.own[-1].path else "the URI of a=path",
            actual=" ".join(path) or "none",
        )


def _is_own(found: Sequence[str], path: Sequence[str]) -> bool:
    """Whether From-Path ends in the own URI; with relays of its own an endpoint's request has theirs before it."""
    return bool(found and path) and same_uri(found[-1], path[-1]) and (len(path) > 1 or len(found) == 1)


def same_path(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether two lists of URIs are equal, each by RFC 4975 6.1."""
    return len(found) == len(wanted) and all(same_uri(one, other) for one, other in zip(found, wanted, strict=True))


def chunks(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.1-21, MSR-4975-7.1.1-23, MSR-4975-7.1.1-24: chunks in order, under one Message-ID, with their place.

    The first one begins at 1, each further one where the last one ended. What follows a refusal is not looked at: a
    sender may try again.
    """
    same, order, placed = list[Finding | None](), list[Finding | None](), list[Finding | None]()
    attempts = [anatomy.attempt for anatomy in facts.anatomies]
    for index, attempt in enumerate(attempts):
        change = _changed_id(attempts[:index], attempt)
        if change is not None:
            same.append(change)
            continue
        wrong = list(_misplaced(facts, attempt))
        order.append(next((one for one in wrong if one.requirement == "MSR-4975-7.1.1-23"), None))
        if len(attempt.chunks) > 1:
            same.append(None)
            placed.append(next((one for one in wrong if one.requirement == "MSR-4975-7.1.1-24"), None))
    yield from ruled("MSR-4975-7.1.1-21", same, "messages in chunks")
    yield from ruled("MSR-4975-7.1.1-23", order, "messages")
    yield from ruled("MSR-4975-7.1.1-24", placed, "messages in chunks")


def _start(chunk: MsrpSeen) -> int | None:
    return chunk.head.byte_range.start if chunk.head.byte_range is not None else None


def _changed_id(before: Sequence[Attempt], attempt: Attempt) -> Finding | None:
    """A message that begins where another one of its session stopped, half sent: it is that message, renamed."""
    start = _start(attempt.chunks[0])
    if start is None or start <= 1 or any(one.message_id == attempt.message_id for one in before):
        return None
    for one in before:
        last = one.chunks[-1]
        if one.session is attempt.session and last.flag == "+" and _after(last) == start:
            return broken(
                "MSR-4975-7.1.1-21",
                "a message goes on under another Message-ID",
                attempt.frame,
                last.first.number,
                expected=f"Message-ID {one.message_id} in all chunks",
                actual=f"Message-ID {attempt.message_id} from octet {start} on",
            )
    return None


def _after(chunk: MsrpSeen) -> int | None:
    """The octet after the last one of a chunk."""
    start = _start(chunk)
    return None if start is None else start + len(chunk.body or b"")


def _misplaced(facts: Facts, attempt: Attempt) -> Iterator[Finding]:
    expected: int | None = 1
    for index, chunk in enumerate(attempt.chunks):
        if _tried_again(facts, attempt, index):
            return
        start = _start(chunk)
        if start is None and index:
            yield broken(
                "MSR-4975-7.1.1-24",
                "a further chunk does not say its place",
                chunk.first.number,
                attempt.frame,
                expected="a Byte-Range in every chunk after the first",
                actual="none",
            )
            return
        if start is not None and expected is not None and start != expected and not _resumed(facts, attempt, index):
            yield broken(
                "MSR-4975-7.1.1-23",
                "a chunk does not begin where the one before it ended",
                chunk.first.number,
                attempt.frame,
                expected=f"range-start {expected}",
                actual=f"range-start {start}",
            )
            return
        if chunk.flag is None:
            return
        expected = (start or 1) + len(chunk.body or b"")


def _tried_again(facts: Facts, attempt: Attempt, index: int) -> bool:
    """Whether this chunk may be another try: one before was refused or not answered in time, or a connection lost."""
    us, connection = attempt.chunks[index].begin_us, attempt.chunks[index].connection
    refusal = attempt.refusal
    if (refusal is not None and refusal.end_us <= us) or connection != attempt.chunks[0].connection:
        return True
    timer = facts.settings.us("msrp_response_timer")
    pairs = zip(attempt.chunks[:index], attempt.answers[:index], strict=True)
    return any(answer is None and us > chunk.end_us + timer * 9 // 10 for chunk, answer in pairs)


def _resumed(facts: Facts, attempt: Attempt, index: int) -> bool:
    """Whether a message that begins in its middle began in another session, or before the trace did."""
    if index:
        return False
    earlier = (one.attempt for one in facts.anatomies if one.attempt.frame < attempt.frame)
    return any(one.message_id == attempt.message_id for one in earlier) or (
        media_of(facts).opened(attempt.chunks[0].connection) is None
        and not any(one.connection == attempt.chunks[0].connection for one in _before(facts, attempt))
    )


def _before(facts: Facts, attempt: Attempt) -> Iterator[MsrpSeen]:
    return (one for one in facts.msrp if one.last.number < attempt.frame)


def first_place(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.1-25: the first chunk says its place too."""
    found = (
        None
        if _start(anatomy.attempt.chunks[0]) is not None
        else broken(
            "MSR-4975-7.1.1-25",
            "the first chunk does not say its place",
            anatomy.attempt.frame,
            expected="a Byte-Range",
            actual="none",
        )
        for anatomy in facts.anatomies
    )
    yield from ruled("MSR-4975-7.1.1-25", found, "messages")


def nothing_after_abort(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1-24: a message that its sender gave up with ``#`` does not go on."""
    yield from ruled("MSR-4975-7.1-24", _aborted(facts), "messages given up")


def _aborted(facts: Facts) -> Iterator[Finding | None]:
    for anatomy in facts.anatomies:
        pieces = anatomy.attempt.chunks
        aborted = next((index for index, chunk in enumerate(pieces) if chunk.flag == "#"), None)
        if aborted is None:
            continue
        more = next(iter(pieces[aborted + 1 :]), None)
        yield (
            None
            if more is None
            else broken(
                "MSR-4975-7.1-24",
                "a message goes on after its sender gave it up",
                more.first.number,
                pieces[aborted].first.number,
                expected="no chunk after the one flagged #",
                actual="a further chunk",
            )
        )


def message_ids(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.1-22: in a session no two messages have the same Message-ID."""
    yield from ruled("MSR-4975-7.1.1-22", _message_ids(facts), "messages")


def _message_ids(facts: Facts) -> Iterator[Finding | None]:
    first: dict[tuple[int, str], Anatomy] = {}
    for anatomy in facts.anatomies:
        if anatomy.one is None:
            continue
        attempt = anatomy.attempt
        before = first.setdefault((id(attempt.session), attempt.message_id), anatomy)
        if before is anatomy or before.one == anatomy.one:
            yield None
            continue
        yield broken(
            "MSR-4975-7.1.1-22",
            f"two messages have the Message-ID {attempt.message_id}",
            attempt.frame,
            before.attempt.frame,
            expected="a new Message-ID for each message",
            actual=f"{attempt.message_id} again",
        )


def totals(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.1-26 (interpretation): a total that is given is the same in all chunks, and true."""
    yield from ruled("MSR-4975-7.1.1-26", _totals(facts), "messages with a total")


def _totals(facts: Facts) -> Iterator[Finding | None]:
    for anatomy in facts.anatomies:
        attempt = anatomy.attempt
        ranges = [chunk.head.byte_range for chunk in attempt.chunks]
        given = {one.total for one in ranges if one is not None and one.total is not None}
        size = len(attempt.body) if attempt.complete else None
        if not given:
            continue
        wrong = len(given) > 1 or (size is not None and given != {size})
        yield (
            None
            if not wrong
            else broken(
                "MSR-4975-7.1.1-26",
                "the total of Byte-Range is not that of the message",
                attempt.frame,
                expected="one total" if size is None else f"a total of {size}",
                actual=", ".join(str(total) for total in sorted(given)),
            )
        )


def short_chunks(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.1-27: no chunk but the last is short, unless it was interrupted."""
    yield from ruled("MSR-4975-7.1.1-27", _short(facts), "chunks before the last")


def _short(facts: Facts) -> Iterator[Finding | None]:
    for anatomy in facts.anatomies:
        for chunk in anatomy.attempt.chunks:
            place = chunk.head.byte_range
            if chunk.flag != "+" or (place is not None and place.end is None):
                continue  # the last one, or one that could be interrupted and perhaps was
            size = len(chunk.body or b"")
            yield (
                None
                if size >= SHORT
                else broken(
                    "MSR-4975-7.1.1-27",
                    "a short chunk that is not the last one",
                    chunk.first.number,
                    expected=f"{SHORT} octets or more",
                    actual=f"{size} octets",
                )
            )


def same_reports(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.1-28: all chunks of a message ask for the same reports."""
    yield from ruled("MSR-4975-7.1.1-28", _reports(facts), "messages in chunks")


def _reports(facts: Facts) -> Iterator[Finding | None]:
    for anatomy in facts.anatomies:
        pieces = anatomy.attempt.chunks
        if len(pieces) < 2:
            continue
        asked = [(one.head.success_report or "no", one.head.failure_report or "yes") for one in pieces]
        other = next((index for index, one in enumerate(asked) if one != asked[0]), None)
        yield (
            None
            if other is None
            else broken(
                "MSR-4975-7.1.1-28",
                "a chunk asks for other reports than the first one",
                pieces[other].first.number,
                anatomy.attempt.frame,
                expected=f"Success-Report {asked[0][0]}, Failure-Report {asked[0][1]}",
                actual=f"Success-Report {asked[other][0]}, Failure-Report {asked[other][1]}",
            )
        )


CHECKS: tuple[Check, ...] = (
    transaction_ids,
    to_path,
    from_path,
    chunks,
    first_place,
    nothing_after_abort,
    message_ids,
    totals,
    short_chunks,
    same_reports,
)
