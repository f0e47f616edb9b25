"""Bytes between processes: frames, sockets, connections, and which Ray cluster a process is in."""
