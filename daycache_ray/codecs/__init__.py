"""Values to bytes and back, exactly. Refuses to know stores, sockets and what a value is for."""
