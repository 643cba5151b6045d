"""``cpmspec serve``: the reference Participating Function as a server, for the suite and for work by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpmspec.cli.common import Mistake

if TYPE_CHECKING:
    from cpmspec.reference.server import Server

_DESCRIPTION = """\
Runs the reference CPM Participating Function: it defers messages, tells users what waits, delivers it over MSRP and
records it. Without options it listens on 127.0.0.1:5060, serves every user of example.com and keeps its messages in
./cpmspec-pf. Options win over the configuration file. Ctrl-C ends it.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("serve", help="run the reference Participating Function", description=_DESCRIPTION)
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (TOML)")
    parser.add_argument("--listen", action="append", metavar="ADDRESS", help="numeric address for SIP (repeatable)")
    parser.add_argument("--port", type=int, metavar="N", help="port of SIP over UDP and TCP, 0: any free one")
    parser.add_argument("--tls-port", type=int, metavar="N", help="port of SIP over TLS, 0: any free one")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate for SIP over TLS (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")
    parser.add_argument("--tls-ca", metavar="FILE", help="who signed the core's certificate (PEM)")
    parser.add_argument("--core", metavar="HOST:PORT", help="the SIP/IP core (default: whoever registers users)")
    parser.add_argument("--store", type=_store, metavar="HOST:PORT", help="the IMAP message store for the history")
    parser.add_argument("--state", metavar="DIR", help="folder for deferred messages (default: cpmspec-pf)")
    parser.add_argument("--parts", type=Path, metavar="FILE", help="a Python file whose PARTS replace parts")
    parser.add_argument("--log-format", choices=("human", "json"), default="human", help="form of the log on stderr")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command: until Ctrl-C or SIGTERM.

    :raises Mistake: the configuration, a port or the store cannot be used.
    """
    import asyncio

    from cpmspec.reference import log
    from cpmspec.reference.config import ConfigError, load_config
    from cpmspec.reference.parts import Parts, load_parts
    from cpmspec.reference.server import Server

    try:
        config = load_config(arguments.config, _overrides(arguments))
        parts = Parts() if arguments.parts is None else load_parts(arguments.parts)
        log.setup(arguments.log_format, verbose=arguments.verbose)
        server = Server(config, parts)
    except ConfigError as error:
        raise Mistake(*error.messages) from error
    except OSError as error:
        raise Mistake(f"TLS: found {error.strerror or error}, expected usable certificate files") from error
    asyncio.run(_serve(server))
    return 0


async def _serve(server: Server) -> None:
    """Start, say where we listen, wait for the signal, stop."""
    import asyncio
    import signal

    from cpmspec.reference.log import say
    from cpmspec.reference.store import StoreError

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await server.start()
    except OSError as error:
        raise Mistake(str(error.strerror or error)) from error
    except StoreError as error:
        raise Mistake(f"cannot use the message store: {error}") from error
    for line in server.listening_in_words():
        print(line)
    print(server.ready_line())
    sys.stdout.flush()
    await stopping.wait()
    say("stopping")
    await server.stop()


def _store(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options as dotted keys of the configuration."""
    host, port = arguments.store or (None, None)
    return {
        "sip.listen": arguments.listen,
        "sip.port": arguments.port,
        "sip.tls_port": arguments.tls_port,
        "sip.tls_cert": arguments.tls_cert,
        "sip.tls_key": arguments.tls_key,
        "sip.tls_ca": arguments.tls_ca,
        "core.address": arguments.core,
        "history.host": host,
        "history.port": port,
        "state": arguments.state,
    }
