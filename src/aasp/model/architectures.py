"""Encoders for supervised training from random weights only: `aasp finetune NAME --scratch`."""

from __future__ import annotations

from collections.abc import Callable

from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.ast import ASTConfig


def ast_base() -> AudioEncoderConfig:
    """AST (Gong, Chung & Glass 2021): ViT-Base, kernels of 16 x 16 with a stride of 10, Kaldi's log-mel.

    Ours: fixed position embeddings, and a single class token, where AST learns the embeddings and averages two tokens.
    """
    return AudioEncoderConfig(stem=ASTConfig(), encoder=EncoderConfig(768, 12, 12), window_seconds=10.0, pooling="cls")


ARCHITECTURES: dict[str, Callable[[], AudioEncoderConfig]] = {"ast_base": ast_base}
