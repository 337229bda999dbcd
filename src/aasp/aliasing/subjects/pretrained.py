"""Encoders of the `transformers` package: AST, and those that read waveforms through strided convolutions.

Weights are read from safetensors only, and no code that comes with a model is run.

Legend: B clips, S samples, F x T grid of AST's patches (subbands x time), D width.
"""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aasp.aliasing.subjects.contract import Heard, Subject
from aasp.aliasing.subjects.own import centred
from aasp.errors import AaspError
from aasp.training.precision import Precision, autocast

AST_FRAME_RATE, AST_WINDOW = 100, 0.025
"""Frames per second of AST's feature extractor, and seconds that one looks at."""


def open_pretrained(name: str, source: str | Path, device: torch.device, precision: Precision) -> Subject:
    """A transformers model.

    Args:
        name: what to call it.
        source: its folder, or its name on the hub.
        device: where it runs.
        precision: of its forward pass.

    Raises:
        AaspError: `transformers` is not installed, files lack, or the model is of a kind that we can't read over time.
    """
    try:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
        from transformers.utils import logging
    except ImportError:
        raise AaspError(f"{name}: is a transformers model; pip install transformers") from None
    options: dict[str, Any] = {"trust_remote_code": False}
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(source, **options)
        kind = config.model_type
        if kind != "audio-spectrogram-transformer" and not getattr(config, "conv_stride", None):
            raise AaspError(
                f"{name}: is a {kind} model; AST and encoders of waveforms (Wav2Vec2, HuBERT, WavLM, …) can be read, "
                "for others write a function and name it module:function"
            )
        extractor = AutoFeatureExtractor.from_pretrained(source, **options)
        model = AutoModel.from_pretrained(source, use_safetensors=True, **options)
    except AaspError:
        raise
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AaspError(f"{name}: not to be loaded ({reason}); copy the model anew") from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    made = ASTSubject if kind == "audio-spectrogram-transformer" else ConvolutionalSubject
    return made(name, model.to(device), extractor, precision)


class _Pretrained(Subject):
    """A model behind its own feature extractor, on its device; what it says comes back to the processor."""

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        self.name, self.model, self.extractor = name, model.eval(), extractor
        self._casting = autocast(precision, model.device)
        self.rate = extractor.sampling_rate

    def fingerprint(self) -> str:
        digest = sha256(self.model.config.to_json_string().encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _run(self, wave_BS: Tensor) -> dict[str, Tensor]:
        inputs = self.extractor(list(wave_BS.numpy()), sampling_rate=self.rate, return_tensors="pt")
        with torch.inference_mode(), self._casting:
            found = self.model(inputs.input_values.float().to(self.model.device))
        return {name: value.float().cpu() for name, value in found.items() if isinstance(value, Tensor)}


class ConvolutionalSubject(_Pretrained):
    """A transformer behind strided convolutions over the waveform; the clip's vector is the mean over time."""

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.token_rate = self.rate / math.prod(model.config.conv_stride)

    def hear(self, wave_BS: Tensor) -> Heard:
        vectors = self._run(wave_BS)["last_hidden_state"]
        return Heard(vectors.mean(1), vectors, centred(vectors.shape[1], self.token_rate, wave_BS.shape[1] / self.rate))


class ASTSubject(_Pretrained):
    """The Audio Spectrogram Transformer: mean over its subbands at each time step; the clip's vector is its own.

    Its positions fix its length: shorter clips are padded by its feature extractor, and steps whose centre lies beyond
    the clip's end are dropped.
    """

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.token_rate = AST_FRAME_RATE / model.config.time_stride

    def hear(self, wave_BS: Tensor) -> Heard:
        c, seconds = self.model.config, wave_BS.shape[1] / self.rate
        longest = (c.max_length - 1) / AST_FRAME_RATE + AST_WINDOW
        if math.floor((seconds - AST_WINDOW) * AST_FRAME_RATE + 1e-6) + 1 > c.max_length:
            raise AaspError(f"{self.name}: takes at most {longest:g} s, not {seconds:g} s; give shorter clips")
        found = self._run(wave_BS)
        subbands = (c.num_mel_bins - c.patch_size) // c.frequency_stride + 1
        vectors = found["last_hidden_state"][:, 2:].unflatten(1, (subbands, -1)).mean(1)
        centres = (torch.arange(vectors.shape[1]) * c.time_stride + c.patch_size / 2) / AST_FRAME_RATE
        own = max(1, int((centres < seconds).sum()))
        return Heard(found["pooler_output"], vectors[:, :own], centres[:own])
