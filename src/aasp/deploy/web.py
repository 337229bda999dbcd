"""Files for the browser demo in `web/`: the model, the graph of its pictures, and labelled neighbours.

Legend: B clips, S samples of a window, T frames, M bins, G time patches of P frames, K = P // 2 modulation rates.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aasp.casting import finest
from aasp.deploy import onnx
from aasp.deploy.graph import Graph, Model, checked, window_samples
from aasp.errors import AaspError
from aasp.files import hidden, sync
from aasp.model.audio_classifier import AudioClassifier
from aasp.model.audio_encoder import AudioEncoder

FILES = ("model.onnx", "picture.onnx", "demo.json")


class Picture(nn.Module):
    """Windows (B, S) to their log-mel (B, T, M), and the modulation spectrum of each patch (B, G, K).

    The latter is the root mean square, over mel bins, of the amplitude at each whole number of periods per patch. At
    half the frame rate a patch has the cosine alone; √2 times it has the amplitude as root mean square over phases.

    Args:
        encoder: its front end and patches are used.
    """

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.encoder, self.frames = encoder, encoder.stem.patch[0]
        periods, frame = torch.arange(1, self.frames // 2 + 1), torch.arange(self.frames)
        angle = 2 * math.pi / self.frames * frame[:, None] * periods
        scale = torch.where(2 * periods == self.frames, 2**0.5, 2.0) / self.frames  # half the rate has no second phase
        self.register_buffer("waves", torch.cat([angle.cos() * scale, angle.sin() * scale], dim=1), persistent=False)

    @property
    def rates(self) -> list[float]:
        """The modulation rates, in hertz."""
        frame_rate = self.encoder.config.frontend.frame_rate
        return [periods * frame_rate / self.frames for periods in range(1, self.frames // 2 + 1)]

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        mel_BTM = self.encoder.frontend(finest(wave))[0].float()
        patches_BGPM = mel_BTM.unflatten(1, (-1, self.frames))
        cosine, sine = (patches_BGPM.mT @ self.waves).chunk(2, dim=-1)
        return mel_BTM, (cosine.square() + sine.square()).mean(2).sqrt()


def write_web(model: Model, folder: str | Path, labels: Sequence[str] = (), vectors: np.ndarray | None = None) -> str:
    """Write the demo's folder, completely or not at all; an existing one is replaced.

    Args:
        model: a classifier, whose classes are shown, or an encoder.
        folder: the output folder; it may contain nothing else.
        labels: labels of an encoder's neighbours.
        vectors: the encoder's vector of each neighbour, shape (n, D').

    Returns:
        The largest difference between the model and its graph, as text.

    Raises:
        AaspError: an encoder without neighbours, a folder with other files, a difference beyond the tolerance, or as
            `onnx_model` does.
    """
    folder = Path(folder)
    check_folder(folder)
    classifies = isinstance(model, AudioClassifier)
    if isinstance(model, AudioClassifier) and model.config.numbers is not None:
        text = f"the model predicts a number, {model.config.classes[0]}, and the demo shows classes"
        raise AaspError(f"{text}; export it with --to onnx")
    if not classifies and not len(labels):
        raise AaspError("an encoder has no tags of its own; add --neighbours FOLDER, a folder of sounds for each label")
    encoder = Graph(model, "whole").encoder
    front = encoder.config.frontend
    picture = Picture(encoder).eval()
    points = np.zeros((0, 0)) if vectors is None else vectors.astype(np.float64)
    about: dict[str, Any] = {
        "kind": "classifier" if classifies else "encoder",
        "rate": front.rate,
        "window": window_samples(encoder.config),
        "shortest": front.window,
        "bins": front.bins,
        "rates": picture.rates,
        "classes": list(model.config.classes) if isinstance(model, AudioClassifier) else [],
        "channels": model.config.channels if isinstance(model, AudioClassifier) else "mean",
        "centre": points.mean(0).tolist() if len(points) else [],
        "neighbours": [{"label": label, "vector": row.tolist()} for label, row in zip(labels, points, strict=True)],
    }
    window = Graph(model, "window")
    drawn = onnx.to_onnx(picture, window.example(), window.shapes(), ["wave"], ["spectrogram", "modulations"])
    whole = onnx.onnx_model(model, "whole")
    text = checked(folder, onnx.difference(model, "whole", onnx.session(whole)), onnx.TOLERANCE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside, aside = hidden(folder, "tmp"), hidden(folder, "old")
    try:
        beside.mkdir()
        onnx.write(whole, beside / "model.onnx")
        onnx.write(drawn, beside / "picture.onnx")
        (beside / "demo.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        for name in FILES:
            sync(beside / name)
        if folder.exists():
            folder.rename(aside)
        beside.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if aside.exists():
            shutil.rmtree(aside) if folder.exists() else aside.rename(folder)
    return text


def check_folder(folder: Path) -> None:
    """Check that a folder may be replaced.

    Raises:
        AaspError: it is a file, or contains other files than the demo's.
    """
    if folder.exists() and (not folder.is_dir() or {file.name for file in folder.iterdir()} - set(FILES)):
        raise AaspError(f"{folder}: holds something else than the demo's files; choose another place, as web/model")
