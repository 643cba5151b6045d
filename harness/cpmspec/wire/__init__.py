"""Bytes to values and back: no sockets, no clock, no asyncio."""
