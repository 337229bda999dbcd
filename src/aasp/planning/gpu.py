"""Simulation of a GPU with meta tensors, including its autocast and fused attention.

Tensors on torch's meta device have shapes and types only. In this mode they report "cuda" as their device, so that
modules take their GPU branches; the mode also applies the GPU's autocast, which torch does not do on meta.
Source: autocast's list of CUDA operations; for fused attention, the FLOPs and saved tensors of FlashAttention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isfunction
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU, PLACES = torch.device("cuda"), (torch.device, str)
HALF_OR_SINGLE = (torch.float16, torch.bfloat16, torch.float32)
OWN_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
AUTOCAST = {
    torch.bfloat16: "linear matmul __matmul__ __rmatmul__ mm bmm mv addmm addmv addr addbmm baddbmm chain_matmul "
    "multi_dot bilinear prelu conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d einsum lstm gru "
    "lstm_cell gru_cell scaled_dot_product_attention",
    torch.float32: "__pow__ __rpow__ __rdiv__ __rtruediv__ acos asin binary_cross_entropy_with_logits cdist cosh "
    "cosine_embedding_loss cosine_similarity cross_entropy cumprod cumsum dist erfinv exp expm1 group_norm "
    "hinge_embedding_loss kl_div l1_loss layer_norm log log10 log1p log2 log_softmax margin_ranking_loss mse_loss "
    "multi_margin_loss multilabel_margin_loss nll_loss norm normalize pdist poisson_nll_loss pow prod reciprocal "
    "renorm rsqrt sinh smooth_l1_loss soft_margin_loss softmax softmin softplus sum tan triplet_margin_loss",
}
PRECISION = {name: dtype for dtype, names in AUTOCAST.items() for name in names.split()}


class AsOnGpu(TorchFunctionMode):
    """Makes meta tensors behave like tensors on a GPU.

    Args:
        products: called with the FLOPs of attention, and whether in fp32; here no torch operation computes them.
        copied: called once with every bf16 copy of a weight that autocast makes.
        made: called with every output tensor of an operation.
    """

    def __init__(
        self,
        products: Callable[[int, bool], None],
        copied: Callable[[Tensor], None],
        made: Callable[[Tensor], None],
    ) -> None:
        super().__init__()
        self.products, self.copied, self.made = products, copied, made
        self.copies: dict[tuple[int, bool], Tensor] = {}
        self.opened: dict[Any, FunctionType] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU if args[0].is_meta else func(*args)
        if func is Tensor.pin_memory:
            return args[0]
        if func is Tensor.cuda:
            return args[0].to("meta")
        args = tuple(_on_meta(x) if isinstance(x, PLACES) else x for x in args)
        if isinstance(kwargs.get("device"), PLACES):
            kwargs = {**kwargs, "device": _on_meta(kwargs["device"])}
        precision = PRECISION.get(getattr(func, "__name__", ""))
        if precision is not None and torch.is_autocast_enabled("cuda"):
            args, kwargs = tree_map_only(Tensor, partial(self._cast, precision), (args, kwargs))
        if func is functional.scaled_dot_product_attention:
            out = _Attention.apply(self.products, *_operands(*args, **kwargs))
        else:
            out = self._called(func, args, kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.made(tensor)
        return out

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function in this mode also for its inner calls, if it is one of torch's in Python, such as multi-head
        attention, or a backward pass in Python."""
        if not isfunction(func) or func.__module__ not in (functional.__name__, torch.autograd.__name__):
            return func(*args, **kwargs)
        if func not in self.opened:
            seen = {**func.__globals__, **{name: lambda *_: False for name in OWN_CHECKS}}
            self.opened[func] = FunctionType(func.__code__, seen, func.__name__, func.__defaults__, func.__closure__)
            self.opened[func].__kwdefaults__ = func.__kwdefaults__
        with self:
            return self.opened[func](*args, **kwargs)

    def _cast(self, precision: torch.dtype, x: Tensor) -> Tensor:
        """Cast a tensor to that precision; for a weight, return the same copy each time, as autocast does."""
        if not x.is_meta or x.dtype not in HALF_OR_SINGLE or x.dtype == precision:
            return x
        if not isinstance(x, nn.Parameter):
            return x.to(precision)
        key = id(x), x.requires_grad and torch.is_grad_enabled()
        if key not in self.copies:
            self.copies[key] = x.to(precision)
            self.copied(self.copies[key])
        return self.copies[key]


def _on_meta(place: Any) -> Any:
    is_gpu = place.type == "cuda" if isinstance(place, torch.device) else place.partition(":")[0] == "cuda"
    return torch.device("meta") if is_gpu else place


def _operands(query: Tensor, key: Tensor, value: Tensor, *_: Any, **others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query, key, value


class _Attention(torch.autograd.Function):
    """Attention that saves the tensors of a fused kernel and counts products once; output laid out for a linear map."""

    @staticmethod
    def forward(ctx: Any, products: Callable[[int, bool], None], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.flops = 2 * q.shape[:-1].numel() * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        ctx.products = products
        products(ctx.flops, q.dtype == torch.float32)
        out = q.new_empty(*q.shape[:-3], q.shape[-2], q.shape[-3], v.shape[-1]).transpose(-3, -2)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, _ = ctx.saved_tensors
        ctx.products(2 * ctx.flops, q.dtype == torch.float32)
        return None, torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
