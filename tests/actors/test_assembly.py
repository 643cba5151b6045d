"""Any order and interleaving of chunks gives the message back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cpmspec.actors.assembly import Assemblies
from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp import MsrpHead


def head(byte_range: str | None) -> MsrpHead:
    headers = Headers.of(*([("Byte-Range", byte_range)] if byte_range else []))
    return MsrpHead("tr1", "SEND", None, "", headers, b"", has_body=True)


@given(st.binary(min_size=1, max_size=60), st.integers(1, 20), st.randoms())
def test_chunks_in_any_order(content: bytes, size: int, random: object) -> None:
    pieces = [(start, content[start : start + size]) for start in range(0, len(content), size)]
    last = pieces[-1][0]
    random.shuffle(pieces)  # type: ignore[attr-defined]
    assemblies = Assemblies()
    for number, (start, piece) in enumerate(pieces, 1):
        given_head = head(f"{start + 1}-{start + len(piece)}/{len(content)}")
        assembly = assemblies.add("m", given_head, piece, "$" if start == last else "+")
        assert assembly.complete == (number == len(pieces))
    assert assembly.body() == content
    assert assembly.chunks == len(pieces)


def test_without_byte_range_chunks_follow_each_other() -> None:
    assemblies = Assemblies()
    assert not assemblies.add("m", head(None), b"ab", "+").complete
    assembly = assemblies.add("m", head(None), b"cd", "$")
    assert assembly.complete
    assert assembly.body() == b"abcd"


def test_an_overlap_is_taken_once_and_a_gap_is_not_complete() -> None:
    assemblies = Assemblies()
    assemblies.add("m", head("1-4/8"), b"abcd", "+")
    assert not assemblies.add("m", head("6-8/8"), b"fgh", "$").complete
    assembly = assemblies.add("m", head("3-5/8"), b"cde", "+")
    assert assembly.complete
    assert assembly.body() == b"abcdefgh"


def test_a_repeated_or_aborted_message_begins_anew() -> None:
    assemblies = Assemblies()
    assert assemblies.add("m", head("1-2/2"), b"ab", "$").index == 0
    assert assemblies.add("m", head("1-1/2"), b"a", "#").index == 1
    again = assemblies.add("m", head("1-2/2"), b"ab", "$")
    assert (again.index, again.complete) == (2, True)


def test_a_nonsensical_start_does_not_exhaust_memory() -> None:
    assembly = Assemblies().add("m", head("99999999999999999999-*/*"), b"ab", "+")
    assert len(assembly.octets) == 2
