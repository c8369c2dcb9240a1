"""Flows decide the order; the command line stands on top of them."""
