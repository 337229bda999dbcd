"""X-ARES's encoder.

    AASP_MODEL=runs/tiny python -m xares.run aasp/integrations/xares.py src/tasks/esc50_task.py

X-ARES uses the only name in this module that ends in Encoder: there must be no other.

Legend: B clips, S samples, G time patches, D width. Source: X-ARES (Zhang et al. 2025), its `check_audio_encoder`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aasp.integrations.opened import opened, patch_ms, widths

if TYPE_CHECKING:
    from aasp.model.audio_encoder import AudioEncoder


class AaspEncoder(nn.Module):
    """A model with X-ARES's interface.

    Attributes:
        sampling_rate: of its input waveforms, in Hz.
        output_dim: width D of a vector over time.
        hop_size_in_ms: milliseconds from one vector to the next.

    Args:
        model: an encoder, a model folder or a run, or a model on the hub; if omitted, the value of AASP_MODEL.

    Raises:
        AaspError: no model is given, or it can't be loaded.
    """

    def __init__(self, model: AudioEncoder | str | Path | None = None) -> None:
        super().__init__()
        self.encoder = opened(model)
        self.sampling_rate = self.encoder.config.frontend.rate
        self.output_dim = widths(self.encoder).timestamp
        self.hop_size_in_ms = patch_ms(self.encoder)

    def forward(self, audio: Tensor) -> Tensor:
        """Vectors over time, float32, shape (B, G, D), subbands concatenated.

        X-ARES pads the clips of a batch with zeros and does not pass their lengths: the zeros are processed as silence.

        Args:
            audio: waveforms, shape (B, S), or one, shape (S,).

        Raises:
            AaspError: as `AudioEncoder` does.
        """
        wave = audio[None] if isinstance(audio, Tensor) and audio.ndim == 1 else audio
        with torch.no_grad():
            return self.encoder(wave).timestamps.float()
