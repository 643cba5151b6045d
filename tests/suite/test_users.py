"""Whom a case gets: fresh users by prefix, shares of static pools, one case at a time."""

from __future__ import annotations

import asyncio

import pytest

from cpmspec.suite.users import NotApplicable, UserBook, short_pools
from cpmspec.sut.profile import Profile

POOL = [f"sip:u{number}@example.com" for number in range(5)]
PROFILE = Profile.from_json(
    {
        "iut": {"name": "x", "sip": {"host": "127.0.0.1"}},
        "users": {"domain": "example.com", "prefix_on": "on-", "prefix_push_on": "push-on-", "pool_off": POOL},
    }
)


def book(worker: str = "gw0", index: int = 0, count: int = 1) -> UserBook:
    return UserBook(PROFILE, worker=worker, index=index, count=count, run="r7")


async def test_fresh_users_by_prefix() -> None:
    users = book("gw1")
    first = await users.take("A", history=True, establishment="pull")
    second = await users.take("A", history=True, establishment="push")
    assert (first.user.uri, second.user.uri) == ("sip:on-r7gw1-1@example.com", "sip:push-on-r7gw1-2@example.com")
    assert first.user.fresh
    assert not first.drain
    assert (first.user.history, second.user.establishment) == (True, "push")
    assert first.user.account == "on-r7gw1-1"


async def test_a_kind_that_the_profile_lacks() -> None:
    with pytest.raises(NotApplicable, match="push_off"):
        await book().take("A", history=False, establishment="push")


async def test_workers_share_a_pool_out_in_equal_parts() -> None:
    shares = []
    for index in range(2):
        users = book(index=index, count=2)
        taken = [await users.take("A", history=False, establishment="pull") for _ in range(2)]
        shares.append({one.user.uri for one in taken})
        with pytest.raises(NotApplicable, match="one more"):
            await users.take("A", history=False, establishment="pull")
    assert not shares[0] & shares[1]


async def test_a_pool_user_is_drained_first_and_then_handed_on() -> None:
    users = book(count=5)
    first = await users.take("A", history=False, establishment="pull")
    assert (first.drain, first.previous, first.user.fresh) == (True, None, False)
    await users.release("A")
    second = await users.take("B", history=False, establishment="pull")
    assert (second.drain, second.previous) == (False, "A")
    assert second.user.uri == first.user.uri


async def test_a_case_waits_for_a_user_whom_another_one_holds() -> None:
    users = book(count=5)
    await users.take("A", history=False, establishment="pull")
    waiting = asyncio.ensure_future(users.take("B", history=False, establishment="pull"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await users.release("A")
    assert (await waiting).previous == "A"


def test_pools_that_are_too_small_for_the_workers() -> None:
    assert short_pools(PROFILE, 5) == []
    (line,) = short_pools(PROFILE, 6)
    assert line.startswith("users.pool_off: found 5 users")
