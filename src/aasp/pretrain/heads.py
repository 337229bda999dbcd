"""Heads: what stands between a token and a loss.

Source: SimCLR's projector; layer norm instead of batch norm, so that a clip's embedding needs no others (ours). DINO's
prototype head, as MATPAC has it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def projector(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with layer norm and GELU between them: (..., `width`) to (..., `outputs`)."""
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, outputs)
    )


class PrototypeHead(nn.Module):
    """Three linear layers, then cosines to prototypes: (..., `width`) to (..., `prototypes`), each in -1 to 1.

    DINO's weight norm, whose gains stay 1 here, is a unit length of each prototype.

    Args:
        width: of a token.
        hidden: of the two hidden layers.
        bottleneck: of the vector that is compared.
        prototypes: their number K.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        layers = [nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, bottleneck)]
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.mlp = nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2])
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        unit = functional.normalize(self.mlp(tokens).float(), dim=-1)
        return functional.linear(unit, functional.normalize(self.prototypes.weight, dim=-1))
