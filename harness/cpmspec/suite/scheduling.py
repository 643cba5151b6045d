"""How xdist hands out cases: all cases that wait go to one worker, so that they wait side by side.

xdist's own ``--dist loadgroup`` marks groups in the node ids of the items, which pytest 9.2 no longer lets it do; here
the worker tells the groups in the file of the cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is not typed
    """Each case is a scope of its own, but those of a group are one."""

    def __init__(self, config: pytest.Config, log: Producer | None, groups: Path) -> None:
        super().__init__(config, log)
        self._file = groups
        self._groups: Mapping[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        """The group of an item; the file is there once the first worker has collected."""
        if self._groups is None:
            self._groups = json.loads(self._file.read_text(encoding="utf-8"))
        return self._groups.get(nodeid, nodeid)
