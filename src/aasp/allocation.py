"""A limit on what constructors allocate: a configuration may request more than its weights could ever fill."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from aasp.errors import AaspError

SPARE = 2**26
"""Elements allowed beyond those that are saved: constants such as filter banks and windows, 256 MiB in fp32."""
_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})


class Within(TorchFunctionMode):
    """Limits the total number of elements that tensor factories may allocate in this context.

    The allocation that exceeds the limit is refused before it is made.

    Args:
        numbers: the limit, in elements.
        text: the error message, with what requests them and the remedy: "PATH: …; remedy".

    Raises:
        AaspError: the limit is exceeded.
    """

    def __init__(self, numbers: int, text: str) -> None:
        super().__init__()
        self._left, self._text = numbers, text

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _FACTORIES:
            size = (kwargs or {}).get("size", args[:1] if func is torch.full else args)
            sides = [side for one in size for side in (one if isinstance(one, Sequence) else [one])]
            self._left -= math.prod(side for side in sides if isinstance(side, int))
            if self._left < 0:
                raise AaspError(self._text)
        return func(*args, **(kwargs or {}))
