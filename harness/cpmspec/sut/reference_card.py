"""The tables of ``docs/profile.md``: every key of a profile, from the models themselves.

``python -m cpmspec.sut.reference_card docs/profile.md`` brings the file up to date.
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from cpmspec.sut.models import Profile, Section

BEGIN = "<!-- keys: begin -->"
END = "<!-- keys: end -->"


def tables(section: type[Section] = Profile, name: str = "") -> Iterator[str]:
    """One Markdown table for each table of a profile, those inside it after it."""
    rows = []
    inner: list[tuple[str, type[Section]]] = []
    for key, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            inner.append((f"{name}.{key}".lstrip("."), kind))
        else:
            rows.append(f"| `{key}` | {_type(kind)} | {_default(field)} | {field.description} |")
    heading = f"### `[{name}]`" if name else "### before all tables"
    yield "\n".join([heading, "", (section.__doc__ or "").strip(), "", "| key | type | default | meaning |",
                     "|---|---|---|---|", *rows])  # fmt: skip
    for inner_name, kind in inner:
        yield from tables(kind, inner_name)


def filled(page: str) -> str:
    """The page with its tables brought up to date.

    :raises ValueError: the page has no place for them.
    """
    if BEGIN not in page or END not in page:
        raise ValueError(f"expected {BEGIN} and {END}")
    return re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: "\n\n".join([BEGIN, *tables(), END]), page, flags=re.DOTALL
    )


_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _type(kind: Any) -> str:
    if get_origin(kind) is typing.Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {_type(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "table of text"
    if get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_type(choice) for choice in get_args(kind) if choice is not type(None))
    return _NAMES[kind]


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{json.dumps(field.default)}`"


def main(arguments: list[str]) -> int:
    """Bring each file up to date."""
    for name in arguments:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
