"""MTEB's encoder, for its audio tasks.

    mteb.evaluate(AaspEncoder("runs/tiny"), mteb.get_tasks(["ESC50"]))

Clips are decoded and resampled by our own reader: neither torchaudio nor torchcodec is needed here.

Legend: n clips, B clips of a batch, S samples, D width. Source: MTEB (Muennighoff et al. 2022; Enevoldsen et al. 2025),
its `EncoderProtocol`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aasp.audio.in_memory import given_wave
from aasp.errors import AaspError
from aasp.integrations.opened import check_clip, opened, widths
from aasp.model.audio_encoder import AudioEncoder
from aasp.weights import model_hash


class AaspEncoder:
    """A model with MTEB's interface.

    Attributes:
        encoder: the model.

    Args:
        model_name: an encoder, a folder of a model or of a run, or a model on the hub.
        revision: the revision in MTEB's results; a hash of the model's weights if omitted.
        device: where to load it; "cpu" if omitted.
        name: its name in MTEB, as in "you/birds"; "aasp/" and the model's folder if omitted.

    Raises:
        AaspError: it can't be loaded.
    """

    def __init__(
        self,
        model_name: AudioEncoder | str | Path | None = None,
        revision: str | None = None,
        *,
        device: str | None = None,
        name: str | None = None,
    ) -> None:
        self.encoder = opened(model_name, device or "cpu")
        self.revision = revision or model_hash(self.encoder)[:12]
        self.name = name or f"aasp/{_folder(model_name)}"

    def encode(self, inputs: Iterable[Mapping[str, Any]], **context: Any) -> np.ndarray:
        """One vector per clip, float32, shape (n, D), in the order given: the model's default vector.

        Args:
            inputs: batches, each with "audio": a list of `{"array", "sampling_rate"}`, the array of shape (S,) or
                (channels, S), mixed as a file's; or of `{"path", "bytes"}`, as `datasets.Audio(decode=False)` has it.
            context: MTEB's information on the task; only its name is used, in messages.

        Raises:
            AaspError: a batch has no "audio", a clip can't be used, or there are no clips.
        """
        task = getattr(context.get("task_metadata"), "name", "the task")
        found: list[np.ndarray] = []
        done = 0
        for batch in inputs:
            if not isinstance(batch, Mapping):
                text = f"{task}: a batch is {type(batch).__name__}"
                raise AaspError(f"{text}; give batches of clips, [{{'audio': [{{'array': …, 'sampling_rate': …}}]}}]")
            if "audio" not in batch:
                text = f"{task}: gives {', '.join(batch)}, and AaSP takes audio only"
                raise AaspError(f"{text}; choose tasks whose modality is audio alone")
            waves = [self._wave(item, f"{task}: clip {done + i}") for i, item in enumerate(batch["audio"])]
            if waves:
                found.append(self._embed(waves))
            done += len(waves)
        if not done:
            raise AaspError(f"{task}: gives no clip; check its split and subset")
        return np.concatenate(found)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosine of every vector of one collection with every vector of another, shape (n, m)."""
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosine of each vector with its counterpart, shape (n,)."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(-1)

    @cached_property
    def mteb_model_meta(self) -> Any:
        """MTEB's metadata of the model; it needs MTEB."""
        from mteb.models import ModelMeta

        facts = {
            "name": self.name,
            "revision": self.revision,
            "n_parameters": sum(one.numel() for one in self.encoder.parameters()),
            "embed_dim": widths(self.encoder).clip,
            "framework": ["PyTorch"],
            "similarity_fn_name": "cosine",
            "modalities": ["audio"],
        }
        return ModelMeta.create_empty(overwrites=facts)

    def _wave(self, item: Any, what: str) -> np.ndarray:
        """A clip as mono samples (S,) at the model's rate."""
        wave = given_wave(item, self.encoder.config.frontend.rate, what)
        check_clip(self.encoder.config.frontend, wave, what)
        return wave

    def _embed(self, waves: list[np.ndarray]) -> np.ndarray:
        lengths = torch.tensor([len(wave) for wave in waves])
        wave_BS = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
        with torch.no_grad():
            found = self.encoder(wave_BS.to(next(self.encoder.parameters()).device), lengths)
        return found.clip.float().cpu().numpy()


def _unit(vectors: Any) -> Tensor:
    """Vectors of length 1, float32, shape (n, D)."""
    return functional.normalize(torch.atleast_2d(torch.as_tensor(vectors).float()), dim=-1)


def _folder(model: AudioEncoder | str | Path | None) -> str:
    """The name of a model's folder, or of its run if the folder is `model`."""
    if model is None or isinstance(model, AudioEncoder):
        return "encoder"
    path = Path(model)
    return path.parent.name if path.name == "model" and path.parent.name else path.name or "encoder"
