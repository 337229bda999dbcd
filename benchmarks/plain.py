"""The same pre-training step, written plainly: a good first implementation in eager PyTorch.

timm-like blocks, F.scaled_dot_product_attention everywhere, a strided Conv2d, the SBLU by its literal complex
formula, views by repeating the tokens and gathering, every hidden patch decoded, AdamW with defaults, and the teacher
averaged in a Python loop. Front end, masks and losses are the library's: they are the same work in both. The sizes and
options covered are those of `aasp_base`, and of `aasp_tiny` except for what `step.py` removes.

Legend: B clips, V views, N patches, D width, S states, K taps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.config import with_fields
from aasp.features.logmel import LogMel
from aasp.model.positions import sincos_positions
from aasp.pretrain.losses.contrastive import contrastive_loss
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.utterance import utterance_loss
from aasp.pretrain.masking import draw_masks
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.run import schedules_of
from aasp.pretrain.targets import standardise
from aasp.stems.lambda_encoder import alpha_and_beta
from aasp.training import engine
from aasp.training.precision import Precision, autocast
from steps import synthetic_batch


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        clips, tokens, width = x.shape
        qkv = self.qkv(x).reshape(clips, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(clips, tokens, width))


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        clips, tokens, width = x.shape
        q = self.q(x).reshape(clips, tokens, self.heads, width // self.heads).permute(0, 2, 1, 3)
        kv = self.kv(y).reshape(clips, y.shape[1], 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = functional.scaled_dot_product_attention(q, kv[0], kv[1])
        return self.proj(x.transpose(1, 2).reshape(clips, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.fc1, self.act = nn.Linear(width, int(width * ratio)), nn.GELU()
        self.fc2 = nn.Linear(int(width * ratio), width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, pre: bool, ratio: float = 4.0) -> None:
        super().__init__()
        self.pre = pre
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, ratio)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.pre:
            x = x + self.attn(self.norm1(x))
            ffn = self.mlp(self.norm2(x))
            return x + ffn, ffn
        x = self.norm1(x + self.attn(x))
        ffn = self.mlp(x)
        return self.norm2(x + ffn), ffn


class PlainStem(nn.Module):
    """AaPE at K = P taps, conjugate phase, two-sided window, unit gain, by complex arithmetic."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        width, c = recipe.model.encoder.width, recipe.model.stem
        self.config, self.bands = c, recipe.model.frontend.mels // c.patch[1]
        (frames, rows), inner = c.patch, c.encoder_width
        self.conv = nn.Conv2d(1, width, c.patch, stride=c.patch)
        self.b = nn.Linear(rows, c.states, bias=False)
        self.embed = nn.Linear(rows * c.frames_per_token, inner)
        self.position = nn.Parameter(torch.randn(frames // c.frames_per_token, inner))
        self.subband = nn.Parameter(torch.randn(self.bands, 1, inner))
        self.layers = nn.ModuleList(Block(inner, c.encoder_heads, True, 2.0) for _ in range(c.encoder_depth))
        self.inner_norm, self.head = nn.LayerNorm(inner), nn.Linear(inner, 2 * c.states)
        self.c, self.norm, self.fuse = nn.Linear(3 * c.states, width), nn.LayerNorm(width), nn.Linear(2 * width, width)

    def forward(self, mel_BTM: Tensor) -> Tensor:
        c = self.config
        (frames, rows), clips = c.patch, len(mel_BTM)
        mel_BTM = functional.pad(mel_BTM, (0, 0, 0, -mel_BTM.shape[1] % frames))
        tokens = self.conv(mel_BTM[:, None]).flatten(2)  # (B, D, G * F), time-major
        patches = mel_BTM.reshape(clips, -1, frames, self.bands, rows).transpose(2, 3)  # (B, G, F, P, R)
        x = patches.reshape(*patches.shape[:3], frames // c.frames_per_token, -1)
        x = self.embed(x) + self.position + self.subband
        shape, x = x.shape, x.flatten(0, 2)
        for layer in self.layers:
            x, _ = layer(x)
        logits = self.head(self.inner_norm(x.mean(1))).reshape(*shape[:3], 2, -1)
        alpha, beta = alpha_and_beta(logits, frames)
        with torch.autocast(mel_BTM.device.type, enabled=False):
            v = self.b(patches.float()).transpose(3, 4)
            v = v - v.mean(-1, keepdim=True)  # (B, G, F, S, K)
            m = torch.arange(frames, device=v.device) - (frames - 1) / 2
            rate = torch.complex(alpha, beta)[..., None]
            kernel = 2 / rate * torch.sinh(rate / 2) * torch.exp(-rate * m.abs())
            kernel = torch.where(m < 0, kernel.conj(), kernel)
            kernel = kernel / kernel.abs().square().sum(-1, keepdim=True).sqrt()
            y = (kernel * v).sum(-1)
            y = torch.cat([y.real, y.imag, 0.5 * torch.log(y.abs().square() + 1e-6)], dim=-1)
        features = self.norm(self.c(y)).flatten(1, 2)
        return self.fuse(torch.cat([tokens.transpose(1, 2), features], dim=-1))


class PlainModel(nn.Module):
    """Stem and encoder."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        c = recipe.model.encoder
        self.pre = c.norm == "pre"
        self.stem = PlainStem(recipe)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, c.width))
        self.blocks = nn.ModuleList(Block(c.width, c.heads, self.pre) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, eps=1e-6)

    def encode(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], dim=1)
        x, outputs = x if self.pre else self.norm(x), []
        for block in self.blocks:
            x, ffn = block(x)
            outputs.append(ffn)
        return self.norm(x) if self.pre else x, outputs


class PlainObjective(nn.Module):
    """Student, teacher, predictor, losses."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.frontend = LogMel(recipe.model.frontend)
        assert isinstance(recipe.method, AaSPConfig)
        self.method = recipe.method
        width, p = recipe.model.encoder.width, recipe.method.predictor
        self.student = PlainModel(recipe)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.mask_token, self.context = nn.Parameter(0.02 * torch.randn(p.width)), nn.Linear(width, p.width)
        self.norms = nn.ModuleList(nn.LayerNorm(p.width, eps=1e-6) for _ in range(2 * p.depth + 1))
        self.cross = nn.ModuleList(CrossAttention(p.width, p.heads) for _ in range(p.depth))
        self.mlps = nn.ModuleList(Mlp(p.width) for _ in range(p.depth))
        self.head = nn.Linear(p.width, width)
        hidden, out = recipe.method.losses.projector
        self.projector = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, out)
        )

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        recipe, method, width = self.recipe, self.method, self.recipe.model.encoder.width
        with torch.no_grad():
            mel_BTM, frames_B = self.frontend(batch["wave"], batch["length"])
        patch = recipe.model.stem.patch
        grid = math.ceil(mel_BTM.shape[1] / patch[0]), recipe.model.frontend.mels // patch[1]
        masks = draw_masks(method.masking, grid, -(-frames_B // patch[0])).to(mel_BTM.device)
        clips, views, _ = masks.visible.shape
        positions = sincos_positions(grid, width, mel_BTM.device)

        with torch.no_grad():
            _, outputs = self.teacher.encode(self.teacher.stem(mel_BTM) + positions)
            layers = [x[:, 1:].float() for x in outputs[-method.teacher.layers :]]
            normed = [functional.instance_norm(x.transpose(1, 2)).transpose(1, 2) for x in layers]
            target = functional.layer_norm(torch.stack(normed).mean(0), (width,))
            summary = standardise(functional.layer_norm(torch.stack(layers).mean(0).mean(1), (width,)))

        pick = lambda x, index: x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
        visible, hidden = masks.visible.flatten(0, 1), masks.hidden.flatten(0, 1)
        tokens = self.student.stem(mel_BTM) + positions
        x, _ = self.student.encode(pick(tokens.repeat_interleave(views, 0), visible))
        cls = x[:, 0].unflatten(0, (clips, views))

        queries = sincos_positions(grid, method.predictor.width, mel_BTM.device)[hidden] + self.mask_token
        context = self.context(x)
        for i, (cross, mlp) in enumerate(zip(self.cross, self.mlps, strict=True)):
            queries = queries + cross(self.norms[2 * i](queries), context)
            queries = queries + mlp(self.norms[2 * i + 1](queries))
        predicted = self.head(self.norms[-1](queries)).unflatten(0, (clips, views))

        wanted = pick(target.repeat_interleave(views, 0), hidden).unflatten(0, (clips, views))
        weights = method.losses
        return (
            weights.frame * frame_loss(predicted, wanted, masks.hidden_valid)
            + weights.utterance * utterance_loss(cls, summary)
            + weights.contrastive * contrastive_loss(self.projector(cls), weights.temperature)
        )

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        for ours, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            ours.data.mul_(momentum).add_(theirs.data, alpha=1 - momentum)


def plain_step(
    recipe: Recipe, precision: Precision, device: torch.device, every_query: bool = True
) -> Callable[[], Tensor]:
    """A function that takes one step and returns its loss.

    Args:
        recipe: the sizes.
        precision: of the forward pass.
        device: the device.
        every_query: decode every hidden patch instead of the recipe's share.
    """
    if every_query:
        recipe = with_fields(recipe, {"masking.predicted": 1.0})
    torch.manual_seed(recipe.seed)
    objective, now = PlainObjective(recipe).to(device).train(), schedules_of(recipe).at(0)
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=recipe.optimizer.lr, betas=recipe.optimizer.betas)
    batch, context = engine.to_device(synthetic_batch(recipe), device), autocast(precision, device)

    def step() -> Tensor:
        with context:
            loss = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, recipe.optimizer.clip)
        optimizer.step()
        objective.update_teacher(now["momentum"])
        return loss.detach()

    return step
