"""Fuzzes one target in this process, until time is up or something is found: started by :mod:`driver`."""

from __future__ import annotations

import sys
from hashlib import sha1
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cpmspec", "planted"]):
    import planted
    import targets


def main() -> None:
    """``one.py NAME PLANTED PREFIX [libFuzzer's options and folders]``; PLANTED is 1 to plant the target's bug."""
    _, name, plant, prefix, *options = sys.argv
    if plant == "1":
        planted.PLANTED[name].plant()
    target = targets.TARGETS[name]

    def check(octets: bytes) -> None:
        good = False
        try:
            target.check(octets)
            good = True
        finally:
            if not good:
                keep(octets, prefix)

    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={prefix}"], check)
    atheris.Fuzz()


def keep(octets: bytes, prefix: str) -> None:
    """Write a finding as libFuzzer does: it would come too late where its alarm ends the process first."""
    path = Path(f"{prefix}crash-{sha1(octets, usedforsecurity=False).hexdigest()}")
    path.write_bytes(octets)
    sys.stdout.write(f"Test unit written to {path}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
