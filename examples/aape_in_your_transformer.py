"""AaPE in place of the patch convolution of any transformer, independent of this library.

Both stems learn to classify how fast noise is modulated (5 to 40 times a second, all above what 160 ms patches can
represent without aliasing) from the same clips; the script prints the accuracy of each on new clips.

    python examples/aape_in_your_transformer.py         # about a minute
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

import aasp
from aasp.audio.signals import am_noise

RATES = (5.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0)
WIDTH = 64


class Convolution(nn.Module):
    """The usual stem."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, WIDTH, kernel_size=16, stride=16)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return self.convolution(mel[:, None]).flatten(2).transpose(1, 2)


class Classifier(nn.Module):
    """A small transformer on the tokens of a stem."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.position = nn.Parameter(0.02 * torch.randn(48, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, len(RATES))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.stem(mel) + self.position).mean(1))


def clips(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mels of one second (count, 96, 128), and the index of each clip's rate."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(RATES), size=count)
    waves = [am_noise(1.0, rate=RATES[k], depth=0.3, phase=rng.uniform(0, 2 * np.pi), rng=rng) for k in labels]
    mel, _ = aasp.LogMel()(torch.from_numpy(0.3 * np.stack(waves)))
    return mel[:, :96], torch.from_numpy(labels)


def accuracy_of(stem: nn.Module, steps: int) -> float:
    """Train on 1,000 clips, score on 500 others."""
    torch.manual_seed(0)
    mel, labels = clips(1000, seed=1)
    model = Classifier(stem)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = torch.randint(len(mel), (32,))
        loss = nn.functional.cross_entropy(model(mel[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mel, labels = clips(500, seed=2)
    with torch.no_grad():
        return (model(mel).argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    torch.manual_seed(0)
    for name, stem in (("convolution", Convolution()), ("AaPE", aasp.AaPE(WIDTH, mels=128))):
        print(f"{name:12} {100 * accuracy_of(stem, steps):.1f} % (chance {100 / len(RATES):.1f} %)")
