"""The configuration of the reference PF: TOML and command line in, frozen dataclasses out, all mistakes at once."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from cpmspec.reference.users import UserRule

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
_STRICT = ConfigDict(extra="forbid", str_strip_whitespace=True)


class ConfigError(ValueError):
    """The configuration cannot be used; ``messages`` holds one line per mistake: source, key, found, expected."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


@dataclass(frozen=True, slots=True)
class SipConfig:
    """Where SIP is spoken. Port 0 means any free port; UDP and TCP share the number, on every host alike."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    listen: tuple[str, ...] = ("127.0.0.1",)
    port: Port = 5060
    tls_port: Port | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    answer_timeout: Seconds = 20.0
    t1: Seconds = 0.5


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """The SIP/IP core: where requests of the PF go, and which addresses may assert an identity (RFC 3325 5)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    address: str | None = None
    transport: Literal["udp", "tcp", "tls"] = "udp"
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MsrpConfig:
    """The MSRP endpoint (RFC 4975). ``chunk_size`` 0 sends each message whole."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    hosts: tuple[str, ...] = ()
    port: Port = 0
    tls_port: Port = 0
    tls: bool = False
    response_timer: Seconds = 30.0
    chunk_size: Annotated[int, Field(ge=0)] = 2048
    window: Annotated[int, Field(ge=1)] = 8
    success_report: bool = False
    max_size: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """The choices that 8.3.2.4.3 and the notification leave open."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    encapsulation: Literal["sipfrag", "sip"] = "sipfrag"
    notify: Literal["registration", "after-session", "none"] = "registration"


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """The message store of 8.6 (IMAP). Without a host nothing is recorded.

    ``account`` is a pattern: ``{user}`` is the part of the identity before the ``@``, ``{domain}`` the part after it,
    ``{uri}`` the whole.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 143
    password: str = "cpmspec"
    account: str = "{user}"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the reference PF is told."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    domain: str = "example.com"
    psi: str = ""
    state: Path = Path("cpmspec-pf")
    sip: SipConfig = field(default_factory=SipConfig)
    core: CoreConfig = field(default_factory=CoreConfig)
    msrp: MsrpConfig = field(default_factory=MsrpConfig)
    delivery: DeliveryConfig = field(default_factory=DeliveryConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    users: tuple[UserRule, ...] = ()

    @property
    def psi_uri(self) -> str:
        """The public service identity at which a client retrieves; default ``sip:deferred@<domain>``."""
        return self.psi or f"sip:deferred@{self.domain}"

    @property
    def msrp_hosts(self) -> tuple[str, ...]:
        """The addresses for MSRP: those of SIP unless set."""
        return self.msrp.hosts or self.sip.listen

    @property
    def trusted(self) -> frozenset[str]:
        """Addresses whose P-Asserted-Identity counts: configured ones, the core's, loopback if nothing else is used."""
        hosts = set(self.core.trusted)
        if self.core.address is not None:
            hosts.add(parse_address(self.core.address)[0])
        if all(ipaddress.ip_address(host).is_loopback for host in self.sip.listen):
            hosts |= {"127.0.0.1", "::1"}
        return frozenset(hosts)


def parse_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as a pair.

    :raises ValueError: the text is no numeric address with a port of 1 to 65535.
    """
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not an address with a port")
    return str(ipaddress.ip_address(host)), int(port)


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read ``path`` (nothing: defaults), lay the dotted ``overrides`` of the command line over it, check everything.

    :raises ConfigError: with all mistakes, each naming file (or command line), key, found and expected.
    """
    table = _read(path) if path is not None else {}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for key, value in given.items():
        _lay(table, key.split("."), value)
    source = str(path) if path is not None else "configuration"
    try:
        config = TypeAdapter(Config).validate_python(table)
    except ValidationError as error:
        raise ConfigError([_explain(source, given, dict(one)) for one in error.errors()]) from None
    mistakes = [
        f"{_source(source, given, key)}: {key}: found {_shown(found)}, expected {expected}"
        for key, found, expected in _inconsistencies(config)
    ]
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: found no such file, expected a configuration in TOML"]) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{path}: found {error}, expected a readable file in TOML"]) from None


def _lay(table: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            return
        table = inner
    table[keys[-1]] = value


def _source(source: str, given: Mapping[str, Any], key: str) -> str:
    return "command line" if any(key == name or key.startswith(f"{name}[") for name in given) else source


def _explain(source: str, given: Mapping[str, Any], error: dict[str, Any]) -> str:
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f"{'.' if key else ''}{part}"
    if error["type"] == "extra_forbidden" or error["type"] == "unexpected_keyword_argument":
        known = ", ".join(sorted(_known(error["loc"][:-1])))
        return f"{source}: {key}: found an unknown key, expected one of {known}"
    expected = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{source}: {key}: found nothing, expected a value"
    return f"{_source(source, given, key)}: {key}: found {_shown(error['input'])}, expected {expected}"


def _known(location: Iterable[str | int]) -> list[str]:
    shape: Any = Config
    for part in location:
        if isinstance(part, int):
            continue
        names = {"sip": SipConfig, "core": CoreConfig, "msrp": MsrpConfig, "delivery": DeliveryConfig}
        shape = {**names, "history": HistoryConfig, "users": UserRule}.get(part, shape)
    return [one.name for one in fields(shape)] if is_dataclass(shape) else list(get_args(shape))


def _inconsistencies(config: Config) -> Iterable[tuple[str, Any, str]]:
    """What the types alone cannot tell: (key, found, expected)."""
    yield from _bad_hosts(config)
    sip = config.sip
    if (sip.tls_port is not None or sip.tls_key is not None) and sip.tls_cert is None:
        yield "sip.tls_cert", None, "a certificate file, because SIP over TLS is configured"
    for key, file in (("tls_cert", sip.tls_cert), ("tls_key", sip.tls_key), ("tls_ca", sip.tls_ca)):
        if file is not None and not file.is_file():
            yield f"sip.{key}", str(file), "an existing file in PEM"
    if config.psi and not config.psi.lower().startswith(("sip:", "sips:", "tel:")):
        yield "psi", config.psi, "a sip, sips or tel URI"
    if not config.domain or any(mark in config.domain for mark in " @<>;:\r\n"):
        yield "domain", config.domain, "a domain name"
    try:
        config.history.account.format(user="u", domain="d", uri="x")
    except (LookupError, ValueError):
        yield "history.account", config.history.account, "a pattern of {user}, {domain} and {uri}"


def _shown(found: object) -> str:
    """What was found, for whoever wrote the file: TOML knows no None."""
    return "nothing" if found is None else repr(found)


def _bad_hosts(config: Config) -> Iterable[tuple[str, Any, str]]:
    if not config.sip.listen:
        yield "sip.listen", [], "at least one numeric IPv4 or IPv6 address"
    lists = (
        ("sip.listen", config.sip.listen),
        ("msrp.hosts", config.msrp.hosts),
        ("core.trusted", config.core.trusted),
    )
    sound = True
    for key, hosts in lists:
        for index, host in enumerate(hosts):
            if not _numeric(host):
                sound = False
                yield f"{key}[{index}]", host, "a numeric IPv4 or IPv6 address"
    if config.core.address is not None:
        try:
            parse_address(config.core.address)
        except ValueError:
            sound = False
            yield "core.address", config.core.address, "a numeric address with a port, as 127.0.0.1:5060 or [::1]:5060"
    if sound and config.sip.listen and not config.trusted:
        yield "core.trusted", [], "the core's addresses (or core.address), because the PF listens beyond loopback"


def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
