"""Device memory that meta tensors would use: each storage counts once, while it is referenced."""

from __future__ import annotations

import weakref

from torch import Tensor, nn


class Memory:
    """Counts live storages on the meta device, except those of weights and their gradients.

    Args:
        root: the module whose weights are not counted; its gradients are dropped as soon as they are complete.

    Attributes:
        held: bytes held now.
        peak: largest number of bytes held at one time.
    """

    def __init__(self, root: nn.Module) -> None:
        self.sizes: dict[int, int] = {}
        self.kept: set[int] = set()
        self.held = self.peak = 0
        for tensor in (*root.parameters(), *root.buffers()):
            self.exempt(tensor)
        for parameter in root.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda done: setattr(done, "grad", None))

    def meet(self, tensor: Tensor, counts: bool = True) -> int:
        """Count a tensor's storage from now until it is freed, unless it is already counted; returns its id."""
        storage = tensor.untyped_storage()
        key = id(storage)  # the same object as long as the storage lives
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes() * counts
            self.held += self.sizes[key]
            self.peak = max(self.peak, self.held)
            weakref.finalize(storage, self._free, key)
        return key

    def _free(self, key: int) -> None:
        self.held -= self.sizes.pop(key)
        self.kept.discard(key)

    def exempt(self, tensor: Tensor) -> None:
        """Do not count the storage of a weight or of its bf16 copy."""
        self.held -= self.sizes[key := self.meet(tensor, False)]
        self.sizes[key] = 0

    def keep(self, tensor: Tensor) -> int:
        """Mark a tensor's storage as kept for the backward pass; returns its bytes, 0 if it was already kept."""
        if not tensor.is_meta or (key := self.meet(tensor)) in self.kept:
            return 0
        self.kept.add(key)
        return self.sizes[key]
