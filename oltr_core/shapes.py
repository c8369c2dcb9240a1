"""Shape annotations. They are jaxtyping's where it is installed (tests check them at run time), else inert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8
    except ModuleNotFoundError:  # a bare GPU host has torch and little else

        class _Inert:
            def __class_getitem__(cls, item: Any) -> Any:
                return item[0]

        Bool = Float = Int = UInt8 = _Inert

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
