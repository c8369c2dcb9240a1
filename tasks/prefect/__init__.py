"""Prefect's server, as a process of its own."""
