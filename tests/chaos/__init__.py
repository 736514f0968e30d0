"""Processes killed, servers stopped, connections cut: nothing is lost, nothing is parked."""
