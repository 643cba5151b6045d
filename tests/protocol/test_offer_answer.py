"""Direction, setup and who connects."""

from __future__ import annotations

import pytest

from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.protocol.offer_answer import answer_direction, choose_setup, connects


@pytest.mark.parametrize(
    ("offered", "wanted", "answer"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("recvonly", "sendrecv", "sendonly"),
        ("sendonly", "sendrecv", "recvonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendonly", "sendonly"),
        ("sendrecv", "inactive", "inactive"),
    ],
)
def test_direction(offered: str, wanted: str, answer: str) -> None:
    assert answer_direction(offered, wanted) == answer


@pytest.mark.parametrize(
    ("offered", "answer"),
    [("active", "passive"), ("passive", "active"), ("actpass", "active"), ("ACTPASS", "active"), (None, "passive")],
)
def test_setup(offered: str | None, answer: str) -> None:
    assert choose_setup(offered) == answer


def test_setup_preference_decides_actpass_only() -> None:
    assert choose_setup("actpass", prefer="passive") == "passive"
    assert choose_setup("passive", prefer="passive") == "active"
    assert choose_setup("holdconn") == "holdconn"


@pytest.mark.parametrize(("answer", "offerer"), [("passive", True), ("active", False), (None, True)])
def test_exactly_one_side_connects(answer: str | None, offerer: bool) -> None:
    assert connects(answer, offerer=offerer)
    assert not connects(answer, offerer=not offerer)


def test_unknown_words_are_refused_with_488() -> None:
    for call in (answer_direction, choose_setup):
        with pytest.raises(RemoteProtocolError) as caught:
            call("sideways")
        assert caught.value.status == 488
