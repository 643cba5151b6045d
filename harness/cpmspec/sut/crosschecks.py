"""Mistakes of a profile that only show when several keys are read together."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cpmspec.judge import catalogue
from cpmspec.sut.models import Profile
from cpmspec.sut.resources import fixtures

#: a case uses up to this many users of one kind at a time (DLV-1.3 needs a second one)
SMALLEST_POOL = 2


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Keys that do not go together; the first is the one to name."""

    keys: tuple[str, ...]
    found: str
    expected: str


def contradictions(profile: Profile, folder: Path) -> Iterator[Contradiction]:
    """All contradictions of a profile whose single keys are right. ``folder``: what its paths are relative to."""
    yield from _iut(profile)
    yield from _endpoints(profile)
    yield from _core(profile, folder)
    yield from _outside(profile)
    yield from _flows(profile)
    yield from _users(profile)
    yield from _ixit(profile)
    yield from _binds(profile)


def _iut(profile: Profile) -> Iterator[Contradiction]:
    iut = profile.iut
    if not iut.name:
        yield Contradiction(("iut.name",), "nothing", "the name of the IUT")
    if not profile.users.domain:
        yield Contradiction(("users.domain",), "nothing", "the home domain of the users")
    if not iut.command and not iut.sip.host:
        yield Contradiction(
            ("iut.command", "iut.sip.host"),
            "neither a command nor an address",
            "iut.command to launch the IUT, or iut.sip.host to attach to it",
        )
    if iut.command and iut.ready is None:
        yield Contradiction(("iut.ready", "iut.command"), "nothing", "a regular expression, because iut.command is set")
    if iut.ready is not None and not iut.command:
        yield Contradiction(
            ("iut.ready", "iut.command"), "a regular expression", "none, because iut.command is missing"
        )
    if iut.restartable and not iut.command:
        yield Contradiction(("iut.restartable", "iut.command"), "true", "false, because iut.command is missing")


def _endpoints(profile: Profile) -> Iterator[Contradiction]:
    """An attached IUT must be reachable by every transport that its PICS promise."""
    if profile.iut.command or not profile.iut.sip.host:
        return
    keys = [endpoint.key for endpoint in profile.iut.sip.endpoints]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield Contradiction(("iut.sip.also", "iut.sip.host", "iut.sip.transport"), f"two endpoints for {key}", "one")
    ports = [endpoint for endpoint in profile.iut.sip.endpoints if endpoint.port == 0]
    for endpoint in ports:
        yield Contradiction(("iut.sip.port", "iut.sip.also"), f"port 0 for {endpoint.key}", "the port it listens on")
    related = ("pics.sip_transports", "iut.sip.also", "iut.sip.transport")
    for transport in profile.pics.sip_transports:
        if transport not in {key.rstrip("6") for key in keys}:
            yield Contradiction(related, f'"{transport}"', f"an endpoint for {transport} in iut.sip or iut.sip.also")
    if profile.pics.ipv6 and not any(key.endswith("6") for key in keys):
        yield Contradiction(("pics.ipv6", "iut.sip.also"), "true", "an IPv6 endpoint in iut.sip or iut.sip.also")


def _core(profile: Profile, folder: Path) -> Iterator[Contradiction]:
    core = profile.core
    if bool(core.tls_cert) != bool(core.tls_key):
        yield Contradiction(("core.tls_cert", "core.tls_key"), "only one of the two", "tls_cert and tls_key together")
    for name in ("tls_cert", "tls_key", "ca"):
        value = getattr(core, name)
        if value and not (folder / value).is_file():
            yield Contradiction((f"core.{name}",), f'"{value}"', f"a file in {folder.resolve()}")
    if core.host6 and ":" not in core.host6:
        yield Contradiction(("core.host6",), f'"{core.host6}"', "an IPv6 address")
    if ":" in core.host:
        yield Contradiction(("core.host",), f'"{core.host}"', "an IPv4 address (IPv6 goes to core.host6)")
    if profile.pics.ipv6 and not core.host6:
        yield Contradiction(("core.host6", "pics.ipv6"), "nothing", "an IPv6 address, because pics.ipv6 is true")
    if core.port and core.port == core.tls_port:
        yield Contradiction(("core.tls_port", "core.port"), str(core.port), "a port other than core.port")


def _outside(profile: Profile) -> Iterator[Contradiction]:
    """A core or a store of somebody else: launched or attached, and then with its addresses."""
    core, store = profile.core.outside, profile.history.outside
    if core.command and core.ready is None:
        yield Contradiction(
            ("core.outside.ready", "core.outside.command"), "nothing", "a regular expression, because a command is set"
        )
    if core.command and (core.access or core.isc):
        yield Contradiction(
            ("core.outside.access", "core.outside.isc", "core.outside.command"),
            "addresses",
            "none: the ready line of core.outside.command tells them",
        )
    if not core.command and (core.access.keys() - core.isc.keys() or (core.isc and not core.access)):
        yield Contradiction(
            ("core.outside.isc", "core.outside.access", "core.outside.command"),
            f"addresses for {', '.join(core.isc) or 'no leg'}",
            f"for all legs of core.outside.access: {', '.join(core.access) or 'none'}",
        )
    if not core.used and (core.ready is not None or core.back_port or core.back_tls_port):
        yield Contradiction(
            ("core.outside.command", "core.outside.access"), "neither", "core.outside.command or core.outside.access"
        )
    if store.command and store.ready is None:
        yield Contradiction(
            ("history.outside.ready", "history.outside.command"),
            "nothing",
            "a regular expression, because a command is set",
        )
    if store.command and store.address:
        yield Contradiction(
            ("history.outside.address", "history.outside.command"),
            f'"{store.address}"',
            "none: the ready line tells it",
        )
    if store.used != (profile.history.store == "outside"):
        yield Contradiction(
            ("history.store", "history.outside.command", "history.outside.address"),
            f'"{profile.history.store}"',
            '"outside", because [history.outside] is set'
            if store.used
            else '"embedded", because [history.outside] has neither command nor address',
        )


def _flows(profile: Profile) -> Iterator[Contradiction]:
    pics = profile.pics
    if not pics.pull and not pics.push:
        yield Contradiction(("pics.pull", "pics.push"), "pull and push both false", "at least one of them true")
    elif not getattr(pics, profile.ixit.establishment):
        yield Contradiction(
            ("ixit.establishment", f"pics.{profile.ixit.establishment}"),
            f'"{profile.ixit.establishment}"',
            f"the other one, because pics.{profile.ixit.establishment} is false",
        )
    if not pics.pager_mode and not pics.large_message_mode:
        yield Contradiction(("pics.pager_mode", "pics.large_message_mode"), "both false", "at least one of them true")
    if not pics.sip_transports:
        yield Contradiction(("pics.sip_transports",), "an empty list", "at least one out of udp, tcp, tls")


def _users(profile: Profile) -> Iterator[Contradiction]:
    """Each kind of user that the cases need comes from a prefix or from a pool of at least two."""
    users = profile.users
    kinds = {"on": (True, "pull"), "off": (False, "pull"), "push_on": (True, "push"), "push_off": (False, "push")}
    for kind, (history, flow) in kinds.items():
        prefix, pool = users.prefix(history=history, flow=flow), users.pool(history=history, flow=flow)
        keys = (f"users.pool_{kind}", f"users.prefix_{kind}", f"pics.{flow}", "pics.history")
        if prefix and pool:
            yield Contradiction(keys, f"a pool and prefix_{kind}", "one of the two")
        elif 0 < len(set(pool)) < SMALLEST_POOL:
            yield Contradiction(keys, "one user", f"at least {SMALLEST_POOL}: a case uses two at a time")
        elif len(set(pool)) < len(pool):
            yield Contradiction(keys, "a user twice", "each user once")
        wanted = getattr(profile.pics, flow) and (profile.pics.history or not history)
        if wanted and not prefix and not pool:
            yield Contradiction(
                keys,
                f"no users for {flow} with history {'on' if history else 'off'}",
                f"prefix_{kind} or pool_{kind}",
            )
    yield from _shared(profile)


def _shared(profile: Profile) -> Iterator[Contradiction]:
    seen: dict[str, str] = {}
    for kind in ("on", "off", "push_on", "push_off"):
        for uri in dict.fromkeys(getattr(profile.users, f"pool_{kind}")):
            if uri in seen:
                yield Contradiction((f"users.pool_{kind}", f"users.pool_{seen[uri]}"), f'"{uri}"',
                                    f"a user that is not in pool_{seen[uri]} too")  # fmt: skip
            seen.setdefault(uri, kind)


def _ixit(profile: Profile) -> Iterator[Contradiction]:
    locators = profile.ixit.notification_locators
    if profile.ixit.notification == "locator" and not (locators.content_type and locators.count):
        yield Contradiction(
            ("ixit.notification_locators", "ixit.notification", "ixit.notification_locators.count",
             "ixit.notification_locators.content_type"),
            "no content_type or no count",
            'both, because ixit.notification is "locator"',
        )  # fmt: skip
    if not profile.ixit.timestamp_locations:
        yield Contradiction(("ixit.timestamp_locations",), "an empty list", "at least one location")


def _binds(profile: Profile) -> Iterator[Contradiction]:
    if not profile.binds:
        return
    requirements = catalogue.load(fixtures() / "catalogue").requirements
    for bound in profile.binds:
        if bound not in requirements:
            close = difflib.get_close_matches(bound, requirements, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            yield Contradiction(("binds",), f'"{bound}"', f"a requirement of the catalogue{hint}")
        elif requirements[bound].cls is not catalogue.RequirementClass.INTERPRETATION:
            yield Contradiction(("binds",), f'"{bound}"', "a requirement of class D: others bind anyway")
