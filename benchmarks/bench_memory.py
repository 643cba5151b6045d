"""Memory of a message of 1 GB that is sent and received: the peak of each process, sender and receiver.

Each end is a process of its own with our sender, receiver and connection; the content is made as it is read, the sink
only counts. For orientation: the peak of a process that only imports the same modules and runs an event loop.
"""

from __future__ import annotations

import asyncio
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ratio import Row

GOAL = 80  #: MB
SIZE = 1 << 30
CHUNKS = (65_536, None)  #: octets of a chunk; None: the whole message is one


def peak() -> float:
    """The greatest resident size that this process had, in MB.

    Linux says so in VmHWM; ``ru_maxrss`` also counts what the process was before it became this program.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    kilobytes = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 / 1e6


async def receive() -> None:
    """Listen, say on which port, and take one message."""
    from bench_transfer import PATHS, Counter

    from cpmspec.net.msrp import MsrpConnection, listen_msrp
    from cpmspec.net.msrp_runner import MsrpRunner
    from cpmspec.protocol.msrp_receiver import MessageComplete, MsrpReceiver, ReceiverEvent
    from cpmspec.protocol.msrp_sender import MsrpSender, SenderEvent

    sink, gone, runners = Counter(), asyncio.Event(), list[MsrpRunner]()

    def tell(event: SenderEvent | ReceiverEvent) -> None:
        if isinstance(event, MessageComplete):
            runners[0].answer(*event.answers)

    def accept(connection: MsrpConnection) -> None:
        receiver = MsrpReceiver(PATHS[1:], open_sink=lambda head: sink)
        runners.append(MsrpRunner(connection, MsrpSender(PATHS[:1], PATHS[1:]), receiver, tell))
        ended = connection.on_close

        def on_close(reason: Exception | None) -> None:
            if ended is not None:
                ended(reason)
            gone.set()

        connection.on_close = on_close

    listener = await listen_msrp("127.0.0.1", 0, accept)
    print(listener.address[1], flush=True)
    await gone.wait()
    listener.close()
    print(sink.octets, peak())


async def send(port: int, chunk_size: int | None) -> None:
    """Send one message, and wait until it is delivered."""
    from bench_transfer import PATHS, WINDOW, Octets

    from cpmspec.net.msrp import connect_msrp
    from cpmspec.net.msrp_runner import MsrpRunner
    from cpmspec.protocol.msrp_receiver import MsrpReceiver, ReceiverEvent
    from cpmspec.protocol.msrp_sender import MsrpSender, Outcome, OutgoingMessage, SenderEvent

    delivered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def tell(event: SenderEvent | ReceiverEvent) -> None:
        if isinstance(event, Outcome) and not delivered.done():
            delivered.set_result(event.delivered)

    connection = await connect_msrp("127.0.0.1", port)
    sender = MsrpSender(PATHS[1:], PATHS[:1], chunk_size=chunk_size, window=WINDOW)
    runner = MsrpRunner(connection, sender, MsrpReceiver(PATHS[:1]), tell)
    runner.submit(OutgoingMessage("message1", "application/octet-stream", Octets(SIZE), success_report=True))
    done = await delivered
    runner.close()
    await connection.wait_closed()
    print(SIZE if done else 0, peak())


async def nothing() -> None:
    """Only what every process has."""
    import bench_transfer

    await bench_transfer.raw(65_536, 65_536)
    print(SIZE, peak())


def measure(chunk_size: int | None) -> tuple[float, float]:
    """The peaks of sender and receiver."""
    with _start("receive") as receiver:
        port = _line(receiver)
        with _start("send", port, str(chunk_size or 0)) as sender:
            return _peak(_line(sender)), _peak(_line(receiver))


def _start(*what: str) -> subprocess.Popen[str]:
    """This file in a process of its own."""
    return subprocess.Popen([sys.executable, str(Path(__file__)), *what], stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip() if process.stdout is not None else ""


def _peak(line: str) -> float:
    octets, megabytes = line.split()
    if int(octets) != SIZE:
        raise RuntimeError(f"{octets} octets of {SIZE} were delivered")
    return float(megabytes)


def rows() -> Iterator[Row]:
    """A line for each end."""
    with _start("nothing") as process:
        bare = _peak(_line(process))
    yield Row("process with the modules and an event loop, no message", "peak memory", (bare, bare, bare), unit="MB")
    for chunk_size in CHUNKS:
        peaks = [measure(chunk_size) for _ in range(3)]
        chunks = "in one chunk" if chunk_size is None else f"in chunks of {chunk_size // 1024} KiB"
        for place, end in enumerate(("sender", "receiver")):
            low, middle, high = sorted(pair[place] for pair in peaks)
            yield Row(f"1 GiB message {chunks}: {end}", "peak memory", (low, middle, high), f"under {GOAL}", "MB")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive"]:
            asyncio.run(receive())
        case ["send", port, chunk_size]:
            asyncio.run(send(int(port), int(chunk_size) or None))
        case ["nothing"]:
            asyncio.run(nothing())
        case _:
            for row in rows():
                print(row)
