"""State machines without I/O: bytes, events and the time in; bytes, events and deadlines out."""
