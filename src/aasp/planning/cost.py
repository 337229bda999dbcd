"""What layers cost: FLOPs forward and backward, parameters, and bytes that they keep for the backward pass.

A multiply-add is 2 FLOPs, as in torch.utils.flop_counter. Only matrix products and attention count as FLOPs; a bias, a
norm or a GELU costs none. Bytes kept are those of bf16 autocast with fused attention: what enters a linear layer or a
GELU in bf16, what enters a norm in fp32.
Source: ours, after what autograd does; tested against torch's counter and against the tensors that autograd saves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Of a layer, or of several together: costs add up, and `3 * cost` is that of three such layers.

    Attributes:
        forward: FLOPs of the forward pass.
        backward: FLOPs of the backward pass.
        parameters: numbers that are trained.
        kept: bytes kept from the forward to the backward pass.
        elementwise: FLOPs of the forward pass that are no matrix products, and in no other figure: the SBLU's taps,
            the front end's FFT.
    """

    forward: int = 0
    backward: int = 0
    parameters: int = 0
    kept: int = 0
    elementwise: int = 0

    @property
    def flops(self) -> int:
        """Of matrix products and attention, forward and backward."""
        return self.forward + self.backward

    def inference(self) -> Cost:
        """The same layers without a backward pass."""
        return Cost(self.forward, parameters=self.parameters, elementwise=self.elementwise)

    def reused(self) -> Cost:
        """The same layers once more, on other tokens: with the parameters that are there."""
        return Cost(self.forward, self.backward, 0, self.kept, self.elementwise)

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __rmul__(self, times: int) -> Cost:
        return Cost(*(times * value for value in vars(self).values()))


def product(rows: int, inner: int, columns: int) -> Cost:
    """A product of two matrices that both want a gradient."""
    flops = 2 * rows * inner * columns
    return Cost(flops, 2 * flops)


def linear(rows: int, inputs: int, outputs: int, *, bias: bool = True, gradient: bool = True) -> Cost:
    """A linear layer on `rows` vectors.

    Args:
        rows: vectors.
        inputs: their width.
        outputs: width of the output.
        bias: whether it has one.
        gradient: whether autograd wants the input's gradient, besides the weight's: not that of a spectrogram.
    """
    flops = 2 * rows * inputs * outputs
    parameters = (inputs + bias) * outputs
    return Cost(flops, (1 + gradient) * flops, parameters, kept=2 * rows * inputs)


def norm(rows: int, width: int) -> Cost:
    """A layer norm with scale and shift."""
    return Cost(parameters=2 * width, kept=4 * rows * width)


def gelu(rows: int, width: int) -> Cost:
    """Its input is kept."""
    return Cost(kept=2 * rows * width)


def attention(sequences: int, queries: int, keys: int, width: int) -> Cost:
    """Scores, and the values weighted by them, all heads together; queries, keys and values are kept."""
    flops = 2 * sequences * queries * keys * width
    return Cost(2 * flops, 4 * flops, kept=2 * sequences * (queries + 2 * keys) * width)
