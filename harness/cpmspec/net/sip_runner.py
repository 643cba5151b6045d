"""Runs a machine of :mod:`cpmspec.protocol.transactions` on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from cpmspec.protocol.transactions import Output, Send
from cpmspec.wire.sip import SipRequest, SipResponse


class Machine(Protocol):
    """A sans-I/O machine with timers."""

    def deadline(self) -> float | None:
        """When to call :meth:`advance`."""

    def advance(self, now: float) -> list[Output]:
        """Fire timers."""


class Runner:
    """Runs a machine on the event loop: carries out its outputs, wakes it up in time."""

    def __init__(
        self, machine: Machine, send: Callable[[SipRequest | SipResponse], None], tell: Callable[[Output], None]
    ) -> None:
        self._machine = machine
        self._send = send
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """The machine's clock: that of the event loop, in seconds."""
        return self._loop.time()

    def run(self, outputs: Iterable[Output]) -> None:
        """Carry out what the machine said and set the timer anew."""
        for output in outputs:
            if isinstance(output, Send):
                self._send(output.message)
            else:
                self._tell(output)
        self.stop()
        deadline = self._machine.deadline()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._wake)

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        # the loop may wake a clock tick early; what is due at the deadline is due now
        deadline = self._machine.deadline()
        self.run(self._machine.advance(max(self.now(), deadline or 0.0)))
