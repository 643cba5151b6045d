"""The lab: one child process per run with what the IUT must find at one fixed address, the core and the message store.

Run as ``python -m cpmspec.suite.lab_process``. The first line on standard input is its configuration (JSON); one line
on standard output tells that it is ready, or why not; it ends when standard input does, so it never outlives the run.
It appends every frame to its own file and sends it to the worker whose case owns it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from cpmspec.actors.core import Core
from cpmspec.actors.isc_relay import IscRelay
from cpmspec.actors.message_store import MessageStore
from cpmspec.actors.policy import Policy
from cpmspec.evidence.trace import Frame
from cpmspec.net.pulse import Pulse
from cpmspec.net.sip import Hop
from cpmspec.net.sip_ping import answers_options
from cpmspec.suite.control import ControlServer, Line, Peer, frame_to_json
from cpmspec.suite.ownership import Ownership, SipMessage

Reply = Mapping[str, Any] | None


class LabServer:
    """Core, message store and control channel, and the attribution of what crosses them."""

    def __init__(self, config: Mapping[str, Any], frames: IO[str]) -> None:
        self._config = config
        self._file = frames
        self._ownership = Ownership()
        self._peers: dict[str, Peer] = {}
        self._gone: Line | None = None
        self._stopped: str | None = None
        self._launched: dict[str, int] = {}
        self._pulse = Pulse()
        handlers = {
            "own": self._own, "disown": self._disown, "policy": self._policy, "held": self._held,
            "release": self._release, "third-party": self._third_party, "store-fault": self._store_fault,
            "sync": self._sync, "ping": self._ping, "unowned": self._unowned, "iut": self._iut,
            "launched": self._launch, "iut-gone": self._iut_gone, "state": self._state, "stop": self._stop,
            "outside-core": self._outside_core,
        }  # fmt: skip
        self.control = ControlServer(config["token"], handlers, self._leave)
        server_ssl, client_ssl = _contexts(config["core"])
        self.core: Core | IscRelay
        if config["core"]["outside"]:
            self.core = IscRelay(
                self._record_core, iut_sources=tuple(config["sources"]),
                server_ssl=server_ssl, client_ssl=client_ssl, t1=config["t1"],
            )  # fmt: skip
        else:
            self.core = Core(
                self._record_core, domain=config["domain"], psi=config["psi"], iut_sources=tuple(config["sources"]),
                server_ssl=server_ssl, client_ssl=client_ssl, t1=config["t1"],
            )  # fmt: skip
        self.store = MessageStore(
            self._record_store, password=config["store"]["password"], on_unreachable=self._end_cases
        )

    async def start(self) -> Line:
        """Open all sockets; what the ready line tells.

        :raises OSError: an address cannot be listened on.
        """
        self._pulse.start()
        core, store = self._config["core"], self._config["store"]
        where = core["host"], core["port"], core["tls_port"], core["host6"]
        if isinstance(self.core, IscRelay):
            ports = core["outside"]
            await self.core.start(*where, back_port=ports["back_port"], back_tls_port=ports["back_tls_port"])
            sides = {"front": self.core.front, "back": self.core.back}
        else:
            await self.core.start(*where)
            sides = {"front": self.core.addresses, "access": self.core.access}
        if store["outside"]:
            self.store.set_behind(*store["outside"])
        await self.store.start(store["host"], store["port"])
        return {
            "control": list(await self.control.start()),
            "store": list(self.store.address),
            **{side: {key: list(address) for key, address in table.items()} for side, table in sides.items()},
        }

    async def close(self) -> None:
        """Close everything; what nobody stopped, because the controller was killed, is ended."""
        for pid in self._launched.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._pulse.stop()
        await self.control.close()
        await self.core.close()
        await self.store.close()

    # --- frames ------------------------------------------------------------------------------------------------------

    def _record_core(self, frame: Frame, message: SipMessage | None) -> None:
        self._record(frame, self._ownership.of_frame(frame, message))

    def _record_store(self, frame: Frame, account: str | None) -> None:
        self._record(frame, self._ownership.of_account(account))

    def _record(self, frame: Frame, cases: tuple[str, ...]) -> None:
        value = frame_to_json(frame)
        self._file.write(json.dumps({"cases": cases, "frame": value}, separators=(",", ":")) + "\n")
        for case in cases:
            if (peer := self._peers.get(case)) is not None:
                peer.push("frame", case=case, frame=value)

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _own(self, peer: Peer, request: Line) -> Reply:
        self._peers[request["case"]] = peer
        self._ownership.own(request["case"], request["users"], request["accounts"])
        return None

    async def _disown(self, peer: Peer, request: Line) -> Reply:
        self._peers.pop(request["case"], None)
        self._ownership.disown(request["case"])
        return None

    async def _policy(self, peer: Peer, request: Line) -> Reply:
        self.core.set_policy(request["user"], Policy.from_json(request["policy"]))
        return None

    async def _held(self, peer: Peer, request: Line) -> Reply:
        await self.core.held(request["user"])
        return None

    async def _release(self, peer: Peer, request: Line) -> Reply:
        self.core.release(request["user"])
        return None

    async def _third_party(self, peer: Peer, request: Line) -> Reply:
        return {"status": await self.core.third_party_done(request["user"], gone=request["gone"])}

    async def _store_fault(self, peer: Peer, request: Line) -> Reply:
        self.store.set_fault(request["account"], request["fault"])
        return None

    async def _sync(self, peer: Peer, request: Line) -> Reply:
        # frames are pushed as they are recorded, on this same connection: the reply comes after all of them
        self._file.flush()
        return {"late_us": self._pulse.worst_us(request["since_us"])}

    async def _unowned(self, peer: Peer, request: Line) -> Reply:
        self._file.write(json.dumps({"cases": [], "frame": request["frame"]}, separators=(",", ":")) + "\n")
        return None

    async def _iut(self, peer: Peer, request: Line) -> Reply:
        endpoints = {key: (host, port) for key, (host, port) in request["endpoints"].items()}
        self.core.set_iut(endpoints, tuple(request["sources"]))
        return None

    async def _outside_core(self, peer: Peer, request: Line) -> Reply:
        if isinstance(self.core, IscRelay):
            self.core.set_core({key: (host, port) for key, (host, port) in request["isc"].items()})
        return None

    async def _launch(self, peer: Peer, request: Line) -> Reply:
        if request["pid"] is None:
            self._launched.pop(request["what"], None)
        else:
            self._launched[request["what"]] = request["pid"]
        return None

    async def _iut_gone(self, peer: Peer, request: Line) -> Reply:
        if self._gone is None:
            self._gone = {"time_us": request["time_us"], "reason": request["reason"]}
            self.control.broadcast("iut-gone", **self._gone)
        return None

    async def _stop(self, peer: Peer, request: Line) -> Reply:
        self._end_cases(request["reason"])
        return None

    async def _state(self, peer: Peer, request: Line) -> Reply:
        return {"gone": self._gone, "stopped": self._stopped}

    def _end_cases(self, reason: str) -> None:
        """Tell all workers, those that are still to come as well, that nothing can be decided any more."""
        if self._stopped is None:
            self._stopped = reason
            self.control.broadcast("stop", reason=reason)

    async def _ping(self, peer: Peer, request: Line) -> Reply:
        return {"alive": await self._answers_options(float(request["timeout"]))}

    async def _answers_options(self, within: float) -> bool:
        """Whether the IUT answers an OPTIONS with anything at all (RFC 3261 11)."""
        key, address = next(iter(self.core.iut.items()))
        return await answers_options(
            Hop(key.rstrip("6"), *address), domain=self._config["domain"], host=self._config["core"]["host"],
            t1=self._config["t1"], within=within, client_ssl=_contexts(self._config["core"])[1],
        )  # fmt: skip

    def _leave(self, peer: Peer) -> None:
        for case in [case for case, owner in self._peers.items() if owner is peer]:
            del self._peers[case]
            self._ownership.disown(case)


def _contexts(core: Mapping[str, Any]) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The core's TLS contexts: one to be called with, one to call the IUT with."""
    from cpmspec.net.tls import client_context, server_context

    if not core["tls_cert"]:
        return None, None
    return server_context(core["tls_cert"], core["tls_key"]), client_context(core["ca"] or None)


async def serve(config: Mapping[str, Any], stdin: IO[str], frames: IO[str]) -> int:
    """Run the lab until ``stdin`` ends; exit status."""
    lab = LabServer(config, frames)
    try:
        ready = await lab.start()
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201 - the protocol with the controller
        await lab.close()
        return 1
    print(json.dumps({"ready": ready}), flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, stdin.read)
    await lab.close()
    return 0


def main() -> int:
    """Read the configuration and serve; Ctrl-C is the controller's business, which closes standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.readline()
    if not line:
        return 1
    config = json.loads(line)
    with Path(config["frames"]).open("a", encoding="utf-8") as frames:
        return asyncio.run(serve(config, sys.stdin, frames))


if __name__ == "__main__":
    sys.exit(main())
