"""Checkpoints of EAT's, Audio-MAE's and M2D's layout with random weights, and the outputs of their papers' networks.

Written from the papers and the published layouts, names and shapes of tensors, and not from `aasp.convert`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

WIDTH, DEPTH, HEADS, HIDDEN = 24, 2, 3, 48


@dataclass(frozen=True)
class Layout:
    """Where a layout keeps its tensors, and which way its images (height, width) lie.

    `turned`: positions are those of the transposed grid, in its own order, as Audio-MAE's code computes them.
    """

    image: tuple[int, int]
    kernel: tuple[int, int] = (16, 16)
    post: bool = False
    first: str = "cls_token"
    positions: str = "pos_embed"
    patch: str = "patch_embed.proj"
    norm: str = "norm"
    spare: tuple[str, ...] = ()
    turned: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        return self.image[0] // self.kernel[0], self.image[1] // self.kernel[1]


OWN = "modality_encoders.IMAGE."
EAT = Layout(
    (96, 128), post=True, first=f"{OWN}extra_tokens", positions=f"{OWN}fixed_positional_encoder.positions",
    patch=f"{OWN}local_encoder.proj", norm=f"{OWN}context_encoder.norm",
    spare=(f"{OWN}decoder.blocks.0.0.weight", f"{OWN}decoder.proj.weight"),
)  # fmt: skip
AUDIO_MAE = Layout(
    (96, 128), spare=("mask_token", "decoder_embed.weight", "decoder_blocks.0.norm1.weight"), turned=True
)  # fmt: skip
M2D = Layout((80, 96), spare=("mask_token", "decoder_embed.weight"))
M2D_FINE = Layout((80, 24), kernel=(16, 4))


def sines(grid: tuple[int, int]) -> Tensor:
    """MAE's fixed positions of an image's patches: the first half of the channels is for the column, (N, D)."""
    rate = 10_000.0 ** (-np.arange(WIDTH // 4) / (WIDTH / 4))
    rows = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            parts = [part for at in (column, row) for part in (np.sin(at * rate), np.cos(at * rate))]
            rows.append(np.concatenate(parts))
    return torch.from_numpy(np.array(rows)).float()


def checkpoint(layout: Layout, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    rand = lambda *shape: 0.3 * torch.randn(*shape, generator=draw)
    patches = sines(layout.grid[::-1] if layout.turned else layout.grid)
    with_class = [] if layout.post else [torch.zeros(1, WIDTH)]
    held = {
        layout.first: rand(1, 1, WIDTH),
        layout.positions: torch.cat([*with_class, patches])[None],
        f"{layout.patch}.weight": rand(WIDTH, 1, *layout.kernel) / 4,
        f"{layout.patch}.bias": rand(WIDTH),
    }
    layers = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH), "mlp.fc1": (HIDDEN, WIDTH)}
    layers |= {"mlp.fc2": (WIDTH, HIDDEN)}
    norms = [layout.norm] + [f"blocks.{n}.norm{i}" for n in range(DEPTH) for i in (1, 2)]
    held |= {f"{name}.weight": 1 + rand(WIDTH) for name in norms} | {f"{name}.bias": rand(WIDTH) for name in norms}
    for n in range(DEPTH):
        for name, shape in layers.items():
            held |= {f"blocks.{n}.{name}.weight": rand(*shape), f"blocks.{n}.{name}.bias": rand(shape[0])}
    return held | {name: rand(1, 1, 8) for name in layout.spare}


def forward(layout: Layout, p: dict[str, Tensor], image_BHW: Tensor) -> Tensor:
    """Class token and patch tokens, (B, 1 + N, D), N in the order of the image's rows."""
    x = functional.conv2d(image_BHW[:, None], p[f"{layout.patch}.weight"], p[f"{layout.patch}.bias"], layout.kernel)
    x = x.flatten(2).transpose(1, 2)
    at, first = p[layout.positions], p[layout.first]
    if not layout.post:
        at, first = at[:, 1:], first + at[:, :1]
    x = torch.cat([first.expand(len(x), -1, -1), x + at], dim=1)
    norm = lambda name, x: functional.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)
    linear = lambda name, x: x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
    if layout.post:
        x = norm(layout.norm, x)
    for n in range(DEPTH):
        own = f"blocks.{n}."

        def attention(x: Tensor, own: str = own) -> Tensor:
            heads = []
            q, k, v = linear(f"{own}attn.qkv", x).chunk(3, dim=-1)
            for part in range(HEADS):
                here = slice(part * WIDTH // HEADS, (part + 1) * WIDTH // HEADS)
                scores = q[..., here] @ k[..., here].transpose(1, 2) / (WIDTH / HEADS) ** 0.5
                heads.append(scores.softmax(-1) @ v[..., here])
            return linear(f"{own}attn.proj", torch.cat(heads, dim=-1))

        mlp = lambda x, own=own: linear(f"{own}mlp.fc2", functional.gelu(linear(f"{own}mlp.fc1", x)))
        if layout.post:
            x = norm(f"{own}norm1", x + attention(x))
            x = norm(f"{own}norm2", x + mlp(x))
        else:
            x = x + attention(norm(f"{own}norm1", x))
            x = x + mlp(norm(f"{own}norm2", x))
    return x if layout.post else norm(layout.norm, x)
