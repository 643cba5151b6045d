"""The judgement of a trace is that of the trace that was written and read back, however broken it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.evidence import pcapng
from cpmspec.evidence.trace import Kind, Pco, Role, Trace
from cpmspec.judge.judge import judge
from cpmspec.judge.verdict import Judgement, Verdict
from cpmspec.judge.windows import pending_until_us
from scene import ALICE, Scene, catalogue, delivered

QUIET = replace(ALICE, history=False)
CATALOGUE = catalogue()
CONTENTS = (b"", b"hi", bytes(range(256)), b"--b0und\r\nhi", "Grüße".encode() * 40, b"\r\n\r\n-------x$\r\n")


def kept(trace: Trace) -> Judgement:
    """The judgement of the trace, which is the same from its file."""
    found = judge(trace, CATALOGUE)
    with TemporaryDirectory() as folder:
        pcapng.write(trace, Path(folder))
        again = pcapng.read(Path(folder))
    assert judge(again, CATALOGUE) == found
    assert pending_until_us(again) == pending_until_us(trace)
    return found


def course(*, mode: str, establishment: str, tcp: bool, chunks: int, contents: tuple[bytes, ...] = CONTENTS) -> Scene:
    """Deferral, a session in which one message fails, a second session, history."""
    user = replace(ALICE, establishment=establishment)
    scene = Scene(user)
    scene.tcp = tcp
    messages = [scene.defer(mode, user, content=content) for content in contents]
    scene.wait(5)
    scene.register(user)
    scene.notify(messages, user)
    session = scene.session(user)
    for index, sent in enumerate(messages):
        session.send(session.wrap(sent), chunks=chunks, answer=413 if index == 1 else 200)
    session.bye()
    scene.wait(1)
    delivered(scene, messages[1:2], user)
    for sent in messages[2:]:
        scene.record(sent)
    return scene


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("establishment", ["pull", "push"])
@pytest.mark.parametrize(("mode", "chunks"), [("pager", 1), ("large", 1), ("large", 3)])
def test_a_whole_course(mode: str, chunks: int, establishment: str, tcp: bool) -> None:
    scene = course(mode=mode, establishment=establishment, tcp=tcp, chunks=chunks)
    scene.purposes = ("DLV-1.1", "DLV-4.1")
    judgement = kept(scene.trace())
    assert len(judgement.requirements) > 15
    other = course(mode=mode, establishment=establishment, tcp=not tcp, chunks=chunks)
    assert clause_alone(judge(other.trace(), CATALOGUE)) == clause_alone(judgement)


def clause_alone(judgement: Judgement) -> dict[str, Verdict]:
    """The requirements that do not depend on the transport."""
    return {name: verdict for name, verdict in judgement.requirements.items() if name.startswith("DLV-")}


def not_closed(scene: Scene) -> None:
    scene.closed = False


def iut_gone(scene: Scene) -> None:
    scene.frames, scene.iut_gone_us = scene.frames[: len(scene.frames) // 2], scene.us


def silent(scene: Scene) -> None:
    scene.frames.clear()


def reset(scene: Scene) -> None:
    one = next(frame for frame in scene.frames if frame.pco is Pco.MSRP)
    scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"", connection=one.connection, kind=Kind.RESET)


def answers_lost(scene: Scene) -> None:
    scene.frames = [one for one in scene.frames if not (one.pco is Pco.MSRP and one.sender is Role.CLIENT)]


def garbage(scene: Scene) -> None:
    for octets in (b"\0\1\2", b"\r\n\r\n", b"SIP/2.0 \r\n\r\n", b"BYE", b"MESSAGE sip:x SIP/2.0\r\nTo: \xff\r\n\r\n"):
        scene.put(Pco.ISC, Role.IUT, Role.CORE, octets)
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, b"MSRP x\r\n" + bytes(range(256)), connection=99)
    scene.put(Pco.STORE, Role.IUT, Role.STORE, b"a APPEND {99999999999}\r\n\xff", connection=98)


def in_small_pieces(scene: Scene) -> None:
    pieces = []
    for frame in scene.frames:
        step = 7 if frame.connection else len(frame.octets) + 1
        cuts = range(0, len(frame.octets), step) if frame.octets else [0]
        pieces += [replace(frame, octets=frame.octets[cut : cut + step]) for cut in cuts]
    scene.frames = pieces


BENDS = [not_closed, iut_gone, silent, reset, answers_lost, garbage]


@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("tcp", [False, True])
def test_a_course_that_went_wrong(bend: Callable[[Scene], None], tcp: bool) -> None:
    scene = course(mode="large", establishment="pull", tcp=tcp, chunks=2)
    bend(scene)
    kept(scene.trace())


@pytest.mark.parametrize("mode", ["pager", "large"])
def test_where_a_stream_is_cut_changes_no_verdict(mode: str) -> None:
    whole = course(mode=mode, establishment="pull", tcp=True, chunks=2)
    pieces = course(mode=mode, establishment="pull", tcp=True, chunks=2)
    in_small_pieces(pieces)
    assert kept(pieces.trace()).requirements == judge(whole.trace(), CATALOGUE).requirements


def test_a_content_longer_than_a_packet() -> None:
    content = bytes(33 + place % 90 for place in range(150_000))
    scene = Scene(QUIET)
    sent = scene.defer("large", content=content)
    scene.wait(5)
    delivered(scene, [sent], QUIET)
    frames = []
    for frame in scene.frames:
        cuts = range(0, max(1, len(frame.octets)), 65_000)
        frames += [replace(frame, octets=frame.octets[cut : cut + 65_000]) for cut in cuts]
    scene.frames = frames
    assert kept(scene.trace()).of("DLV-2a.2") == "pass"
    assert scene.broken() == set()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tcp=st.booleans(), mode=st.sampled_from(["pager", "large"]))
def test_damaged_octets_never_stop_the_judge(seed: int, tcp: bool, mode: str) -> None:
    random = Random(seed)
    scene = course(mode=mode, establishment=random.choice(["pull", "push"]), tcp=tcp, chunks=2, contents=CONTENTS[:3])
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(scene.frames))
        frame = scene.frames[at]
        match random.randrange(5):
            case 0:
                del scene.frames[at]
            case 1:
                scene.frames.insert(at, frame)
            case 2:
                scene.frames[at] = replace(frame, time_us=frame.time_us + random.randrange(-5_000_000, 5_000_000))
            case 3:
                cut = random.randrange(1, len(frame.octets))
                scene.frames[at] = replace(frame, octets=frame.octets[:cut])
            case _:
                octets = bytearray(frame.octets)
                for _ in range(random.randrange(1, 4)):
                    octets[random.randrange(len(octets))] = random.choice(b"\0 \r\n:;<>-0129aZ\xff")
                scene.frames[at] = replace(frame, octets=bytes(octets))
    kept(scene.trace())


def test_a_recorded_object_with_a_lone_cr_in_its_head_is_read() -> None:
    """Found by the test above: the judge built a header of the IUT's octets, and building is strict."""
    scene = course(mode="pager", establishment="pull", tcp=False, chunks=1, contents=CONTENTS[:3])
    for at, frame in enumerate(scene.frames):
        if frame.pco is Pco.STORE and b"text/plain" in frame.octets:
            scene.frames[at] = replace(frame, octets=frame.octets.replace(b"text/plain", b"text/pl\rin"))
    kept(scene.trace())
