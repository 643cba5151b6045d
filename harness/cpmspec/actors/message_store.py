"""The message store that the PF finds: a recording relay (PCO store), and behind it pymap in this process or any other.

pymap takes any account name with the one password; its mailboxes live in memory and begin empty. Faults are set by
account, whatever stands behind: ``fail`` answers NO to APPEND, ``hang`` never answers it, ``refuse`` cuts the
connection when the account logs in; the account ``*`` stands for all, and then ``refuse`` cuts a connection at once.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from proxyprotocol.noop import ProxyProtocolNoop
from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import Config, Identity, Login, Session
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxSet
from pymap.concurrent import Subsystem
from pymap.imap import IMAPServer
from pymap.interfaces.login import IdentityInterface
from pymap.parsing.message import AppendMessage
from pymap.parsing.response.code import AppendUid
from pymap.selected import SelectedMailbox
from pymap.user import UserMetadata
from pysasl.creds.server import ServerCredentials
from pysasl.hashing import Cleartext

from cpmspec.actors.imap_gate import EVERYBODY
from cpmspec.actors.imap_relay import ImapRelay, StoreRecorder
from cpmspec.evidence.trace import Address

FAULTS = ("fail", "hang", "refuse")


class MessageStore:
    """The store. ``recorder`` takes each frame with the account that its connection belongs to, if any.

    ``outside`` is where another store listens that shall stand behind the relay, and ``on_unreachable`` is told why it
    cannot be connected to.
    """

    def __init__(
        self, recorder: StoreRecorder, *, password: str = "cpmspec", outside: Address | None = None,
        on_unreachable: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.password = password
        self._faults: dict[str, str] = {}
        self._embedded = EmbeddedStore(password)
        self._outside = outside
        self._relay = ImapRelay(recorder, self.fault, on_unreachable)

    @property
    def address(self) -> Address:
        """Where the PF connects to."""
        return self._relay.address

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; without another store, start the embedded one.

        :raises OSError: the address is in use.
        """
        if self._outside is None:
            await self._embedded.start()
        self._relay.behind = self._outside or self._embedded.address
        await self._relay.start(host, port)

    def set_behind(self, host: str, port: int) -> None:
        """Let the store that listens there stand behind the relay, for all connections that come from now on."""
        self._relay.behind = self._outside = Address(host, port)

    async def close(self) -> None:
        """Stop, and forget everything."""
        await self._relay.close()
        await self._embedded.close()

    def set_fault(self, account: str, fault: str | None) -> None:
        """Let something go wrong for an account from now on, or (``None``) no more.

        :raises ValueError: there is no such fault.
        """
        if fault is None:
            self._faults.pop(account, None)
        elif fault in FAULTS:
            self._faults[account] = fault
        else:
            raise ValueError(f"fault {fault!r} is none of {', '.join(FAULTS)}")

    def fault(self, account: str) -> str | None:
        """What goes wrong for an account."""
        return self._faults.get(account) or self._faults.get(EVERYBODY)

    def objects(self, account: str) -> dict[str, list[bytes]]:
        """What was appended to the folders of an account of the embedded store, in the order of arrival."""
        return {folder: list(held) for folder, held in self._embedded.appended.get(account, {}).items()}


class EmbeddedStore:
    """pymap on a free port of loopback."""

    def __init__(self, password: str) -> None:
        self.address = Address("", 0)
        self._login = _Login(_config(), password)
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    @property
    def appended(self) -> dict[str, dict[str, list[bytes]]]:
        """What was appended, by account and folder."""
        return self._login.appended

    async def start(self) -> None:
        """Listen.

        :raises OSError: no port is free.
        """
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        name = self._server.sockets[0].getsockname()
        self.address = Address(name[0], name[1])

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run pymap on one connection."""
        task = asyncio.current_task()
        if task is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        info = SocketInfo.get(writer.transport, ProxyProtocolNoop().unpack(b""))
        await IMAPServer(self._login, self._login.config)(reader, writer, info)


class _Config(Config):
    """The configuration without the look-up of our own host name."""

    @property
    def greeting(self) -> bytes:
        return b"message store ready"


def _config() -> _Config:
    """Plain text on loopback, one event loop, passwords compared as they are."""
    args = Namespace(passlib_cfg=None, proxy_protocol=None)
    return _Config(
        args,
        host=None,
        port=0,
        demo_data=False,
        demo_user="",
        demo_password="",
        tls_enabled=False,
        proxy_protocol=ProxyProtocolNoop(),
        hash_context=Cleartext(),
        cpu_subsystem=Subsystem.for_asyncio(),
        reject_dnsbl=False,
        invalid_user_sleep=0.0,
        bad_command_limit=None,
    )


class _Login(Login):
    """Takes any account with the one password."""

    def __init__(self, config: Config, password: str) -> None:
        super().__init__(config)
        self._password = password
        self.appended: dict[str, dict[str, list[bytes]]] = {}

    async def authenticate(self, credentials: ServerCredentials) -> Identity:
        name = credentials.authcid
        self.users_dict.setdefault(name, UserMetadata(self.config, name, password=self._password))
        return await super().authenticate(credentials)

    async def authorize(self, authenticated: IdentityInterface, authzid: str) -> Identity:
        identity = await super().authorize(authenticated, authzid)
        return _Identity(identity.name, self, self.appended.setdefault(identity.name, {}))


class _Identity(Identity):
    """Opens sessions that keep what is appended."""

    def __init__(self, name: str, login: Login, appended: dict[str, list[bytes]]) -> None:
        super().__init__(name, login, None, frozenset())
        self._appended = appended

    @asynccontextmanager
    async def new_session(self) -> AsyncIterator[Session]:
        sets = self.config.set_cache.setdefault(self.name, (MailboxSet(), FilterSet()))
        yield _Session(self.name, self.config, *sets, self._appended)


class _Session(Session):
    """A session that keeps what is appended."""

    def __init__(
        self,
        owner: str,
        config: Config,
        mailboxes: MailboxSet,
        filters: FilterSet,
        appended: dict[str, list[bytes]],
    ) -> None:
        super().__init__(owner, config, mailboxes, filters)
        self._appended = appended

    async def append_messages(
        self, name: str, messages: Sequence[AppendMessage], selected: SelectedMailbox | None = None
    ) -> tuple[AppendUid, SelectedMailbox | None]:
        result = await super().append_messages(name, messages, selected)
        self._appended.setdefault(name, []).extend(bytes(message.literal) for message in messages)
        return result
