"""The network: a trunk up to the direct feature, and one classification head per expert."""

from oltr_core.models.network import Network, NetworkSpec

__all__ = ["Network", "NetworkSpec"]
