"""Pure code alone: no server, no socket, no clock to wait for."""
