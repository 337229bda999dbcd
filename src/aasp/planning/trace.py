"""Run a module without numbers, as on a GPU, and count what it does and what it keeps, by the parts that do it.

Tensors of the device are of torch's meta device: shapes and types without values. What the host draws, such as masks,
is drawn. While a module runs they say that they are on "cuda", so that it takes its GPU's branches, and autocast's
rules are applied to them, which torch itself does not do on meta. Attention is counted as the fused kernel keeps it.
A multiply-add is 2 FLOPs. Source: torch.utils.flop_counter, saved-tensor hooks, autocast's list of CUDA operations.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isfunction
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

Module = TypeVar("Module", bound=nn.Module)

GPU = torch.device("cuda")
HALF = frozenset(
    "linear matmul __matmul__ __rmatmul__ mm bmm mv addmm addmv addr addbmm baddbmm chain_matmul multi_dot bilinear prelu "
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d einsum lstm gru lstm_cell gru_cell "
    "scaled_dot_product_attention multi_head_attention_forward".split()
)
FULL = frozenset(
    "__pow__ __rpow__ __rdiv__ __rtruediv__ acos asin binary_cross_entropy_with_logits cdist cosh cosine_embedding_loss "
    "cosine_similarity cross_entropy cumprod cumsum dist erfinv exp expm1 group_norm hinge_embedding_loss kl_div l1_loss "
    "layer_norm log log10 log1p log2 log_softmax margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss "
    "nll_loss norm normalize pdist poisson_nll_loss pow prod reciprocal renorm rsqrt sinh smooth_l1_loss "
    "soft_margin_loss softmax softmin softplus sum tan triplet_margin_loss".split()
)


@dataclass
class Cost:
    """Of a part, or of several together.

    Attributes:
        forward: FLOPs of matrix products, convolutions and attention, forward.
        backward: the same, backward.
        single: of both, those in fp32.
        kept: bytes kept from the forward to the backward pass, weights apart.
        elementwise: FLOPs of the forward pass that are in no other figure: one for each number that a pointwise
            operation writes, and 2.5 n log2 n for a Fourier transform of n real numbers.
    """

    forward: int = 0
    backward: int = 0
    single: int = 0
    kept: int = 0
    elementwise: int = 0

    @property
    def flops(self) -> int:
        """Of matrix products, convolutions and attention, forward and backward."""
        return self.forward + self.backward

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __rmul__(self, times: int) -> Cost:
        return Cost(*(times * value for value in vars(self).values()))


@dataclass(frozen=True)
class Trace:
    """What a module did.

    Attributes:
        costs: by part, in the order of the parts; "" is what none of them does.
        peak: bytes that are held at most at one time, weights, their copies in bf16 and their gradients apart.
    """

    costs: dict[str, Cost]
    peak: int

    @property
    def total(self) -> Cost:
        """Of all parts."""
        return sum(self.costs.values(), Cost())


def on_meta(build: Callable[[], Module]) -> Module:
    """A module on the meta device: made there, or, where its making looks at values, made in full and moved."""
    try:
        with torch.device("meta"):
            module = build()
    except (NotImplementedError, RuntimeError):
        module = build()
    return module.to("meta")


def traced(root: nn.Module, parts: Mapping[str, nn.Module], run: Callable[[], Tensor | None]) -> Trace:
    """Run a module that is on the meta device, and count.

    Args:
        root: the module.
        parts: modules inside it, by name. Work belongs to the innermost part whose method does it, and its backward
            pass to the same.
        run: calls `root`; the loss that it returns, if any, is taken backward.
    """
    memory = _Memory(root)
    counter = _Counter(memory, {"": Cost(), **{name: Cost() for name in parts}})
    function = _AsOnGpu(counter, memory)

    def keep(tensor: Tensor) -> Tensor:
        counter.costs[counter.part].kept += memory.keep(tensor)
        return tensor

    with ExitStack() as stack, torch.random.fork_rng(devices=[]):
        for name, module in parts.items():
            stack.enter_context(_entered(module, partial(counter.inside, name)))
        with counter, function, saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = run()
        if loss is not None:
            function.finish(loss)
            with counter:
                loss.backward()
    return Trace(counter.costs, memory.peak)


class _Memory:
    """The storages on the device, each counted once while it is held; a weight's do not count."""

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
        """Count a tensor's storage from when it is first met until it is freed; its id among the storages."""
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
        """Of a weight, or of its copy in bf16."""
        self.held -= self.sizes[key := self.meet(tensor, False)]
        self.sizes[key] = 0

    def keep(self, tensor: Tensor) -> int:
        """Bytes that are kept because of a tensor, and were not yet."""
        if not tensor.is_meta or (key := self.meet(tensor)) in self.kept:
            return 0
        self.kept.add(key)
        return self.sizes[key]


@contextmanager
def _entered(module: nn.Module, inside: Callable[[], Any]) -> Iterator[None]:
    """Let every method that a module's own classes define run inside a context: `forward`, and others that are called."""
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
    """Adds up the cost of every operation for the part that is at work."""

    def __init__(self, memory: _Memory, costs: dict[str, Cost]) -> None:
        super().__init__()
        self.memory, self.costs, self.part, self.backward = memory, costs, "", False

    def add(self, flops: int, single: bool) -> None:
        """FLOPs of products."""
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
            with self:  # of what other operations make up, those are counted
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
    """As many products for each gradient as forward. torch's own formula takes the weight's for one of no groups."""
    places = math.prod((x if transposed else gradient).shape[2:]) * len(x)
    return 2 * places * w.numel() * sum(mask[:2])


FORMULAS = {**flop_registry, torch.ops.aten.convolution_backward: _convolution_backward}


class _AsOnGpu(TorchFunctionMode):
    """Lets meta tensors pass for a GPU's under autocast, and remembers whose each step of the backward pass is."""

    def __init__(self, counter: _Counter, memory: _Memory) -> None:
        super().__init__()
        self.counter, self.memory = counter, memory
        self.nodes: set[Any] = set()
        self.copies: dict[tuple[int, bool], Tensor] = {}

    def __enter__(self) -> Any:
        self.before = torch.is_autocast_enabled("cuda")
        torch.set_autocast_enabled("cuda", True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_autocast_enabled("cuda", self.before)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return GPU if args[0].is_meta else func(*args)
        if func in (Tensor.pin_memory, Tensor.is_pinned):
            return args[0] if func is Tensor.pin_memory else True
        if func is Tensor.cuda:
            return args[0].to("meta")
        args, kwargs = tree_map_only((torch.device, str), _on_meta, (args, kwargs))
        name = getattr(func, "__name__", "")
        if name in HALF and torch.is_autocast_enabled("cuda"):
            args, kwargs = tree_map_only(Tensor, self._halved, (args, kwargs))
        elif name in FULL and torch.is_autocast_enabled("cuda"):
            args, kwargs = tree_map_only(Tensor, _widened, (args, kwargs))
        if func is functional.scaled_dot_product_attention:
            out = _Attention.apply(self.counter, *_operands(*args, **kwargs))
        else:
            out = func(*args, **kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.claim(tensor.grad_fn)
        return out

    def _halved(self, x: Tensor) -> Tensor:
        """In bf16; of a weight, as autocast does, the same copy every time."""
        if not x.is_meta or x.dtype != torch.float32:
            return x
        if not isinstance(x, nn.Parameter):
            return x.bfloat16()
        key = id(x), x.requires_grad and torch.is_grad_enabled()
        if key not in self.copies:
            self.copies[key] = x.bfloat16()
            self.memory.exempt(self.copies[key])
            self.claim(self.copies[key].grad_fn)
        return self.copies[key]

    def claim(self, node: Any) -> None:
        """What of a graph belongs to no part yet belongs to the one at work: say so when the node's turn comes."""
        new = [node]
        while new:
            node = new.pop()
            if node is not None and node not in self.nodes:
                self.nodes.add(node)
                node.register_prehook(partial(self._turn, self.counter.part))
                new += [before for before, _ in node.next_functions]

    def _turn(self, part: str, gradients: Any) -> None:
        self.counter.part = part

    def finish(self, loss: Tensor) -> None:
        """Claim the rest, and count backward from now on."""
        self.claim(loss.grad_fn)
        self.counter.backward = True


def _on_meta(place: Any) -> Any:
    is_gpu = place.type == "cuda" if isinstance(place, torch.device) else place.partition(":")[0] == "cuda"
    return torch.device("meta") if is_gpu else place


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.is_meta and x.is_floating_point() and x.dtype != torch.float64 else x


def _operands(query: Tensor, key: Tensor, value: Tensor, *_: Any, **others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query, key, value


class _Attention(torch.autograd.Function):
    """Attention as a fused kernel keeps it, every product counted once; the output lies as a linear layer reads it."""

    @staticmethod
    def forward(ctx: Any, counter: _Counter, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.flops = 2 * q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        ctx.counter, single = counter, q.dtype == torch.float32
        counter.add(ctx.flops, single)
        out = q.new_empty(*q.shape[:-3], q.shape[-2], q.shape[-3], v.shape[-1]).transpose(-3, -2)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, _ = ctx.saved_tensors
        ctx.counter.add(2 * ctx.flops, q.dtype == torch.float32)
        return None, *(torch.empty_like(x) for x in (q, k, v))
