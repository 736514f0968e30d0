"""Helpers that tests share: servers, databases, builders, waiting, proxies, processes."""
