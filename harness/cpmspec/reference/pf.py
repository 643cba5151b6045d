"""The Participating Function as its parts see it: what each of them may ask the others for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpmspec.reference.config import Config
    from cpmspec.reference.deferral import Deferral
    from cpmspec.reference.delivery import Delivery
    from cpmspec.reference.history import History
    from cpmspec.reference.media import Media
    from cpmspec.reference.notification import Notification
    from cpmspec.reference.parts import Parts
    from cpmspec.reference.registrations import Registrations
    from cpmspec.reference.signalling import Signalling
    from cpmspec.reference.store import Store
    from cpmspec.reference.users import Users


class Tasks:
    """What runs in the background: kept referenced, its errors logged, cancelled at the end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine on its own."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": error, "task": task}
            )

    async def finish(self, within: float) -> None:
        """Wait at most ``within`` seconds for everything to end, then cancel what is left."""
        if self._running:
            await asyncio.wait(self._running, timeout=within)
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@dataclass(slots=True)
class Pf:
    """The server's parts, put together by :class:`cpmspec.reference.server.Server`."""

    config: Config
    parts: Parts
    users: Users
    tasks: Tasks = field(default_factory=Tasks)
    store: Store = field(init=False)
    signalling: Signalling = field(init=False)
    media: Media = field(init=False)
    registrations: Registrations = field(init=False)
    notification: Notification = field(init=False)
    deferral: Deferral = field(init=False)
    delivery: Delivery = field(init=False)
    history: History = field(init=False)

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def reachable(self, user: str) -> None:
        """The user has just registered: tell him what waits, or bring it (8.3.2.4)."""
        if self.users.pushes(user):
            self.delivery.on_reachable(user)
        else:
            self.notification.on_reachable(user)
