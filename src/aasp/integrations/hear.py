"""HEAR's interface: `load_model`, `get_scene_embeddings`, `get_timestamp_embeddings`.

    hear-validator aasp.integrations.hear -m runs/tiny
    python -m heareval.embeddings.runner aasp.integrations.hear --model runs/tiny --tasks-dir hear-tasks

Legend: B clips, S samples, G time patches, D and D' widths. Source: HEAR 2021 (Turian et al. 2022), its common API.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aasp.audio.io import resampled
from aasp.errors import AaspError
from aasp.features.waves import as_waves
from aasp.integrations.opened import opened, patch_ms, widths
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embeddings

RATES = (16_000, 22_050, 44_100, 48_000)
"""Sampling rates of HEAR's clips."""


class HearModel(nn.Module):
    """A model with HEAR's interface.

    Attributes:
        encoder: the model.
        sample_rate: of HEAR's waveforms: the model's rate or, if HEAR does not have it, the next higher one, from which
            they are resampled.
        scene_embedding_size: width D' of the model's default clip vector.
        timestamp_embedding_size: width D of a vector over time.
        hop_ms: milliseconds from one vector to the next.

    Args:
        encoder: the model.

    Raises:
        AaspError: HEAR has no clips at the model's rate or above.
    """

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        rate = encoder.config.frontend.rate
        enough = [one for one in RATES if one >= rate]
        if not enough:
            text = f"the model takes waveforms of {rate} Hz, and HEAR has them up to {RATES[-1]}"
            raise AaspError(f"{text}; evaluate a model of a lower rate")
        self.encoder = encoder
        self.sample_rate: int = enough[0]
        sizes = widths(encoder)
        self.scene_embedding_size, self.timestamp_embedding_size = sizes.clip, sizes.timestamp
        self.hop_ms = patch_ms(encoder)

    def forward(self, audio: Tensor) -> Embeddings:
        """The encoder's output for waveforms (B, S) at `sample_rate`.

        Raises:
            AaspError: as `AudioEncoder` does.
        """
        wave_BS, rate = as_waves(audio), self.encoder.config.frontend.rate
        if rate != self.sample_rate:
            clips = wave_BS.detach().float().cpu().numpy()
            found = [resampled(clip, self.sample_rate, rate, f"clip {i}") for i, clip in enumerate(clips)]
            wave_BS = torch.from_numpy(np.stack(found)).to(wave_BS.device)
        with torch.no_grad():
            return self.encoder(wave_BS)


def load_model(model_file_path: str | Path = "") -> HearModel:
    """Load a model.

    Args:
        model_file_path: a model folder or a run, or a model on the hub; if omitted, the value of AASP_MODEL.

    Raises:
        AaspError: no model is given, it can't be loaded, or HEAR has no clips at its rate.
    """
    return HearModel(opened(model_file_path))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One vector per clip, float32, shape (B, D'): the model's default vector.

    Args:
        audio: waveforms in -1..1 at `model.sample_rate`, shape (B, S).
        model: the result of `load_model`.

    Raises:
        AaspError: as `AudioEncoder` does.
    """
    return model(audio).clip.float()


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Vectors over time, float32, shape (B, G, D), and the milliseconds of their centres, float32, (B, G).

    HEAR needs these evenly spaced and inside the clip. The centre of an incomplete last time patch can be beyond the
    end: that patch is dropped or, if it is the only one, its centre is moved to the end.

    Args:
        audio, model: as in `get_scene_embeddings`.

    Raises:
        AaspError: as `AudioEncoder` does.
    """
    found = model(audio)
    end_ms = 1000 * audio.shape[1] / model.sample_rate
    centres_G = (torch.arange(found.timestamps.shape[1], dtype=torch.float64) + 0.5) * model.hop_ms
    inside = max(1, int((centres_G <= end_ms).sum()))
    centres_G = centres_G[:inside].clamp_max(end_ms).float()
    return found.timestamps[:, :inside].float(), centres_G.to(audio.device).expand(len(audio), -1).contiguous()
