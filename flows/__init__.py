"""Flows decide the order; the command line calls them."""
