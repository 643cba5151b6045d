"""URIs, case by case: what is wrong with them, what they say; the usual way of reading is the long way."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus, told
from cpmspec.wire import params as params_module
from cpmspec.wire import uri as uri_module
from cpmspec.wire.headers import decode
from cpmspec.wire.uri import UrnUri, aor, parse_name_addr, parse_uri, same_uri
from cpmspec.wire.uri_rules import uri_violations

PROPERTY = settings(deadline=None, derandomize=True, database=None)
NEVER = re.compile(r"(?!)")


@pytest.mark.parametrize("case", corpus("uri"), ids=str)
def test_a_uri_is_read_as_told(case: Case) -> None:
    text = decode(case.octets)
    uri = parse_uri(text)
    assert told(uri_violations(text)) == case.violations
    assert str(uri) == text
    views = {"key": aor(text), **{name: getattr(uri, name, None) for name in ("scheme", "user", "host", "port")}}
    views["scheme"] = getattr(uri, "scheme", text.partition(":")[0].lower())
    assert {name: views[name] or "" for name in case.facts} == case.facts


@PROPERTY
@given(st.text())
def test_any_text_can_be_judged(text: str) -> None:
    assert all(0 <= one.offset <= len(text) for one in uri_violations(text, request=True))


PIECES = [
    "sip:",
    "SIPS:",
    "a",
    "%41",
    "@",
    ":",
    ":5060",
    ";",
    "lr",
    "=",
    "?",
    "[::1]",
    "<",
    ">",
    '"',
    " ",
    "\\",
    "A ",
    "\xa0",
]


@PROPERTY
@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_the_usual_way_is_the_long_way(text: str) -> None:
    usual = parse_uri(text), parse_name_addr(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_USUAL_SIP", "_USUAL_ADDRESS"):
            patch.setattr(uri_module, name, NEVER)
        patch.setattr(params_module, "_USUAL", NEVER)
        assert (parse_uri(text), parse_name_addr(text)) == usual


# RFC 8141 3.1
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("urn:example:a123,z456", "URN:EXAMPLE:a123,z456", True),
        ("urn:example:a123,z456", "urn:example:A123,z456", False),
        ("urn:example:a123%2Cz456", "urn:example:a123%2cz456", True),
        ("urn:example:a123%2Cz456", "urn:example:a123,z456", False),
        ("urn:example:a?+b", "urn:example:a?=c#d", True),
        ("urn:example:a", "urn:example:a/b", False),
        ("urn:example:a", "urn:other:a", False),
    ],
)
def test_equality_of_urns(first: str, second: str, same: bool) -> None:
    assert same_uri(first, second) is same
    assert same_uri(second, first) is same


# RFC 3966 4
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("tel:7042;phone-context=+1-212", "tel:7042;phone-context=+1212", True),
        ("tel:7042;phone-context=+1-212", "tel:7042;phone-context=+1213", False),
        ("tel:+15550100", "tel:15550100;phone-context=+1", False),
        ("TEL:+1(555)0100;EXT=1", "tel:+15550100;ext=1", True),
        ("tel:+15550100;a=b", "tel:+15550100", False),
        ("tel:A;phone-context=h", "tel:a;phone-context=H", True),
    ],
)
def test_equality_of_numbers(first: str, second: str, same: bool) -> None:
    assert same_uri(first, second) is same
    assert same_uri(second, first) is same


def test_the_parts_of_a_urn() -> None:
    uri = parse_uri("URN:Example:a/b?+c?=d#e")
    assert isinstance(uri, UrnUri)
    assert (uri.nid, uri.nss, uri.components) == ("example", "a/b", "?+c?=d#e")
    assert aor("<urn:Example:a>") == "urn:example:a"
