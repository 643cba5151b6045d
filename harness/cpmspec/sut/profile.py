"""The profile of an implementation under test (IUT): its PICS and IXIT, read from TOML.

A profile says what the IUT is, how it is launched or where it listens, what it supports (PICS) and how the suite is to
read it where the specification is silent (IXIT). :func:`load_profile` validates it as a whole and reports every mistake
at once: those of single keys come from the models, those of keys that contradict one another from
:mod:`cpmspec.sut.crosschecks`.
"""

from __future__ import annotations

import copy
import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cpmspec.sut.crosschecks import contradictions
from cpmspec.sut.models import Core, History, Iut, Ixit, OutsideCore, OutsideStore, Pics, Profile, Section, Users

Location = tuple[int | str, ...]

#: what each kind of pydantic error says was expected
_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "literal_error": "one of {expected}",
    "greater_than_equal": "a number, at least {ge:g}",
    "greater_than": "a number above {gt:g}",
    "less_than_equal": "a number, at most {le:g}",
    "finite_number": "a finite number",
    "string_pattern_mismatch": "part:<header>, sip:<header>, msrp:<header> or cpim:<header>",
    "value_error": "{error}",
}


class ProfileError(Exception):
    """A profile that cannot be used. ``messages`` has one line for each mistake."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


def load_profile(path: Path) -> Profile:
    """Read and validate a profile.

    :raises ProfileError: with every mistake: its file, its key, what was found and what was expected.
    """
    raw = _read(path)
    mistakes: list[str] = []
    locations: set[Location] = set()
    profile = _validated(_plain(raw), mistakes, locations)
    dropped = {_top(location) for location in locations}
    for contradiction in contradictions(profile, path.parent):
        if not dropped.intersection(contradiction.keys):
            mistakes.append(f"{contradiction.keys[0]}: found {contradiction.found}, expected {contradiction.expected}")
    if mistakes:
        raise ProfileError([f"{path}: {mistake}" for mistake in mistakes])
    return _with_absolute_paths(profile, path.parent)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ProfileError(
            [f"{path}: found no readable file ({error.strerror}), expected a profile in TOML"]
        ) from error
    except UnicodeDecodeError as error:
        raise ProfileError([f"{path}: found an octet that is not UTF-8 at {error.start}, expected TOML"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError([f"{path}: found a mistake in the TOML itself: {error}"]) from error


def _plain(value: Any) -> Any:
    """TOML's lists as tuples: the models are immutable and convert nothing."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return tuple(_plain(entry) for entry in value) if isinstance(value, list) else value


def _validated(raw: dict[str, Any], mistakes: list[str], locations: set[Location]) -> Profile:
    """Validate; leave out what is wrong (noted in ``mistakes`` and ``locations``) so that the rest can be checked."""
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        remaining = copy.deepcopy(raw)
        for details in error.errors(include_url=False):
            location = details["loc"]
            mistakes.append(_message(details))
            locations.add(location)
            _drop(remaining, location)
        return _validated(remaining, mistakes, locations)


def _message(details: ErrorDetails) -> str:
    key = _key(details["loc"])
    if details["type"] == "extra_forbidden":
        expected = "a key of a profile" + _suggestion(details["loc"])
        return f"{key}: found an unknown key, expected {expected}"
    expected = _EXPECTED.get(details["type"], details["msg"]).format(**details.get("ctx", {}))
    return f"{key}: found {_shown(details['input'])}, expected {expected}"


def _suggestion(location: Location) -> str:
    """A known key that looks like the one found: in the same table, or the same name in another one."""
    known = dict.fromkeys(known_keys())
    table, name = ".".join(map(str, location[:-1])), str(location[-1])
    here = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == table]
    close = difflib.get_close_matches(name, here, n=1)
    if close:
        return f" (did you mean {close[0]}?)"
    elsewhere = [key for key in known if key.rpartition(".")[2] == name]
    if elsewhere:
        return f" (did you mean {elsewhere[0]}?)"
    return f" (here: {', '.join(here)})" if here else ""


def known_keys(section: type[Section] = Profile, prefix: str = "") -> Iterator[str]:
    """Every key of a profile with its tables, for example ``iut.sip.host``; tables themselves too."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from known_keys(field.annotation, f"{prefix}{name}.")


def _key(location: Location) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _top(location: Location) -> str:
    """The key that an error lies in, without positions in lists."""
    return ".".join(step for step in location if isinstance(step, str))


def _drop(raw: dict[str, Any], location: Location) -> None:
    """Take the innermost key of a table out that an error lies in."""
    table: Any = raw
    steps = list(location)
    for position, step in enumerate(steps):
        entry = table.get(step) if isinstance(table, dict) else None
        last = position + 1 == len(steps) or not isinstance(entry, Mapping)
        if last:
            if isinstance(table, dict):
                table.pop(step, None)
            return
        table = entry


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _with_absolute_paths(profile: Profile, folder: Path) -> Profile:
    files = {
        key: str((folder / value).resolve())
        for key in ("tls_cert", "tls_key", "ca")
        if (value := getattr(profile.core, key))
    }
    return profile.model_copy(update={"core": profile.core.model_copy(update=files)})


__all__ = [
    "Core", "History", "Iut", "Ixit", "OutsideCore", "OutsideStore", "Pics", "Profile", "ProfileError", "Users",
    "known_keys", "load_profile",
]  # fmt: skip
