"""Encoders of the `transformers` package: AST, CLAP, and those that read waveforms through strided convolutions.

Weights are read from safetensors, or from PyTorch's files by `torch.load(weights_only=True)`; no code that comes with a
model is run. Clips of one length are read together, so that nothing is padded but what a model itself pads: AST with
zeros, CLAP by repeating the clip, both up to the length that they were made for. Longer clips they read in windows of
equal length, side by side. No attention mask is needed, and no embedding depends on what else is in a batch: of the
encoders of waveforms, those with group norms (wav2vec 2.0 Base, HuBERT Base, WavLM Base) could not be padded at all.

Legend: B clips, S samples, F x T grid of AST's patches (subbands x time), D width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aasp.aliasing.adapters.contract import OWN, EncoderAdapter, EncoderEmbeddings
from aasp.aliasing.adapters.own import centred
from aasp.errors import AaspError
from aasp.training.precision import Precision, autocast

AST, CLAP = "audio-spectrogram-transformer", "clap"
AST_FRAME_RATE, AST_WINDOW = 100, 0.025
"""Frames per second of AST's feature extractor, and seconds that one looks at."""
UNUSED = ("masked_spec_embed", "text_model.", "text_projection.", "logit_scale")
"""Weights that no embedding of sound depends on: a model may lack them."""


def open_pretrained(name: str, source: str | Path, device: torch.device, precision: Precision) -> EncoderAdapter:
    """A transformers model.

    Args:
        name: what to call it.
        source: its folder, or its name on the hub.
        device: where it runs.
        precision: of its forward pass.

    Raises:
        AaspError: `transformers` is not installed, files or weights lack, a file holds code, or the model is of a kind
            that we can't read.
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
        if kind not in (AST, CLAP) and not getattr(config, "conv_stride", None):
            raise AaspError(
                f"{name}: is a {kind} model; AST, CLAP and encoders of waveforms (Wav2Vec2, HuBERT, WavLM, …) can be "
                "read, for others write a function and name it module:function"
            )
        extractor = AutoFeatureExtractor.from_pretrained(source, **options)
        model, found = AutoModel.from_pretrained(source, weights_only=True, output_loading_info=True, **options)
    except AaspError:
        raise
    except Exception as error:  # whatever reading a damaged file raises
        if "weights only" in str(error).lower():  # torch then says how to run it all the same
            reason = "a file of weights holds code, which is never run; give a model with .safetensors"
            raise AaspError(f"{name}: {reason}") from None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AaspError(f"{name}: not to be loaded ({reason}); copy the model again") from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    missing = sorted(key for key in found["missing_keys"] if not any(part in key for part in UNUSED))
    if missing:  # transformers would go on with random ones
        raise AaspError(f"{name}: {len(missing)} weights are missing, the first {missing[0]}; copy the model again")
    made = {AST: ASTAdapter, CLAP: CLAPAdapter}.get(kind, ConvolutionalAdapter)
    return made(name, model.to(device), extractor, precision)


class _Pretrained(EncoderAdapter):
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

    def _inputs(self, wave_BS: Tensor) -> dict[str, Tensor]:
        """What its feature extractor makes of clips, on its device."""
        inputs = self.extractor(list(wave_BS.numpy()), sampling_rate=self.rate, return_tensors="pt")
        return {self.extractor.model_input_names[0]: inputs[self.extractor.model_input_names[0]].float()}

    def _run(self, wave_BS: Tensor, layers: bool = False) -> dict[str, Any]:
        """What it makes of clips: tensors, and of all layers if `layers`, on the processor."""
        inputs = {name: tensor.to(self.model.device) for name, tensor in self._inputs(wave_BS).items()}
        with torch.inference_mode(), self._casting:
            found = self._call(inputs, layers)
        here = {name: value.float().cpu() for name, value in found.items() if isinstance(value, Tensor)}
        return here | {"layers": [one.float().cpu() for one in found["hidden_states"]]} if layers else here

    def _call(self, inputs: dict[str, Tensor], layers: bool) -> Any:
        return self.model(**inputs, output_hidden_states=layers)


class ConvolutionalAdapter(_Pretrained):
    """A transformer behind strided convolutions over the waveform; the clip's vector is the mean over time."""

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.token_rate = self.rate / math.prod(model.config.conv_stride)

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        self._check(wave_BS.shape[1])
        vectors = self._run(wave_BS)["last_hidden_state"]
        return EncoderEmbeddings(
            vectors.mean(1), vectors, centred(vectors.shape[1], self.token_rate, wave_BS.shape[1] / self.rate)
        )

    def vectors(self, wave_BS: Tensor) -> dict[str, Tensor]:
        self._check(wave_BS.shape[1])
        found = self._run(wave_BS, layers=True)
        each = {f"layer {n}": mean_std(x_BND) for n, x_BND in enumerate(found["layers"])}
        return {OWN: found["last_hidden_state"].mean(1)} | each

    def _check(self, samples: int) -> None:
        """Refuse a clip that the convolutions see nothing of."""
        c, least = self.model.config, 1
        for kernel, stride in zip(reversed(c.conv_kernel), reversed(c.conv_stride), strict=True):
            least = (least - 1) * stride + kernel
        if samples < least:
            least_ms = f"takes at least {1000 * least / self.rate:g} ms, not {1000 * samples / self.rate:g} ms"
            raise AaspError(f"{self.name}: {least_ms}; leave shorter clips out")


class _Bounded(_Pretrained):
    """A model of clips up to a length; longer ones are read in as few windows of equal length as hold them."""

    longest: int

    @abstractmethod
    def _window(self, wave_BS: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Vectors (B, D') of a window by name, the clip's own as `OWN`; over time (B, G, D), and their seconds (G,)."""

    def _whole(self, wave_BS: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        windows = wave_BS.tensor_split(math.ceil(wave_BS.shape[1] / self.longest), dim=1)
        begins = torch.tensor([0, *(window.shape[1] for window in windows[:-1])]).cumsum(0) / self.rate
        found = [self._window(window) for window in windows]
        vectors = {name: torch.stack([one[0][name] for one in found]).mean(0) for name in found[0][0]}
        seconds = torch.cat([begin + one[2] for begin, one in zip(begins, found, strict=True)])
        return vectors, torch.cat([one[1] for one in found], dim=1), seconds

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        vectors, timestamps, seconds = self._whole(wave_BS)
        return EncoderEmbeddings(vectors[OWN], timestamps, seconds)

    def vectors(self, wave_BS: Tensor) -> dict[str, Tensor]:
        return self._whole(wave_BS)[0]


class ASTAdapter(_Bounded):
    """The Audio Spectrogram Transformer: mean over its subbands at each time step; the clip's vector is its own.

    Its positions fix its length: shorter clips are padded by its feature extractor, and steps whose centre lies beyond
    the clip's end are dropped.
    """

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.token_rate = AST_FRAME_RATE / model.config.time_stride
        frames = model.config.max_length - 1
        self.longest = round(self.rate * frames / AST_FRAME_RATE) + round(self.rate * AST_WINDOW)

    def _window(self, wave_BS: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        c, found = self.model.config, self._run(wave_BS, layers=True)
        subbands = (c.num_mel_bins - c.patch_size) // c.frequency_stride + 1
        over_time = lambda x_BND: x_BND[:, 2:].unflatten(1, (subbands, -1)).mean(1)
        last = over_time(found["last_hidden_state"])
        centres = (torch.arange(last.shape[1]) * c.time_stride + c.patch_size / 2) / AST_FRAME_RATE
        own = max(1, int((centres < wave_BS.shape[1] / self.rate).sum()))
        each = {f"layer {n}": mean_std(over_time(x_BND)[:, :own]) for n, x_BND in enumerate(found["layers"])}
        return {OWN: found["pooler_output"]} | each, last[:, :own], centres[:own]


class CLAPAdapter(_Bounded):
    """CLAP's encoder of sound: the clip's vector is the one that it compares with text, of length 1.

    Its last layer, mean over subbands, is there over time. It takes ten seconds: a shorter clip is repeated by its
    feature extractor, and steps whose centre lies beyond the clip's end are dropped. No clip counts as longer, so that
    a fused model, which the extractor would let treat one clip of a batch as such at random, reads each as it is.
    """

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.longest = extractor.nb_max_samples
        config = model.config.audio_config
        columns = config.spec_size * (config.spec_size // config.num_mel_bins)
        steps = columns // (config.patch_stride[1] * 2 ** (len(config.depths) - 1))
        frames = self.longest // extractor.hop_length + 1
        if frames > columns:
            reason = f"its feature extractor makes {frames} frames, and its encoder takes {columns}"
            raise AaspError(f"{name}: {reason}; copy the model again")
        self.token_rate = steps * self.rate / (frames * extractor.hop_length)

    def _inputs(self, wave_BS: Tensor) -> dict[str, Tensor]:
        longer = torch.zeros(len(wave_BS), 1, dtype=torch.bool)
        return super()._inputs(wave_BS) | {"is_longer": longer}

    def _call(self, inputs: dict[str, Tensor], layers: bool) -> Any:
        return self.model.get_audio_features(**inputs)

    def _window(self, wave_BS: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        found = self._run(wave_BS)
        last = found["last_hidden_state"].mean(2).mT
        centres = (torch.arange(last.shape[1]) + 0.5) / self.token_rate
        own = max(1, int((centres < wave_BS.shape[1] / self.rate).sum()))
        return {OWN: found["pooler_output"]}, last[:, :own], centres[:own]


def mean_std(x_BND: Tensor) -> Tensor:
    """Mean and deviation over time, shape (B, 2 D)."""
    return torch.cat([x_BND.mean(1), x_BND.std(1, correction=0)], dim=-1)
