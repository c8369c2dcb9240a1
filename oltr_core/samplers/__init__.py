"""Samplers: `(labels, Progress, generator) -> indices [S, N]`, one epoch's images for each of S streams.

| name | a class is drawn | paper |
|---|---|---|
| instance | as often as it has images | the plain model; phase 1 |
| class_aware | as often as any other, n images at a time | Shen et al., ECCV 2016; phase 2 |
| square_root | in proportion to √n | Mahajan et al., ECCV 2018 |
| progressive | from instance to class-balanced along the phase | Kang et al., ICLR 2020 |
| reversed | in proportion to 1/n | BBN's re-balancing branch |
| bilateral | two streams: instance, and reversed | BBN, Zhou et al., CVPR 2020 |
"""

from typing import Annotated

from pydantic import Field

from oltr_core.samplers.bilateral import Bilateral
from oltr_core.samplers.class_aware import ClassAware
from oltr_core.samplers.instance import Instance
from oltr_core.samplers.progressive import Progressive
from oltr_core.samplers.reversed import Reversed
from oltr_core.samplers.square_root import SquareRoot

Sampler = Annotated[
    Instance | ClassAware | SquareRoot | Progressive | Reversed | Bilateral, Field(discriminator="name")
]
