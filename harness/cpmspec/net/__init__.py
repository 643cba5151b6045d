"""asyncio shells around the state machines: sockets only, no decisions."""
