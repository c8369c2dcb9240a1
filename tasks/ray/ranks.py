"""The ranks of one training, on the nodes of a Ray cluster: all at once, or none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

GRACE = 10  # seconds that other ranks have to say why, once one has failed


class Rank:
    """One rank, in a process of its own on some node."""

    def meeting(self) -> str:
        """Where ranks may meet this one: an address for torch.distributed."""
        import ray

        host = ray.util.get_node_ip_address()
        with socket.socket() as probe:
            probe.bind((host, 0))
            return f"tcp://{host}:{probe.getsockname()[1]}"

    def take_part(self, where: str, own: int, number: int, call: Callable[..., Any], args: tuple) -> None:
        call(where, own, number, *args)


def together(ray: Any, call: Callable[..., Any], number: int, args: tuple, threads: int, gpu: bool) -> None:
    """`call(where, rank, number, *args)` in `number` processes, which meet at `where`; returns when all have.

    Waits until all have room. Raises what one of them raised, a ValueError first, and then ends the others.
    """
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    needs = {"CPU": float(max(1, threads)), "GPU": float(gpu)}
    group = placement_group([{name: most for name, most in needs.items() if most}] * number)
    try:
        ray.get(group.ready())
        remote = ray.remote(Rank)
        ranks = [
            remote.options(
                num_cpus=needs["CPU"],
                num_gpus=needs["GPU"],
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=own),
            ).remote()
            for own in range(number)
        ]
        where = ray.get(ranks[0].meeting.remote())
        left = [rank.take_part.remote(where, own, number, call, args) for own, rank in enumerate(ranks)]
        while left:
            done, left = ray.wait(left)
            if said := _error(ray, done[0]):
                others = ray.wait(left, num_returns=len(left), timeout=GRACE)[0] if left else []
                raise _reason(ray, said, others)
    finally:
        remove_placement_group(group)  # ends what still runs in it


def _reason(ray: Any, said: Exception, others: Sequence[Any]) -> Exception:
    """What to raise where one rank said this: a ValueError, which a user can correct, of any before it."""
    told = [said, *filter(None, (_error(ray, other) for other in others))]
    return next((error for error in told if isinstance(error, ValueError)), said)


def _error(ray: Any, reference: Any) -> Exception | None:
    """What a rank that is over raised."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, Exception) else error
    except ray.exceptions.RayError as error:
        why = " ".join(str(error).split())[:300]
        return ChildProcessError(
            f"Ray lost a process of the training ({why}); again, it goes on from the last saved epoch"
        )
    return None
