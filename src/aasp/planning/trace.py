"""Run a module on meta tensors as on a GPU, and count its FLOPs and the memory it keeps, by part.

Tensors on the device have shapes and types but no values (see `gpu`); random draws on the host, such as masks, are
real. A multiply-add is 2 FLOPs. Source: torch.utils.flop_counter's formulas, hooks on saved tensors and on the nodes of
the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isfunction
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from aasp.errors import AaspError
from aasp.planning.gpu import AsOnGpu
from aasp.planning.memory import Memory

Module = TypeVar("Module", bound=nn.Module)


@dataclass
class Cost:
    """The cost of one part, or of several together.

    Attributes:
        forward: FLOPs of matrix products, convolutions and attention, forward.
        backward: the same, backward.
        single: those of `forward` and `backward` that are in fp32.
        kept: bytes kept from the forward to the backward pass, except weights.
        elementwise: FLOPs of the forward pass that are in no other figure: one per output value of a pointwise
            operation, and 2.5 n log2 n for a Fourier transform of n real numbers.
    """

    forward: int = 0
    backward: int = 0
    single: int = 0
    kept: int = 0
    elementwise: int = 0

    @property
    def flops(self) -> int:
        """FLOPs of matrix products, convolutions and attention, forward and backward."""
        return self.forward + self.backward

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __rmul__(self, times: int) -> Cost:
        return Cost(*(times * value for value in vars(self).values()))


@dataclass(frozen=True)
class Trace:
    """The result of tracing a module.

    Attributes:
        costs: costs by part, in the order of the parts; "" is the work outside all parts.
        peak: largest number of bytes held at one time, except weights, their bf16 copies and their gradients.
    """

    costs: dict[str, Cost]
    peak: int

    @property
    def total(self) -> Cost:
        """The cost of all parts."""
        return sum(self.costs.values(), Cost())


def on_meta(build: Callable[[], Module]) -> Module:
    """A module on the meta device: built there or, if its constructor reads values, built on the host and moved."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                module = build()
        except (NotImplementedError, RuntimeError):
            module = build()
    return module.to("meta")


def traced(root: nn.Module, parts: Mapping[str, nn.Module], run: Callable[[], Tensor | None]) -> Trace:
    """Run a module on the meta device under bf16 autocast, and count its cost.

    Args:
        root: the module.
        parts: modules inside it, by name. Work, including its backward pass, counts for the innermost part whose
            method does it.
        run: calls `root`; if it returns a loss, the backward pass is run too.

    Raises:
        AaspError: the module reads values on the device, where there are none.
    """
    memory = Memory(root)
    counter = _Counter(memory, {"": Cost(), **{name: Cost() for name in parts}})
    graph = _Graph(counter)

    def keep(tensor: Tensor) -> Tensor:
        counter.costs[counter.part].kept += memory.keep(tensor)
        return tensor

    def copied(weight: Tensor) -> None:
        memory.exempt(weight)
        graph.claim(weight.grad_fn)

    with ExitStack() as stack, torch.random.fork_rng(devices=[]):
        for name, module in parts.items():
            stack.enter_context(_entered(module, partial(counter.inside, name)))
        # A module that enters torch.autocast itself checks for a GPU.
        stack.enter_context(mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
        stack.enter_context(mock.patch("torch.cuda.is_bf16_supported", lambda *_: True))
        stack.enter_context(counter)
        stack.enter_context(AsOnGpu(counter.add, copied, lambda tensor: graph.claim(tensor.grad_fn)))
        try:
            with _autocast(), saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = run()
            if loss is not None:
                graph.claim(loss.grad_fn)
                counter.backward = True
                torch.autograd.backward(loss)
        except (NotImplementedError, RuntimeError) as error:
            if "meta" not in str(error):
                raise
            text = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
            raise AaspError(
                f"{type(root).__name__} can't be planned without data ({text}); let its step "
                'look at no values on the device: masks can be drawn on the host, where batch["length"] is'
            ) from None
    return Trace(counter.costs, memory.peak)


@contextmanager
def _autocast() -> Iterator[None]:
    """Enable autocast for "cuda", as in a step on a GPU."""
    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before)


@contextmanager
def _entered(module: nn.Module, inside: Callable[[], Any]) -> Iterator[None]:
    """Run `forward`, and all other methods that a module's own classes define, inside a context."""
    classes = type(module).__mro__[: type(module).__mro__.index(nn.Module)]
    names = {name for one in classes for name, value in vars(one).items() if isfunction(value)}
    names = {name for name in names if name == "forward" or not hasattr(nn.Module, name)}

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with inside():
                return method(*args, **kwargs)

        return call

    methods = {name: wrapped(getattr(module, name)) for name in names}
    vars(module).update(methods)
    try:
        yield
    finally:
        for name in methods:
            del vars(module)[name]


class _Counter(TorchDispatchMode):
    """Adds the cost of every operation to the current part."""

    def __init__(self, memory: Memory, costs: dict[str, Cost]) -> None:
        super().__init__()
        self.memory, self.costs, self.part, self.backward = memory, costs, "", False

    def add(self, flops: int, single: bool) -> None:
        """Add FLOPs of matrix products to the current part."""
        cost = self.costs[self.part]
        if self.backward:
            cost.backward += flops
        else:
            cost.forward += flops
        cost.single += flops * single

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        outer, self.part = self.part, part
        try:
            yield
        finally:
            self.part = outer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        formula = FORMULAS.get(packet)
        if formula is None and packet is not torch.ops.prim.device:
            with self:  # composite operations count as their components
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self.memory.meet(tensor)
        if formula is not None:
            self.add(formula(*args, **kwargs, out_val=out), args[0].dtype == torch.float32)
        elif not self.backward:
            self.costs[self.part].elementwise += _elementwise(func, packet, args, out)
        return out


def _elementwise(func: Any, packet: Any, args: Any, out: Any) -> int:
    if packet is torch.ops.aten._to_copy:
        return 0
    if packet is torch.ops.aten._fft_r2c:
        size = math.prod(args[0].shape[dim] for dim in args[1])
        return round(2.5 * size * math.log2(size)) * (args[0].numel() // size)
    pointwise = torch.Tag.pointwise in func.tags and isinstance(out, Tensor) and out.is_floating_point()
    return out.numel() if pointwise else 0


def _convolution_backward(
    gradient: Any, x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, mask: list[bool], out_val: Any = None,
) -> int:  # fmt: skip
    """Each gradient needs as many products as the forward pass. torch's formula ignores groups for the weight's."""
    places = math.prod((x if transposed else gradient).shape[2:]) * len(x)
    return 2 * places * w.numel() * sum(mask[:2])


FORMULAS = {**flop_registry, torch.ops.aten.convolution_backward: _convolution_backward}


class _Graph:
    """Assigns the nodes of the backward pass to parts."""

    def __init__(self, counter: _Counter) -> None:
        self.counter = counter
        self.nodes: set[Any] = set()

    def claim(self, node: Any) -> None:
        """Assign all unassigned nodes of a graph to the current part, which is restored when the node runs."""
        new = [node]
        while new:
            node = new.pop()
            if node is not None and node not in self.nodes:
                self.nodes.add(node)
                node.register_prehook(partial(self._turn, self.counter.part))
                new += [before for before, _ in node.next_functions]

    def _turn(self, part: str, gradients: Any) -> None:
        self.counter.part = part
