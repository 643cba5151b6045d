"""What the server is put together from; a ``--parts`` file exchanges parts: ``PARTS = Parts(delivery=Mine)``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cpmspec.protocol.msrp_receiver import MsrpReceiver
from cpmspec.protocol.msrp_sender import MsrpSender
from cpmspec.reference.config import ConfigError
from cpmspec.reference.deferral import Deferral
from cpmspec.reference.delivery import Delivery
from cpmspec.reference.history import History
from cpmspec.reference.notification import Notification
from cpmspec.reference.registrations import Registrations
from cpmspec.reference.store import Store
from cpmspec.reference.store.sqlite import SqliteStore

Outbound = Callable[[str, bytes], bytes | None]
"""``(pco, octets) -> octets``: sees everything just before it leaves; ``None`` drops it. PCOs: isc, msrp, store."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes of the server's parts, and a hook at the edge of its sockets."""

    store: Callable[[Path], Store] = SqliteStore
    registrations: type[Registrations] = Registrations
    notification: type[Notification] = Notification
    deferral: type[Deferral] = Deferral
    delivery: type[Delivery] = Delivery
    history: type[History] = History
    msrp_sender: type[MsrpSender] = MsrpSender
    msrp_receiver: type[MsrpReceiver] = MsrpReceiver
    outbound: Outbound | None = None


def load_parts(path: Path) -> Parts:
    """The ``PARTS`` of a Python file.

    :raises ConfigError: the file cannot be read or run as a module, or defines no ``PARTS``.
    """
    name = f"cpmspec_parts_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError([f"command line: parts: found {str(path)!r}, expected a Python file"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError([f"{path}: found {type(error).__name__}: {error}, expected a module that loads"]) from error
    parts = getattr(module, "PARTS", None)
    if not isinstance(parts, Parts):
        raise ConfigError([f"{path}: PARTS: found {parts!r}, expected an instance of cpmspec.reference.parts.Parts"])
    return parts
