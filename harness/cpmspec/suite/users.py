"""Which user a case gets: a fresh one where the IUT takes any, else one of the worker's share of a static pool."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from cpmspec.evidence.context import ServedUser
from cpmspec.suite.case import Inconclusive
from cpmspec.sut.profile import Profile

POOL_WAIT = 900.0  #: seconds that a case waits for a pool user that another case holds


class NotApplicable(Exception):
    """The case cannot be run against this IUT; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Taken:
    """A user for a case; ``previous`` is the case that had him before, ``drain`` tells that he may not be clean."""

    user: ServedUser
    previous: str | None = None
    drain: bool = False


@dataclass(slots=True)
class _Seat:
    uri: str
    holder: str | None = None
    previous: str | None = None
    used: int = 0


def kind_name(history: bool, establishment: str) -> str:
    """The kind of a user as profile keys name it: ``on``, ``off``, ``push_on``, ``push_off``."""
    return ("push_" if establishment == "push" else "") + ("on" if history else "off")


class UserBook:
    """The users of one worker. ``run`` makes fresh names differ from those of earlier runs.

    A static pool is shared out as ``pool[i::n]``, each worker taking equally many, so that it does not depend on the
    worker whether a case finds the users that it needs.
    """

    def __init__(self, profile: Profile, *, worker: str, index: int, count: int, run: str) -> None:
        self._profile = profile
        self._name = f"{run}{worker}"
        self._index, self._count = index, count
        self._numbers: Iterator[int] = itertools.count(1)
        self._seats: dict[str, list[_Seat]] = {}
        self._freed: asyncio.Condition | None = None

    def sender(self) -> str:
        """A fresh originator."""
        return f"sip:from-{self._name}-{next(self._numbers)}@{self._profile.users.domain}"

    async def take(self, case: str, *, history: bool, establishment: str) -> Taken:
        """A user of that kind for a case, who is nobody else's until :meth:`release`.

        :raises NotApplicable: the profile has none. Inconclusive: other cases held all of them for too long.
        """
        users = self._profile.users
        prefix = users.prefix(history=history, flow=establishment)
        if prefix:
            uri = f"sip:{prefix}{self._name}-{next(self._numbers)}@{users.domain}"
            return Taken(self._served(uri, history, establishment, fresh=True))
        kind = kind_name(history, establishment)
        seats = self._pool(kind, history, establishment)
        held = sum(seat.holder == case for seat in seats)
        if held >= len(seats):
            more = "one more" if held else "one"
            raise NotApplicable(
                f"the case needs {more} user of kind {kind}, this worker has {len(seats)} (profile: users)"
            )
        try:
            seat = await asyncio.wait_for(self._seat(case, seats), POOL_WAIT)
        except TimeoutError:
            raise Inconclusive("environment", f"no user of kind {kind} was free within {POOL_WAIT:g} s") from None
        taken = Taken(
            self._served(seat.uri, history, establishment, fresh=False), previous=seat.previous, drain=not seat.used
        )
        seat.used += 1
        seat.previous = case
        return taken

    async def release(self, case: str) -> None:
        """Give the pool users of a case back."""
        for seats in self._seats.values():
            for seat in seats:
                if seat.holder == case:
                    seat.holder = None
        async with self._condition:
            self._condition.notify_all()

    @property
    def _condition(self) -> asyncio.Condition:
        if self._freed is None:
            self._freed = asyncio.Condition()
        return self._freed

    async def _seat(self, case: str, seats: list[_Seat]) -> _Seat:
        async with self._condition:
            while not (free := [seat for seat in seats if seat.holder is None]):
                await self._condition.wait()
            seat = min(free, key=lambda candidate: candidate.used)
            seat.holder = case
            return seat

    def _pool(self, kind: str, history: bool, establishment: str) -> list[_Seat]:
        if kind not in self._seats:
            pool = self._profile.users.pool(history=history, flow=establishment)
            share = pool[self._index % self._count :: self._count][: len(pool) // self._count]
            self._seats[kind] = [_Seat(uri) for uri in share]
        return self._seats[kind]

    def _served(self, uri: str, history: bool, establishment: str, *, fresh: bool) -> ServedUser:
        return ServedUser(uri, history, establishment, self._profile.history.account(uri), fresh)


def short_pools(profile: Profile, workers: int) -> list[str]:
    """One line for each pool that has users, but fewer than there are workers."""
    lines = []
    for history, establishment in itertools.product((True, False), ("pull", "push")):
        pool = profile.users.pool(history=history, flow=establishment)
        if pool and len(pool) < workers and not profile.users.prefix(history=history, flow=establishment):
            kind = kind_name(history, establishment)
            lines.append(
                f"users.pool_{kind}: found {len(pool)} users, expected at least one for each of {workers} workers"
            )
    return lines
