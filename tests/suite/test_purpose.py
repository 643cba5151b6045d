"""The decorator that makes a function a case."""

from __future__ import annotations

import inspect

import pytest

from cpmspec.suite.purpose import flows, needed_pics, purpose, purpose_of


async def case(lab: object) -> str:
    """What it is about."""
    return "ran"


async def test_the_function_stays_callable_and_keeps_its_marks() -> None:
    marked = purpose("TP_CPM_PF_DLV_V_001", "DLV-1.1", pics="history", waits=True)(flows(case))
    found = purpose_of(marked)
    assert found is not None
    assert (found.case, found.requirements, found.pics, found.waits) == (
        "TP_CPM_PF_DLV_V_001", ("DLV-1.1",), ("history",), True,
    )  # fmt: skip
    assert marked.__doc__ == "What it is about."
    marks = marked.pytestmark  # type: ignore[attr-defined]
    assert [mark.name for mark in marks] == ["parametrize"]
    assert not inspect.iscoroutinefunction(marked)
    assert await marked(None) == "ran"


def test_other_objects_have_no_purpose() -> None:
    assert purpose_of(case) is None
    assert purpose_of(3) is None


@pytest.mark.parametrize("name", ["TP_CPM_PF_DLV_021", "TP_CPM_PF_DLV_V_21", "tp_cpm_pf_dlv_v_021", ""])
def test_identifiers_have_one_form(name: str) -> None:
    with pytest.raises(ValueError, match="expected the form"):
        purpose(name, "DLV-1.1")


def test_a_requirement_and_a_docstring_are_needed() -> None:
    async def silent(lab: object) -> None:
        pass

    with pytest.raises(ValueError, match="no requirement"):
        purpose("TP_CPM_PF_DLV_V_001")
    with pytest.raises(ValueError, match="no docstring"):
        purpose("TP_CPM_PF_DLV_V_001", "DLV-1.1")(silent)


def test_parameters_imply_pics() -> None:
    marked = purpose_of(purpose("TP_CPM_PF_DLV_V_001", "DLV-1.1", pics=("history", "push"))(case))
    assert marked is not None
    assert needed_pics(marked, {"mode": "large", "establishment": "push", "status": 413, "tls": True}) == (
        "history", "push", "large_message_mode", "msrp_tls",
    )  # fmt: skip
