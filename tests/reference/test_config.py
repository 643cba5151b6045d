"""Configuration: every mistake is named at once, with source, key, found and expected; examples and options work."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpmspec.reference.config import Config, ConfigError, load_config, parse_address
from cpmspec.reference.parts import Parts, load_parts
from cpmspec.reference.users import UserRule, Users

EXAMPLES = Path(__file__).parents[2] / "fixtures" / "reference"


def mistakes(path: Path, text: str, **keys: object) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {key.replace("__", "."): value for key, value in keys.items()})
    return [message.removeprefix(f"{path}: ") for message in caught.value.messages]


def test_nothing_configured_is_good_for_work_by_hand() -> None:
    config = load_config()
    assert config == Config()
    assert config.psi_uri == "sip:deferred@example.com"
    assert config.trusted == {"127.0.0.1", "::1"}


def test_the_example_shows_the_defaults() -> None:
    shown = load_config(EXAMPLES / "pf.toml")
    for section in ("sip", "core", "msrp", "delivery", "history"):
        assert getattr(shown, section) == getattr(Config(), section)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = (
        'domain = 5\nfoo = 1\n[sip]\nport = "x"\n[msrp]\nwindow = 0\n[[users]]\nmatch = "*"\nestablishment = "shove"\n'
    )
    found = mistakes(tmp_path / "pf.toml", text)
    assert found[:5] == [
        "domain: found 5, expected a valid string",
        "sip.port: found 'x', expected a valid integer, unable to parse string as an integer",
        "msrp.window: found 0, expected greater than or equal to 1",
        "users[0].establishment: found 'shove', expected 'pull' or 'push'",
        "foo: found an unknown key, expected one of core, delivery, domain, history, msrp, psi, sip, state, users",
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[sip]\nlisten = ["localhost"]', "sip.listen[0]"),
        ("[sip]\nlisten = []", "sip.listen"),
        ('[sip]\nlisten = ["192.0.2.1"]', "core.trusted"),
        ('[core]\naddress = "127.0.0.1"', "core.address"),
        ("[sip]\ntls_port = 0", "sip.tls_cert"),
        ('[sip]\ntls_cert = "/no/such/file"', "sip.tls_cert"),
        ('psi = "deferred"', "psi"),
        ('domain = "a b"', "domain"),
        ('[history]\naccount = "{nobody}"', "history.account"),
    ],
)
def test_what_does_not_fit_together_is_named(tmp_path: Path, text: str, key: str) -> None:
    (found,) = mistakes(tmp_path / "pf.toml", text)
    assert found.startswith(f"{key}: found ")


def test_what_is_missing_is_told_in_words(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path / "pf.toml", "[sip]\ntls_port = 0")
    assert found.startswith("sip.tls_cert: found nothing, expected a certificate file")


def test_a_wrong_option_is_told_as_such(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path / "pf.toml", "", sip__port=70000)
    assert found == "command line: sip.port: found 70000, expected less than or equal to 65535"


def test_unreadable_files(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "pf.toml", "domain = ")[0].startswith("found ")
    with pytest.raises(ConfigError, match="found no such file"):
        load_config(tmp_path / "none.toml")


def test_addresses() -> None:
    assert parse_address("127.0.0.1:5060") == ("127.0.0.1", 5060)
    assert parse_address("[::1]:5060") == ("::1", 5060)
    for wrong in ("::1", "localhost:5060", "127.0.0.1:0", "127.0.0.1:x", ""):
        with pytest.raises(ValueError, match=r".*"):
            parse_address(wrong)


def test_the_first_matching_rule_wins() -> None:
    users = Users([UserRule("sip:on-*@EXAMPLE.com", history=True), UserRule("off-*@example.com")], UserRule("*"))
    assert users.history("sip:on-1@example.com")
    assert users.served("sip:off-1@example.com")
    assert not users.history("sip:off-1@example.com")
    assert not users.served("sip:other@example.com")
    assert Users([], UserRule("*", establishment="push")).pushes("sip:anybody@anywhere")


def test_parts_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from cpmspec.reference.parts import Parts\nPARTS = Parts()\n")
    assert load_parts(file) == Parts()
    for text in ("PARTS = 5", "import nothing_of_that_name", "syntax error"):
        file.write_text(text)
        with pytest.raises(ConfigError):
            load_parts(file)
    with pytest.raises(ConfigError):
        load_parts(tmp_path / "none.py")
