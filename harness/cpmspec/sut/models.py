"""The tables of a profile: every key with its type, its default and what it means (see ``docs/profile.md``)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from cpmspec.sut.endpoints import KEYS, Endpoint, parse_address, parse_endpoint

Transport = Literal["udp", "tcp", "tls"]
Flow = Literal["pull", "push"]

#: what ``{...}`` in ``iut.command`` may name
PLACEHOLDERS = ("python", "core", "store", "workdir", "suite", "tls_cert", "tls_key", "tls_ca")
#: what ``{...}`` in ``core.outside.command`` and ``history.outside.command`` may name
CORE_PLACEHOLDERS = (
    "python", "suite", "workdir", "domain", "psi", "iut", "front", "back", "tls_cert", "tls_key", "tls_ca",
)  # fmt: skip
STORE_PLACEHOLDERS = ("python", "suite", "workdir", "password")
#: named groups of ``iut.ready``: host and port of the primary transport, or one ``address:port`` for each transport
READY_GROUPS = ("host", "port", "udp", "tcp", "tls", "udp6", "tcp6", "tls6")


def _ready_regex(text: str) -> str:
    """Accept a regex that yields an address.

    :raises ValueError: says what was expected.
    """
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    unknown = sorted(set(groups) - set(READY_GROUPS))
    if unknown or not groups or set(groups) == {"host"}:
        raise ValueError(
            f"named groups out of {', '.join(READY_GROUPS)}, at least port or one transport"
            + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        )
    return text


def _locator(text: str) -> str:
    """Accept ``xpath:<expression>`` or a regular expression.

    :raises ValueError: says what was expected.
    """
    if not text.startswith("xpath:"):
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"a regular expression or xpath:<expression> ({error})") from error
    return text


def _argument_with(placeholders: tuple[str, ...]) -> AfterValidator:
    """Accept an argument whose placeholders are known."""

    def check(text: str) -> str:
        if set(re.findall(r"\{(\w+)\}", text)) - set(placeholders):
            raise ValueError("placeholders out of " + ", ".join(f"{{{name}}}" for name in placeholders))
        return text

    return AfterValidator(check)


def _ready_with(*groups: str) -> AfterValidator:
    """Accept a regex with these named groups and no other."""

    def check(text: str) -> str:
        try:
            found = set(re.compile(text).groupindex)
        except re.error as error:
            raise ValueError(f"a regular expression ({error})") from error
        if found != set(groups):
            raise ValueError(f"a regular expression with the named groups {' and '.join(groups)}")
        return text

    return AfterValidator(check)


def _address(text: str) -> str:
    """Accept ``host:port``, or nothing.

    :raises ValueError: says what was expected.
    """
    if text:
        parse_address(text)
    return text


def _legs(table: dict[str, str]) -> dict[str, str]:
    """Accept an address for each leg.

    :raises ValueError: says what was expected.
    """
    for key, address in table.items():
        if key not in KEYS:
            raise ValueError(f"a table with keys out of {', '.join(KEYS)}")
        parse_address(address)
    return table


def _endpoint(text: str) -> str:
    """Accept ``transport:address:port``.

    :raises ValueError: says what was expected.
    """
    parse_endpoint(text)
    return text


def _identity(text: str) -> str:
    """Accept a public user identity.

    :raises ValueError: says what was expected.
    """
    if not re.fullmatch(r"(?:sips?:[^@\s;?]+@[^@\s;?]+|tel:\+?[0-9*#().-]+)", text):
        raise ValueError("an identity: sip:user@domain or tel:number")
    return text


def _psi(text: str) -> str:
    """Accept a SIP URI, or nothing: then it is the usual one of the domain.

    :raises ValueError: says what was expected.
    """
    if text and not re.fullmatch(r"sips?:(?:[^@\s;?]+@)?[^@\s;?]+", text):
        raise ValueError("a SIP URI: sip:service@domain")
    return text


def _host(text: str) -> str:
    """Accept an address, or a name that may be one of a host; nothing at all says that there is none.

    :raises ValueError: says what was expected.
    """
    bare = text.removeprefix("[").removesuffix("]")
    name = re.fullmatch(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?", text)
    if text and name is None:
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            raise ValueError("an IPv4 or IPv6 address, or the name of a host") from None
    return text


def _text_or_table(value: object) -> object:
    """Accept text, or a table of texts.

    :raises ValueError: says what was expected.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and all(isinstance(entry, str) for entry in value.values()):
        return dict(value)
    raise ValueError("a pattern (text), or a table with an account for each user")


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
ReadyRegex = Annotated[str, AfterValidator(_ready_regex)]
Locator = Annotated[str, AfterValidator(_locator)]
Argument = Annotated[str, _argument_with(PLACEHOLDERS)]
CoreArgument = Annotated[str, _argument_with(CORE_PLACEHOLDERS)]
StoreArgument = Annotated[str, _argument_with(STORE_PLACEHOLDERS)]
CoreReady = Annotated[str, _ready_with("access", "isc")]
StoreReady = Annotated[str, _ready_with("address")]
AddressText = Annotated[str, AfterValidator(_address)]
Legs = Annotated[dict[str, str], AfterValidator(_legs)]
EndpointText = Annotated[str, AfterValidator(_endpoint)]
Identity = Annotated[str, AfterValidator(_identity)]
Psi = Annotated[str, AfterValidator(_psi)]
Host = Annotated[str, AfterValidator(_host)]
Texts = tuple[str, ...]
Accounts = Annotated[str | dict[str, str], BeforeValidator(_text_or_table)]
TimestampLocation = Annotated[str, Field(pattern=r"^(part|sip|msrp|cpim):[!-9;-~]+$")]


class Section(BaseModel):
    """What all tables of a profile share: no unknown keys, no conversion between types, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class IutSip(Section):
    """Where an attached IUT listens for SIP, and where it sends from."""

    host: Host = Field("", description="Address at which the IUT listens. Needed unless `iut.command` is given.")
    port: Port = Field(5060, description="Its port.")
    transport: Transport = Field("udp", description="Transport of that address: udp, tcp or tls.")
    sources: tuple[Host, ...] = Field((), description="Further addresses (hosts) that the IUT sends from.")
    also: tuple[EndpointText, ...] = Field(
        (), description='Further listening endpoints: `"tcp:192.0.2.7:5060"`, `"udp6:[2001:db8::7]:5060"`.'
    )

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints that the profile names, the primary one first; none for an IUT without an address."""
        if not self.host:
            return ()
        key = self.transport + ("6" if ":" in self.host else "")
        return (Endpoint(key, self.host.strip("[]"), self.port), *map(parse_endpoint, self.also))


class Iut(Section):
    """What the IUT is and how it is started."""

    name: str = Field("", description="Name of the product. Needed.")
    version: str = Field("", description="Its version, for the report.")
    vendor: str = Field("", description="Who makes it, for the report.")
    command: tuple[Argument, ...] = Field(
        (),
        description="Command that starts it, one entry for each argument; without it the IUT is attached by address. "
        "Placeholders: " + ", ".join(f"`{{{name}}}`" for name in PLACEHOLDERS) + ".",
    )
    ready: ReadyRegex | None = Field(
        None,
        description="Regular expression for the line of its output that tells it is ready. Named groups `host` and "
        "`port` (primary transport), or `udp`, `tcp`, `tls`, `udp6`, `tcp6`, `tls6` (each `address:port`). "
        "Needed with `iut.command`.",
    )
    ready_within: Seconds = Field(20.0, description="How long it may take to become ready.")
    restartable: bool = Field(False, description="Whether the suite may stop it and start it again.")
    sip: IutSip = Field(IutSip(), description="See `[iut.sip]`.")


class OutsideCore(Section):
    """Another SIP/IP core in place of the suite's own, behind the suite's recording relay.

    `[core]` then says where the relay's front is: the addresses that the core must advertise to the IUT. Its back is
    where the core sends what is for the IUT. A leg is a transport between core and IUT, by IP version: udp, tcp, tls,
    udp6, tcp6, tls6.
    """

    name: str = Field("", description="What it is, for the report.")
    command: tuple[CoreArgument, ...] = Field(
        (),
        description="Command that starts it, after the IUT; without it the core runs already. Placeholders: "
        + ", ".join(f"`{{{name}}}`" for name in CORE_PLACEHOLDERS)
        + "; `{iut}`, `{front}` and `{back}` are addresses by leg: `udp=192.0.2.7:5060,tcp=...`.",
    )
    ready: CoreReady | None = Field(
        None,
        description="Regular expression for the line of its output that tells it is ready. Named groups `access` and "
        "`isc`, addresses by leg as above. Needed with `core.outside.command`.",
    )
    ready_within: Seconds = Field(20.0, description="How long it may take to become ready.")
    access: Legs = Field(
        {},
        description="Where clients and originators send to (UDP) and hear from the core, by the leg on which the core "
        "then talks to the IUT.",
    )
    isc: Legs = Field(
        {},
        description="The core's own sockets that face the IUT, by leg: the relay passes on to them. What comes from "
        "the IUT on a leg without one goes to that of UDP.",
    )
    back_port: Port = Field(0, description="Port of the relay's back; 0 takes any free one.")
    back_tls_port: Port = Field(0, description="The same for TLS.")

    @property
    def used(self) -> bool:
        """Whether the profile has such a core."""
        return bool(self.command or self.access)


class Core(Section):
    """The suite's SIP/IP core: what the IUT finds as its next hop."""

    host: Host = Field("127.0.0.1", description="IPv4 address at which the core listens (UDP and TCP).")
    port: Port = Field(0, description="Its port; 0 takes any free one.")
    tls_port: Port = Field(0, description="Its port for TLS; 0 takes any free one.")
    host6: Host = Field("", description='IPv6 address at which the core listens too, for example `"::1"`.')
    transport: Transport = Field("udp", description="Transport that the core puts in its own addresses.")
    tls_cert: str = Field("", description="Certificate chain of the core (PEM). Without it the suite makes one.")
    tls_key: str = Field("", description="Its private key (PEM).")
    ca: str = Field("", description="Certificate authority (PEM) by which the core checks the IUT's certificate.")
    outside: OutsideCore = Field(OutsideCore(), description="See `[core.outside]`.")


class Users(Section):
    """Whom the IUT serves. For each kind of user either a prefix (any user) or a pool (these users only)."""

    domain: str = Field("", description="The home domain of the users. Needed.")
    psi: Psi = Field("", description="Where clients retrieve (INVITE); without it `sip:deferred@<domain>`.")
    prefix_on: str = Field("", description="User part prefix: any `sip:<prefix>...@<domain>` has history on, pull.")
    prefix_off: str = Field("", description="The same with history off, pull.")
    prefix_push_on: str = Field("", description="The same with history on, push.")
    prefix_push_off: str = Field("", description="The same with history off, push.")
    pool_on: tuple[Identity, ...] = Field((), description="Provisioned users with history on, pull.")
    pool_off: tuple[Identity, ...] = Field((), description="Provisioned users with history off, pull.")
    pool_push_on: tuple[Identity, ...] = Field((), description="Provisioned users with history on, push.")
    pool_push_off: tuple[Identity, ...] = Field((), description="Provisioned users with history off, push.")

    def prefix(self, *, history: bool, flow: str) -> str:
        """The prefix of such users; empty if they come from a pool."""
        return str(getattr(self, "prefix_" + _kind(history, flow)))

    def pool(self, *, history: bool, flow: str) -> Texts:
        """The static pool of such users; empty if any user with the prefix will do."""
        pool: Texts = getattr(self, "pool_" + _kind(history, flow))
        return pool


def _kind(history: bool, flow: str) -> str:
    return ("push_" if flow == "push" else "") + ("on" if history else "off")


class Pics(Section):
    """What the IUT supports (ISO/IEC 9646: protocol implementation conformance statement)."""

    pager_mode: bool = Field(True, description="Defers SIP MESSAGE requests.")
    large_message_mode: bool = Field(True, description="Defers large messages (INVITE and MSRP).")
    pull: bool = Field(True, description="Delivers by the client's INVITE to the PSI.")
    push: bool = Field(False, description="Delivers by its own INVITE to the client.")
    msrp_tls: bool = Field(False, description="Speaks MSRP over TLS.")
    history: bool = Field(True, description="Records the conversation history (8.6).")
    imdn: bool = Field(False, description="Handles IMDN.")
    expiry: bool = Field(False, description="Lets deferred messages expire.")
    sip_transports: tuple[Transport, ...] = Field(("udp",), description="SIP transports that it supports.")
    ipv6: bool = Field(False, description="Reachable over IPv6 as well.")


class NotificationLocators(Section):
    """Where a notification of an unknown form names the waiting messages: regular expressions or `xpath:...`."""

    content_type: str = Field("", description="Media type of the notification's body.")
    count: Locator = Field("", description="Locates the number of waiting messages (first group, or the node's text).")
    identifiers: Locator = Field("", description="Locates the identifiers, one for each match or node.")


class StoredHeaders(Section):
    """Which headers the IUT stores with a message."""

    sip: Texts = Field(
        ("From", "To", "Date", "Subject", "Call-ID", "Conversation-ID", "Contribution-ID",
         "InReplyTo-Contribution-ID", "Content-Type", "P-Asserted-Identity"),
        description="Of the SIP MESSAGE or INVITE.",
    )  # fmt: skip
    send: Texts = Field(
        ("Message-ID", "Content-Type", "Success-Report", "Failure-Report"), description="Of the MSRP SEND."
    )


class Ixit(Section):
    """How the suite reads this IUT where the specification is silent (implementation extra information for testing)."""

    establishment: Flow = Field("pull", description="Who sets up the session where a case leaves it open.")
    notification: Literal["message-summary", "notify-summary", "locator", "none"] = Field(
        "message-summary",
        description="Form of the notification: `message-summary` (SIP MESSAGE with the summary of RFC 3842), "
        "`notify-summary` (NOTIFY of RFC 3842), `locator` (any body, read by `notification_locators`), `none` (the "
        "next session shows what waits).",
    )
    notification_locators: NotificationLocators = Field(
        NotificationLocators(), description="See `[ixit.notification_locators]`."
    )
    stored_headers: StoredHeaders = Field(StoredHeaders(), description="See `[ixit.stored_headers]`.")
    forbidden_headers: Texts = Field(
        ("Authorization", "Proxy-Authorization", "P-Charging-Vector", "P-Charging-Function-Addresses",
         "P-Access-Network-Info", "To-Path", "From-Path"),
        description="Headers of the original that must not reach the client.",
    )  # fmt: skip
    timestamp_locations: tuple[TimestampLocation, ...] = Field(
        ("part:Date",),
        description="Where the time of receipt is, in this order: `part:Date` (a MIME header of a header part), "
        "`sip:Date`, `msrp:Date`, `cpim:DateTime`, `part:<header name>`.",
    )
    delivered_means: Literal["200", "200-and-report"] = Field(
        "200-and-report",
        description="When a message counts as delivered: `200` (one for every chunk), `200-and-report` (also the "
        "success REPORT where one was asked for).",
    )
    next_notification: Literal["registration", "after-session"] = Field(
        "registration", description="When the next notification comes, at the latest."
    )
    bye_within: Seconds = Field(5.0, description="Longest time from the last outcome to the BYE.")
    history_within: Seconds = Field(5.0, description="Longest time from the end of the session to the recording.")
    quiet_period: Seconds = Field(3.0, description="How long the suite waits for something that may still come.")
    clock_tolerance: Seconds = Field(2.0, description="Difference allowed between the clocks of suite and IUT.")
    msrp_response_timer: Seconds = Field(30.0, description="The IUT's timer for an MSRP response (RFC 4975 7.1.1).")
    sip_t1: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.5, description="T1 of the suite's SIP transactions (RFC 3261 17)."
    )


class OutsideStore(Section):
    """Another IMAP server in place of the suite's own, behind the suite's recording relay.

    It has to offer logins in the clear (LOGIN, or AUTHENTICATE with PLAIN, LOGIN or CRAM-MD5) and no STARTTLS: what is
    encrypted cannot be read.
    """

    name: str = Field("", description="What it is, for the report.")
    command: tuple[StoreArgument, ...] = Field(
        (),
        description="Command that starts it; without it the server runs already. Placeholders: "
        + ", ".join(f"`{{{name}}}`" for name in STORE_PLACEHOLDERS)
        + ".",
    )
    ready: StoreReady | None = Field(
        None,
        description="Regular expression for the line of its output that tells it is ready. Named group `address` "
        "(`host:port`). Needed with `history.outside.command`.",
    )
    ready_within: Seconds = Field(20.0, description="How long it may take to become ready.")
    address: AddressText = Field("", description="Where it listens (`host:port`), without a command.")

    @property
    def used(self) -> bool:
        """Whether the profile has such a store."""
        return bool(self.command or self.address)


class History(Section):
    """The message store to which the IUT records (PCO `store`)."""

    store: Literal["embedded", "outside"] = Field(
        "embedded",
        description="`embedded`: the suite's own IMAP server. `outside`: that of `[history.outside]`. Either is behind "
        "a recording relay.",
    )
    host: Host = Field("127.0.0.1", description="Address at which the relay listens.")
    port: Port = Field(0, description="Its port; 0 takes any free one.")
    accounts: Accounts = Field(
        "{user}",
        description="Account of each user: a pattern with `{user}`, `{domain}` or `{uri}`, or a table from identity "
        "to account.",
    )
    password: str = Field("cpmspec", description="Password of every account.")
    outside: OutsideStore = Field(OutsideStore(), description="See `[history.outside]`.")

    def account(self, uri: str) -> str:
        """The account of a user; for one that the table leaves out, the user part."""
        user, _, domain = uri.partition(":")[2].partition("@")
        if isinstance(self.accounts, str):
            return self.accounts.replace("{uri}", uri).replace("{user}", user).replace("{domain}", domain)
        return self.accounts.get(uri, user)


class Profile(Section):
    """What the suite knows of an IUT. Times are in seconds; paths are relative to the profile's own folder."""

    binds: Texts = Field(
        (), description="Interpretations (requirements of class D) that bind this IUT: a deviation then is `fail`."
    )
    iut: Iut = Field(Iut(), description="See `[iut]`.")
    core: Core = Field(Core(), description="See `[core]`.")
    users: Users = Field(Users(), description="See `[users]`.")
    pics: Pics = Field(Pics(), description="See `[pics]`.")
    ixit: Ixit = Field(Ixit(), description="See `[ixit]`.")
    history: History = Field(History(), description="See `[history]`.")

    @property
    def psi(self) -> str:
        """The public service identity at which clients retrieve."""
        return self.users.psi or f"sip:deferred@{self.users.domain}"

    @property
    def explicit(self) -> tuple[str, ...]:
        """The IXIT entries that the file sets itself."""
        return tuple(sorted(self.ixit.model_fields_set))

    @property
    def attached(self) -> bool:
        """Whether somebody else runs the IUT."""
        return not self.iut.command

    @property
    def flags(self) -> dict[str, bool]:
        """The PICS as plain flags: the transports become ``sip_udp``, ``sip_tcp``, ``sip_tls``."""
        plain = self.pics.model_dump()
        transports = plain.pop("sip_transports")
        plain |= {f"sip_{transport}": transport in transports for transport in ("udp", "tcp", "tls")}
        plain["restartable"] = self.iut.restartable
        return plain

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object with every key, defaults filled in."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`; ``explicit`` then names every entry.

        :raises pydantic.ValidationError: the object is no profile.
        """
        return cls.model_validate(value, strict=False)
