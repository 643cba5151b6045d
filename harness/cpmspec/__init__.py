"""Conformance suite and interop harness for CPM Participating Functions (OMA-TS-CPM_Conv_Fnct 8.3.2.4.3)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cpmspec")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
