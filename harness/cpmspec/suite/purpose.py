"""What makes a function a conformance case: ``@purpose`` with its identifier and the requirements it is about."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import pytest

#: TP_<protocol>_<role>_<group>_<behaviour>_<number>: V valid, I invalid, O inopportune (ETSI TS 102 351)
CASE_ID = re.compile(r"TP_CPM_PF_[A-Z]{3}_[VIO]_\d{3}")

ATTRIBUTE = "__cpmspec_purpose__"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Purpose:
    """A test purpose: ``case`` is its stable identifier, ``requirements`` what it judges, ``pics`` what it needs.

    ``waits`` tells that the case sits out a timer: such cases of one module run side by side.
    """

    case: str
    requirements: tuple[str, ...]
    pics: tuple[str, ...] = ()
    waits: bool = False


def purpose(
    case: str, *requirements: str, pics: str | tuple[str, ...] = (), waits: bool = False
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Mark a coroutine function as the case of a test purpose; its docstring is the purpose in TPLan words.

    A case takes ``lab`` and the values of its parametrisation, no other fixture.

    :raises ValueError: the identifier is not a stable one, or no requirement is named.
    """
    if not CASE_ID.fullmatch(case):
        raise ValueError(f"case id {case!r}, expected the form {CASE_ID.pattern}")
    if not requirements:
        raise ValueError(f"{case} names no requirement")
    needs = (pics,) if isinstance(pics, str) else tuple(pics)
    marked = Purpose(case, requirements, needs, waits)

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        if not inspect.getdoc(function):
            raise ValueError(f"{case}: {function.__name__} has no docstring to tell its purpose")

        @functools.wraps(function)
        def case_function(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            # not a coroutine function itself: other plug-ins must not run it on a loop of theirs
            return function(*args, **kwargs)

        setattr(case_function, ATTRIBUTE, marked)
        return case_function

    return decorate


def purpose_of(function: object) -> Purpose | None:
    """The purpose that ``@purpose`` gave a function, ``None`` for any other object."""
    found = getattr(function, ATTRIBUTE, None)
    return found if isinstance(found, Purpose) else None


#: parametrises ``mode``: pager mode (SIP MESSAGE) and large message mode (INVITE and MSRP)
modes = pytest.mark.parametrize("mode", ["pager", "large"])

#: parametrises ``establishment``: by the client's INVITE (pull) and by the PF's (push)
establishments = pytest.mark.parametrize("establishment", ["pull", "push"])

#: parametrises ``mode, establishment``: every flow of a deferred message; ids ``pager-pull`` to ``large-push``
flows = pytest.mark.parametrize(
    ("mode", "establishment"),
    [pytest.param(m, e, id=f"{m}-{e}") for m in ("pager", "large") for e in ("pull", "push")],
)

#: parameter values of a case that an IUT must have declared: (parameter, value) -> PICS entry
PARAMETER_PICS: dict[tuple[str, str | bool], str] = {
    ("mode", "pager"): "pager_mode",
    ("mode", "large"): "large_message_mode",
    ("establishment", "pull"): "pull",
    ("establishment", "push"): "push",
    ("tls", True): "msrp_tls",
}


def needed_pics(marked: Purpose, parameters: dict[str, object]) -> tuple[str, ...]:
    """The PICS entries that a case needs: those it names and those that its parameters imply."""
    plain = [(name, value) for name, value in parameters.items() if isinstance(value, str | bool)]
    implied = [PARAMETER_PICS[item] for item in plain if item in PARAMETER_PICS]
    return tuple(dict.fromkeys((*marked.pics, *implied)))
