"""MSRP of a scene message by message, for the rules over several of them: each octet can be bent on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.verdict import Finding, Grade, Verdict
from scene import ALICE, Scene, Session, Wrapped

QUIET = replace(ALICE, history=False)
TYPE = "multipart/mixed;boundary=b0und"


class Prepared(Session):
    """A session with the deferred messages, wrapped, that are to be sent in it."""

    waiting: tuple[Wrapped, ...] = ()


def opened(count: int = 1, **ixit: object) -> Prepared:
    """A session whose connection the client opened, with the client's first SEND answered."""
    scene = Scene(QUIET, **ixit)
    sent = [scene.defer() for _ in range(count)]
    scene.wait(5)
    scene.register()
    session = Prepared(scene, QUIET, offer={"setup": "active"})
    scene.open(Pco.MSRP, Role.CLIENT, session.connection)
    bound(session)
    session.waiting = tuple(session.wrap(one) for one in sent)
    return session


def bound(session: Session, tid: str = "bind1", connection: int | None = None, status: int = 200) -> None:
    """The client's SEND without content, and the PF's answer."""
    asked(session, tid, connection=connection)
    if status:
        answer(session, tid, status, connection=connection)


def asked(session: Session, tid: str, body: bytes | None = None, *, connection: int | None = None, **head: str) -> None:
    """A SEND of the client."""
    given = {"To-Path": session.pf_path, "From-Path": session.path, "Message-ID": f"{tid}-id"}
    given |= {name.replace("_", "-"): value for name, value in head.items()}
    if body is not None:
        given |= {"Byte-Range": f"1-{len(body)}/{len(body)}", "Content-Type": "text/plain"}
    session.scene.msrp(
        Role.CLIENT, Role.IUT, f"{tid} SEND", list(given.items()), body, connection=connection or session.connection
    )


def answer(session: Session, tid: str, status: int = 200, *, connection: int | None = None, **head: str) -> None:
    """A response of the PF."""
    given = {"To-Path": session.path, "From-Path": session.pf_path}
    given |= {name.replace("_", "-"): value for name, value in head.items()}
    session.scene.msrp(
        Role.IUT, Role.CLIENT, f"{tid} {status} OK", list(given.items()), connection=connection or session.connection
    )


def report(session: Session, tid: str, status: str = "000 200 OK", *, by: Role = Role.IUT, **head: str) -> None:
    """A REPORT, of the PF unless said otherwise."""
    to, own = (session.path, session.pf_path) if by is Role.IUT else (session.pf_path, session.path)
    given = {"To-Path": to, "From-Path": own, "Message-ID": "one-id", "Byte-Range": "1-4/4", "Status": status}
    given |= {name.replace("_", "-"): value for name, value in head.items()}
    headers = [(name, value) for name, value in given.items() if value]
    peer = Role.CLIENT if by is Role.IUT else Role.IUT
    session.scene.msrp(by, peer, f"{tid} REPORT", headers, connection=session.connection)


def piece(session: Session, octets: bytes, start: int, total: int | str, flag: str, **options: object) -> str:
    """A chunk of the PF, answered; options replace header values (``None``: leave the header out) and the answer."""
    status = options.pop("status", 200)
    tid = str(options.pop("tid", f"t{session.scene.next()}xyz"))
    connection = options.pop("connection", session.connection)
    given: dict[str, object] = {
        "To-Path": session.path,
        "From-Path": session.pf_path,
        "Message-ID": "idone",
        "Byte-Range": f"{start}-{start + len(octets) - 1}/{total}",
        **{name.replace("_", "-"): value for name, value in options.items()},
        "Content-Type": TYPE,
    }
    headers = [(name, str(value)) for name, value in given.items() if value is not None]
    assert isinstance(connection, int)
    session.scene.msrp(Role.IUT, Role.CLIENT, f"{tid} SEND", headers, octets, flag, connection=connection)
    if isinstance(status, int):
        replied(session, tid, status, connection)
    return tid


def replied(session: Session, tid: str, status: int = 200, connection: int | None = None) -> None:
    """The client's answer to a chunk."""
    headers = [("To-Path", session.pf_path), ("From-Path", session.path)]
    session.scene.msrp(Role.CLIENT, Role.IUT, f"{tid} {status} X", headers, connection=connection or session.connection)


def whole(session: Prepared, index: int = 0) -> bytes:
    """The octets of one of the deferred messages, wrapped, and made long enough for several chunks."""
    return session.waiting[index].render() + b"\r\n" * 2500


def halves(session: Prepared, *, size: int | None = None) -> tuple[bytes, bytes, int]:
    """The same in two pieces, and its size."""
    octets = whole(session)
    cut = size or 3000
    return octets[:cut], octets[cut:], len(octets)


def chunked(**second: object) -> Session:
    """Two chunks; the options are those of the second one."""
    session = opened()
    first, rest, size = halves(session)
    piece(session, first, 1, size, "+")
    start = second.pop("start", len(first) + 1)
    assert isinstance(start, int)
    piece(session, rest, start, size, "$", **second)
    return session


def one_chunk(flag: str = "$", *, cut: int = 0, total: int | str | None = None, **head: object) -> Session:
    session = opened()
    octets = whole(session)
    piece(session, octets[: len(octets) - cut], 1, len(octets) if total is None else total, flag, **head)
    return session


def of(scene: Scene, requirement: str) -> list[Finding]:
    return [one for one in scene.judge().findings if one.requirement == requirement]


def verdicts(scene: Scene, requirement: str) -> set[tuple[Verdict, Grade]]:
    return {(one.verdict, one.grade) for one in of(scene, requirement)}


FAIL, PASS = {(Verdict.FAIL, Grade.STRICT)}, {(Verdict.PASS, Grade.STRICT)}
REMARK, OPEN = {(Verdict.PASS, Grade.NON_STRICT)}, {(Verdict.INCONC, Grade.STRICT)}
NONE: set[tuple[Verdict, Grade]] = set()

Told = set[tuple[Verdict, Grade]]
Build = Callable[[], Session]
#: what it is called, the requirement, the scene, and what is to be told of it
Row = tuple[str, str, Build, Told]
