"""Typed views on the headers of an MSRP message: each is computed when it is asked for (RFC 4975 9, RFC 4976 7)."""

from __future__ import annotations

from cpmspec.wire import msrp_auth
from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp_grammar import STATUS, ByteRange


class MsrpViews:
    """What the headers of a message say. The views of a header that is absent or unreadable are ``None``."""

    __slots__ = ()
    headers: Headers
    method: str | None
    transaction_id: str

    def value(self, key: str) -> str | None:
        """The value of the first header of that name, which is to be given in lower case."""
        return next((header.value for header in self.headers if header.key == key), None)

    @property
    def is_request(self) -> bool:
        """Whether it is a request: it has a method, a response has a status."""
        return self.method is not None

    @property
    def to_path(self) -> tuple[str, ...]:
        """The URIs of To-Path, next hop first (RFC 4975 7.1)."""
        return tuple((self.value("to-path") or "").split())

    @property
    def from_path(self) -> tuple[str, ...]:
        """The URIs of From-Path, last hop first (RFC 4975 7.1)."""
        return tuple((self.value("from-path") or "").split())

    @property
    def message_id(self) -> str | None:
        """Message-ID, the same in all chunks of one message (RFC 4975 7.1.1)."""
        return self.value("message-id")

    @property
    def byte_range(self) -> ByteRange | None:
        """Byte-Range."""
        value = self.value("byte-range")
        return None if value is None else ByteRange.parse(value)

    @property
    def content_type(self) -> str | None:
        """The value of Content-Type as it stands."""
        return self.value("content-type")

    @property
    def success_report(self) -> str | None:
        """Success-Report in lower case (9: "yes" / "no", RFC 4234 2.3); absent means ``no`` (RFC 4975 7.1.1)."""
        return _lower(self.value("success-report"))

    @property
    def failure_report(self) -> str | None:
        """Failure-Report in lower case; absent means ``yes`` (RFC 4975 7.1.1)."""
        return _lower(self.value("failure-report"))

    @property
    def status_header(self) -> tuple[str, int, str] | None:
        """Status of a REPORT: namespace, code, comment (RFC 4975 7.1.2)."""
        found = STATUS.fullmatch(self.value("status") or "")
        return None if found is None else (found[1], int(found[2]), found[3] or "")

    # --- relays ---

    @property
    def use_path(self) -> tuple[str, ...]:
        """Use-Path: the URIs that a client offers its peers, the relay nearest to it last (RFC 4976 4.2)."""
        return tuple((self.value("use-path") or "").split())

    @property
    def expires(self) -> int | None:
        """Expires, in seconds (RFC 4976 4.6)."""
        return msrp_auth.seconds(self.value("expires"))

    @property
    def min_expires(self) -> int | None:
        """Min-Expires, in seconds (RFC 4976 4.6)."""
        return msrp_auth.seconds(self.value("min-expires"))

    @property
    def max_expires(self) -> int | None:
        """Max-Expires, in seconds (RFC 4976 4.6)."""
        return msrp_auth.seconds(self.value("max-expires"))

    @property
    def challenge(self) -> dict[str, str] | None:
        """The parameters of WWW-Authenticate, names in lower case, values without quotes (RFC 4976 4.3)."""
        return msrp_auth.digest_params(self.value("www-authenticate"))

    @property
    def credentials(self) -> dict[str, str] | None:
        """The parameters of Authorization (RFC 4976 4.4)."""
        return msrp_auth.digest_params(self.value("authorization"))

    @property
    def authentication_info(self) -> dict[str, str] | None:
        """The parameters of Authentication-Info (RFC 4976 4.5)."""
        return msrp_auth.digest_params(self.value("authentication-info"), scheme=False)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()
