"""cpmspec.sut.profile, models and crosschecks: every mistake of a profile at once, each with key, found, expected."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cpmspec.sut import resources
from cpmspec.sut.models import Ixit, Profile
from cpmspec.sut.profile import ProfileError, known_keys, load_profile

ATTACHED = """
[iut]
name = "x"
{iut}
[iut.sip]
host = "192.0.2.7"
{sip}
[core]
{core}
[users]
domain = "example.com"
{users}
[pics]
{pics}
[ixit]
{ixit}
[history]
{history}
"""

LAUNCHED = """
[iut]
name = "x"
command = ["{{python}}", "-m", "pf", "{{core}}"]
ready = 'ready (?P<host>\\S+) (?P<port>\\d+)'
{iut}
[users]
domain = "example.com"
prefix_on = "on-"
prefix_off = "off-"
{users}
[pics]
{pics}
"""

TABLES = ("iut", "sip", "core", "users", "pics", "ixit", "history")
PREFIXES = 'prefix_on = "on-"\nprefix_off = "off-"'


def write(folder: Path, text: str, **tables: str) -> Path:
    path = folder / "profile.toml"
    path.write_text(text.format(**{table: tables.get(table, "") for table in TABLES}), encoding="utf-8")
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert all(message.startswith(f"{path}: ") for message in caught.value.messages)
    assert str(caught.value) == "\n".join(caught.value.messages)
    return [message.removeprefix(f"{path}: ") for message in caught.value.messages]


def test_smallest_attached_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, ATTACHED, users=PREFIXES))
    assert profile.attached
    assert [tuple(endpoint) for endpoint in profile.iut.sip.endpoints] == [("udp", "192.0.2.7", 5060)]
    assert profile.psi == "sip:deferred@example.com"
    assert profile.explicit == ()
    assert profile.flags["sip_udp"]
    assert not profile.flags["sip_tls"]


def test_smallest_launched_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, LAUNCHED))
    assert not profile.attached
    assert profile.iut.sip.endpoints == ()
    assert profile.users.prefix(history=True, flow="pull") == "on-"
    assert profile.users.pool(history=True, flow="push") == ()


def test_explicit_names_what_the_file_sets(tmp_path: Path) -> None:
    path = write(tmp_path, ATTACHED, users=PREFIXES, ixit='bye_within = 5\n[ixit.stored_headers]\nsip = ["From"]')
    profile = load_profile(path)
    assert profile.explicit == ("bye_within", "stored_headers")
    assert profile.ixit.stored_headers.sip == ("From",)
    assert profile.ixit.bye_within == 5.0


def test_json_form_is_plain_and_complete(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, ATTACHED, users=PREFIXES))
    plain = json.loads(json.dumps(profile.to_json()))
    assert plain == profile.to_json()
    assert set(plain["ixit"]) == set(Ixit.model_fields)
    assert Profile.from_json(plain) == profile


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        pytest.param({"sip": "prot = 3"}, ["iut.sip.prot: found an unknown key", "did you mean port?"], id="misspelt"),
        pytest.param({"pics": "bye_within = 3"}, ["pics.bye_within: found", "mean ixit.bye_within?"], id="wrong-table"),
        pytest.param({"core": "colour = 3"}, ["core.colour: found an unknown key", "here: host, port"], id="unknown"),
        pytest.param({"sip": "port = 65536"}, ["iut.sip.port: found 65536", "at most 65535"], id="port"),
        pytest.param({"sip": 'port = "5060"'}, ['iut.sip.port: found "5060"', "a whole number"], id="text-for-number"),
        pytest.param({"sip": 'transport = "sctp"'}, ['found "sctp"', "one of 'udp', 'tcp' or 'tls'"], id="choice"),
        pytest.param({"sip": 'also = ["tcp"]'}, ['iut.sip.also[0]: found "tcp"', "address:port"], id="endpoint"),
        pytest.param({"sip": 'also = ["tcp6:192.0.2.1:5060"]'}, ["an IPv6 address in brackets"], id="endpoint-family"),
        pytest.param({"sip": 'also = ["udp:192.0.2.8:5060"]'}, ["two endpoints for udp, expected one"], id="twice"),
        pytest.param({"sip": "port = 0"}, ["iut.sip.port: found port 0 for udp"], id="attached-port-0"),
        pytest.param({"core": 'host = "not a host"'}, ['core.host: found "not a host"', "the name of a"], id="no-host"),
        pytest.param({"core": 'host = "999.1.1.1"'}, ['core.host: found "999.1.1.1"'], id="no-address"),
        pytest.param({"sip": 'sources = ["::1", "x y"]'}, ['iut.sip.sources[1]: found "x y"'], id="source"),
        pytest.param({"history": 'host = "a,b"'}, ['history.host: found "a,b"'], id="history-host"),
        pytest.param({"users": 'psi = "deferred"'}, ['users.psi: found "deferred"', "a SIP URI"], id="psi"),
        pytest.param({"ixit": "bye_within = -1"}, ["ixit.bye_within: found -1", "at least 0"], id="negative-time"),
        pytest.param({"ixit": "sip_t1 = 0"}, ["ixit.sip_t1: found 0", "above 0"], id="t1"),
        pytest.param({"ixit": "quiet_period = inf"}, ["ixit.quiet_period: found Infinity", "finite"], id="endless"),
        pytest.param({"ixit": 'timestamp_locations = ["date"]'}, ['found "date"', "part:<header>"], id="location"),
        pytest.param({"ixit": "timestamp_locations = []"}, ["at least one location"], id="no-location"),
        pytest.param({"ixit": 'notification = "locator"'}, ["found no content_type or no count"], id="locator"),
        pytest.param(
            {"ixit": 'notification_locators = { count = "(" }'}, ["a regular expression or xpath:"], id="regex"
        ),
        pytest.param({"ixit": 'establishment = "push"'}, ["because pics.push is false"], id="flow"),
        pytest.param({"pics": "pull = false"}, ["pics.pull: found pull and push both false"], id="no-flow"),
        pytest.param(
            {"pics": "pager_mode = 1"}, ["pics.pager_mode: found 1, expected true or false"], id="number-for-bool"
        ),
        pytest.param(
            {"pics": "pager_mode = false\nlarge_message_mode = false"},
            ["pics.pager_mode: found both false"],
            id="no-mode",
        ),
        pytest.param({"pics": 'sip_transports = ["tls"]'}, ['found "tls", expected an endpoint for tls'], id="no-tls"),
        pytest.param({"pics": "sip_transports = []"}, ["an empty list, expected at least one"], id="no-transport"),
        pytest.param({"pics": "ipv6 = true", "core": 'host6 = "::1"'}, ["an IPv6 endpoint in iut.sip"], id="ipv6"),
        pytest.param({"core": 'tls_key = "no.pem"'}, ["tls_cert and tls_key together"], id="key-alone"),
        pytest.param({"core": 'ca = "no.pem"'}, ['core.ca: found "no.pem", expected a file in'], id="no-file"),
        pytest.param({"core": "port = 5060\ntls_port = 5060"}, ["a port other than core.port"], id="one-port"),
        pytest.param({"core": 'host = "::1"'}, ["IPv6 goes to core.host6"], id="core-host"),
        pytest.param({"core": 'host6 = "127.0.0.1"'}, ['core.host6: found "127.0.0.1"'], id="core-host6"),
        pytest.param({"users": 'pool_push_on = ["sip:a@b"]'}, ["users.pool_push_on: found one user"], id="pool-of-one"),
        pytest.param(
            {"users": 'pool_push_on = ["a", "b"]'}, ['pool_push_on[1]: found "b"', "tel:number"], id="identity"
        ),
        pytest.param(
            {"users": 'pool_push_on = ["sip:a@b", "sip:c@b", "sip:a@b"]'}, ["found a user twice"], id="user-twice"
        ),
        pytest.param(
            {"users": 'pool_push_on = ["sip:a@b", "sip:c@b"]\npool_push_off = ["sip:c@b", "sip:d@b"]'},
            ['users.pool_push_off: found "sip:c@b"', "not in pool_push_on too"],
            id="user-in-two-pools",
        ),
        pytest.param(
            {"users": 'prefix_push_on = "p"\npool_push_on = ["sip:a@b", "sip:c@b"]'}, ["one of the two"], id="both"
        ),
        pytest.param({"iut": "ready = 'ready (?P<port>.)'"}, ["because iut.command is missing"], id="ready-alone"),
        pytest.param({"iut": "restartable = true"}, ["iut.restartable: found true"], id="restartable"),
        pytest.param({"history": "accounts = 3"}, ["history.accounts: found 3", "a pattern (text)"], id="accounts"),
        pytest.param(
            {"core": '[core.outside]\ncommand = ["core"]'},
            ["core.outside.ready: found nothing, expected a regular expression"],
            id="outside-core-never-ready",
        ),
        pytest.param(
            {"core": "[core.outside]\ncommand = ['core']\nready = 'ready (?P<access>.)'"},
            ["core.outside.ready: found", "expected a regular expression with the named groups access and isc"],
            id="outside-core-ready-without-groups",
        ),
        pytest.param(
            {"core": "[core.outside]\ncommand = ['{store}']\nready = '(?P<access>.)(?P<isc>.)'"},
            ["core.outside.command[0]: found", "placeholders out of {python}, {suite}"],
            id="outside-core-placeholder",
        ),
        pytest.param(
            {"core": '[core.outside]\naccess = { udp = "192.0.2.1:5060" }'},
            ["core.outside.isc: found addresses for no leg, expected for all legs of core.outside.access: udp"],
            id="outside-core-without-isc",
        ),
        pytest.param(
            {"core": '[core.outside]\naccess = { sctp = "192.0.2.1:5060" }'},
            ["core.outside.access: found", "a table with keys out of udp, tcp, tls"],
            id="outside-core-leg",
        ),
        pytest.param(
            {"core": "[core.outside]\ncommand = ['c']\nready = '(?P<access>.)(?P<isc>.)'\naccess = { udp = 'h:1' }"},
            ["core.outside.access: found addresses, expected none: the ready line"],
            id="outside-core-twice",
        ),
        pytest.param(
            {"core": "[core.outside]\nback_port = 5070"},
            ["core.outside.command: found neither, expected core.outside.command or core.outside.access"],
            id="outside-core-of-ports-alone",
        ),
        pytest.param(
            {"history": 'store = "outside"'},
            ['history.store: found "outside", expected "embedded", because [history.outside] has neither'],
            id="outside-store-nowhere",
        ),
        pytest.param(
            {"history": '[history.outside]\naddress = "192.0.2.1:143"'},
            ['history.store: found "embedded", expected "outside", because [history.outside] is set'],
            id="outside-store-not-chosen",
        ),
        pytest.param(
            {"history": 'store = "outside"\n[history.outside]\naddress = "192.0.2.1"'},
            ['history.outside.address: found "192.0.2.1", expected address:port'],
            id="outside-store-without-port",
        ),
        pytest.param(
            {"history": 'store = "outside"\n[history.outside]\ncommand = ["s"]\naddress = "192.0.2.1:143"'},
            ["history.outside.ready: found nothing", "history.outside.address: found"],
            id="outside-store-twice",
        ),
    ],
)
def test_one_mistake(tmp_path: Path, tables: dict[str, str], expected: list[str]) -> None:
    filled = {**tables, "users": f"{PREFIXES}\n{tables.get('users', '')}"}
    text = "\n".join(mistakes(write(tmp_path, ATTACHED, **filled)))
    assert [part for part in expected if part not in text] == [], text


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"pics": "push = true"}, "users.pool_push_on: found no users for push with history on"),
        ({"iut": 'nam = "y"'}, "did you mean name?"),
        ({"users": 'pool_on = ["sip:a@b", "sip:c@b"]'}, "users.pool_on: found a pool and prefix_on"),
    ],
)
def test_one_mistake_of_a_launched_iut(tmp_path: Path, tables: dict[str, str], expected: str) -> None:
    assert expected in "\n".join(mistakes(write(tmp_path, LAUNCHED, **tables)))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('command = ["pf"]', ["iut.ready: found nothing, expected a regular expression"]),
        ("command = [\"pf\"]\nready = '('", ["iut.ready:", "a regular expression ("]),
        ("command = [\"pf\"]\nready = 'ready'", ["named groups out of host, port, udp"]),
        ("command = [\"pf\"]\nready = '(?P<host>.)'", ["at least port or one transport"]),
        ("command = [\"pf\"]\nready = '(?P<sctp>.)'", ["unknown: sctp"]),
        ('command = ["pf", "{here}"]', ['iut.command[1]: found "{here}"', "{workdir}"]),
        ('command = "pf --now"', ['iut.command: found "pf --now", expected a list']),
        ("", ["iut.command: found neither a command nor an address"]),
    ],
)
def test_command(tmp_path: Path, command: str, expected: list[str]) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(f'[iut]\nname = "x"\n{command}\n[users]\ndomain = "d"\n{PREFIXES}', encoding="utf-8")
    text = "\n".join(mistakes(path))
    assert [part for part in expected if part not in text] == [], text


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    found = mistakes(
        write(
            tmp_path,
            ATTACHED,
            iut="restartable = true",
            sip="port = 70000",
            users='prefix_on = 3\nprefix_off = "off-"',
            pics="push = true",
            ixit='bye_within = -1\nestablishment = "poll"\ntimestamp_locations = ["x:y", 3]',
        )
    )
    keys = {message.partition(":")[0] for message in found}
    assert keys == {
        "iut.restartable", "iut.sip.port", "users.prefix_on", "ixit.bye_within", "ixit.establishment",
        "ixit.timestamp_locations[0]", "ixit.timestamp_locations[1]", "users.pool_push_on", "users.pool_push_off",
    }  # fmt: skip


def test_a_wrong_key_is_told_once(tmp_path: Path) -> None:
    """What the value of a wrong key would contradict is not told on top."""
    found = mistakes(write(tmp_path, ATTACHED, users=PREFIXES, pics='pull = "yes"'))
    assert found == ['pics.pull: found "yes", expected true or false']


@pytest.mark.parametrize(
    ("bound", "expected"),
    [("DLV-3.2c", "did you mean DLV-3.2"), ("DLV-3.1", "a requirement of class D"), ("XYZ", "a requirement of the")],
)
def test_binds_names_interpretations(tmp_path: Path, bound: str, expected: str) -> None:
    path = write(tmp_path, ATTACHED, users=PREFIXES)
    path.write_text(f'binds = ["{bound}"]\n{path.read_text(encoding="utf-8")}', encoding="utf-8")
    assert expected in "\n".join(mistakes(path))


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"[iut\n", "found a mistake in the TOML itself"),
        (b"\xff", "not UTF-8 at 0"),
        (b"a = 1\nb = = 2\n", "at line 2"),
    ],
)
def test_no_toml(tmp_path: Path, octets: bytes, expected: str) -> None:
    path = tmp_path / "profile.toml"
    path.write_bytes(octets)
    assert expected in "\n".join(mistakes(path))


def test_no_file(tmp_path: Path) -> None:
    assert "found no readable file (No such file or directory)" in mistakes(tmp_path / "none.toml")[0]
    assert "found no readable file (Is a directory)" in mistakes(tmp_path)[0]


def test_paths_are_relative_to_the_profile(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    core = 'tls_cert = "cert.pem"\ntls_key = "key.pem"'
    profile = load_profile(write(tmp_path, ATTACHED, users=PREFIXES, core=core))
    assert profile.core.tls_cert == str(tmp_path / "cert.pem")
    assert profile.core.ca == ""


@pytest.mark.parametrize(
    ("accounts", "uri", "account"),
    [
        ('"{user}"', "sip:alice@example.com", "alice"),
        ('"{user}%{domain}"', "sip:alice@example.com", "alice%example.com"),
        ('"{uri}"', "tel:+4930", "tel:+4930"),
        ('{ "sip:alice@example.com" = "a1" }', "sip:alice@example.com", "a1"),
        ('{ "sip:alice@example.com" = "a1" }', "sip:bob@example.com", "bob"),
    ],
)
def test_account(tmp_path: Path, accounts: str, uri: str, account: str) -> None:
    profile = load_profile(write(tmp_path, ATTACHED, users=PREFIXES, history=f"accounts = {accounts}"))
    assert profile.history.account(uri) == account


def profiles() -> list[Path]:
    return sorted((resources.fixtures() / "profiles").glob("*.toml"))


@pytest.mark.parametrize("path", profiles(), ids=lambda path: path.stem)
def test_profiles_of_the_project_are_valid(path: Path) -> None:
    assert load_profile(path).iut.name


def test_reference_profile_shows_every_key() -> None:
    path = resources.fixtures() / "profiles" / "reference.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    shown = "\n".join(line.removeprefix("# ") if line.startswith(("# [", "# ")) else line for line in lines)
    missing = [key for key in known_keys() if f"\n{key.rpartition('.')[2]}" not in shown and f"[{key}]" not in shown]
    assert missing == []


def test_reference_profile_sets_every_parameter_of_the_iut() -> None:
    path = resources.fixtures() / "profiles" / "reference.toml"
    assert set(Ixit.model_fields) - set(load_profile(path).explicit) == {"notification_locators"}


def test_profile_and_configuration_by_address_agree() -> None:
    """What the reference PF is provisioned with is what the profile declares."""
    profile = load_profile(resources.fixtures() / "profiles" / "by-address.toml")
    path = resources.fixtures() / "reference" / "pf-by-address.toml"
    config: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    assert config["core"]["address"] == f"{profile.core.host}:{profile.core.port}"
    assert config["sip"]["port"] == profile.iut.sip.port
    assert (config["history"]["host"], config["history"]["port"]) == (profile.history.host, profile.history.port)
    provisioned = {
        (flow, history): tuple(
            user["match"] for user in config["users"] if user["establishment"] == flow and user["history"] is history
        )
        for flow in ("pull", "push")
        for history in (True, False)
    }
    declared = {
        (flow, history): profile.users.pool(history=history, flow=flow)
        for flow in ("pull", "push")
        for history in (True, False)
    }
    assert provisioned == declared
