"""Encoders of the `transformers` package: AST, CLAP, and waveform encoders with strided convolutions.

Weights are read from safetensors, or from PyTorch's files by `torch.load(weights_only=True)`; no code that comes with a
model is run. Only clips of equal length are batched, so that the only padding is the model's own: AST pads with zeros,
CLAP by repeating the clip, both up to their fixed length. They read longer clips in adjacent windows of equal length.
No attention mask is needed, and no embedding depends on the rest of the batch; waveform encoders with group norms
(wav2vec 2.0 Base, HuBERT Base, WavLM Base) could not be padded at all.

Legend: B clips, S samples, F x T grid of AST's patches (subbands x time), D width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aasp.encoders.contract import EncoderAdapter, EncoderEmbeddings, centred
from aasp.errors import AaspError
from aasp.training.precision import Precision, autocast
from aasp.weights import weights_hash

AST, CLAP = "audio-spectrogram-transformer", "clap"
AST_FRAME_RATE, AST_WINDOW = 100, 0.025
"""Frames per second of AST's feature extractor, and length of a frame in seconds."""
UNUSED = ("masked_spec_embed", "text_model.", "text_projection.", "logit_scale")
"""Weights that no audio embedding depends on, and that may be missing."""


def open_pretrained(name: str, source: str | Path, device: torch.device, precision: Precision) -> EncoderAdapter:
    """Open a transformers model.

    Args:
        name: display name.
        source: its folder, or its name on the hub.
        device: where it runs.
        precision: of its forward pass.

    Raises:
        AaspError: `transformers` is not installed, files or weights are missing, a file contains code, or the kind of
            model is not supported.
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
        options |= {"weights_only": True, "dtype": torch.float32}  # of waveforms, whatever the file's dtype
        model, found = AutoModel.from_pretrained(source, output_loading_info=True, **options)
    except AaspError:
        raise
    except Exception as error:  # a damaged file can raise anything
        if "weights only" in str(error).lower():  # torch's message says how to run the code anyway
            reason = "a file of weights holds code, which is never run; give a model with .safetensors"
            raise AaspError(f"{name}: {reason}") from None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AaspError(f"{name}: not to be loaded ({reason}); copy the model again") from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    missing = sorted(key for key in found["missing_keys"] if not any(part in key for part in UNUSED))
    if missing:  # transformers would use random weights instead
        raise AaspError(f"{name}: {len(missing)} weights are missing, the first {missing[0]}; copy the model again")
    made = {AST: ASTAdapter, CLAP: CLAPAdapter}.get(kind, ConvolutionalAdapter)
    return made(name, model.to(device), extractor, precision)


class _Pretrained(EncoderAdapter):
    """A model with its own feature extractor, on its device; outputs are moved to the CPU."""

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        self.name, self.model, self.extractor = name, model.eval(), extractor
        self._casting = autocast(precision, model.device)
        self.rate = extractor.sampling_rate

    def fingerprint(self) -> str:
        return weights_hash(self.model.config.to_json_string(), self.model)

    def _check_length(self, samples: int, least: int) -> None:
        """Refuse clips of fewer samples than the model takes."""
        if samples < least:
            text = f"takes at least {1000 * least / self.rate:g} ms, not {1000 * samples / self.rate:g} ms"
            raise AaspError(f"{self.name}: {text}; leave shorter clips out")

    def _inputs(self, wave_BS: Tensor) -> dict[str, Tensor]:
        """The output of the feature extractor for some clips."""
        inputs = self.extractor(list(wave_BS.numpy()), sampling_rate=self.rate, return_tensors="pt")
        return {self.extractor.model_input_names[0]: inputs[self.extractor.model_input_names[0]].float()}

    def _call(self, inputs: dict[str, Tensor]) -> Any:
        return self.model(**inputs, output_hidden_states=True)

    def _run(self, wave_BS: Tensor) -> dict[str, Any]:
        """The outputs of the model for some clips: tensors, and tuples with one tensor per layer, on the CPU."""
        inputs = {name: tensor.to(self.model.device) for name, tensor in self._inputs(wave_BS).items()}
        with torch.inference_mode(), self._casting:
            found = self._call(inputs)
        here = lambda tensor: tensor.float().cpu()
        return {name: tuple(map(here, of)) if isinstance(of, tuple) else here(of) for name, of in found.items()}


class ConvolutionalAdapter(_Pretrained):
    """A transformer after strided convolutions over the waveform; the clip's vector is the mean over time."""

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.token_rate = self.rate / math.prod(model.config.conv_stride)

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        c, least, samples = self.model.config, 1, wave_BS.shape[1]
        for kernel, stride in zip(reversed(c.conv_kernel), reversed(c.conv_stride), strict=True):
            least = (least - 1) * stride + kernel
        self._check_length(samples, least)  # the convolutions would have no output
        found = self._run(wave_BS)
        vectors = found["last_hidden_state"]
        centres = centred(vectors.shape[1], self.token_rate, samples / self.rate)
        return EncoderEmbeddings(vectors.mean(1), vectors, centres, _layers(found["hidden_states"]))


class _Bounded(_Pretrained):
    """A model with a limited input length; longer clips are read in the fewest windows of equal length."""

    longest: int

    @abstractmethod
    def _window(self, wave_BS: Tensor) -> EncoderEmbeddings:
        """Embed clips of at most `longest` samples."""

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        windows = wave_BS.tensor_split(math.ceil(wave_BS.shape[1] / self.longest), dim=1)
        begins = torch.tensor([0, *(window.shape[1] for window in windows[:-1])]).cumsum(0) / self.rate
        found = [self._window(window) for window in windows]
        return EncoderEmbeddings(
            torch.stack([one.clip for one in found]).mean(0),
            torch.cat([one.timestamps for one in found], dim=1),
            torch.cat([begin + one.seconds for begin, one in zip(begins, found, strict=True)]),
            {name: torch.stack([one.layers[name] for one in found]).mean(0) for name in found[0].layers},
        )

    def _own(self, centres_G: Tensor, wave_BS: Tensor) -> int:
        """Number of time steps with their centre within the clip: the others are padding."""
        return max(1, int((centres_G < wave_BS.shape[1] / self.rate).sum()))


class ASTAdapter(_Bounded):
    """The Audio Spectrogram Transformer: mean over its subbands at each time step; the clip's vector is its own.

    Its position embeddings fix its input length: the feature extractor pads shorter clips, and steps whose centre is
    beyond the clip's end are dropped.
    """

    def __init__(self, name: str, model: Any, extractor: Any, precision: Precision = "fp32") -> None:
        super().__init__(name, model, extractor, precision)
        self.token_rate = AST_FRAME_RATE / model.config.time_stride
        frames = model.config.max_length - 1
        self.longest = round(self.rate * frames / AST_FRAME_RATE) + round(self.rate * AST_WINDOW)

    def _window(self, wave_BS: Tensor) -> EncoderEmbeddings:
        self._check_length(wave_BS.shape[1], round(self.rate * AST_WINDOW))  # without a frame, all would be padding
        c, found = self.model.config, self._run(wave_BS)
        subbands = (c.num_mel_bins - c.patch_size) // c.frequency_stride + 1
        over_time = lambda x_BND: x_BND[:, 2:].unflatten(1, (subbands, -1)).mean(1)
        last = over_time(found["last_hidden_state"])
        centres = (torch.arange(last.shape[1]) * c.time_stride + c.patch_size / 2) / AST_FRAME_RATE
        own = self._own(centres, wave_BS)
        layers = _layers([over_time(x_BND)[:, :own] for x_BND in found["hidden_states"]])
        return EncoderEmbeddings(found["pooler_output"], last[:, :own], centres[:own], layers)


class CLAPAdapter(_Bounded):
    """CLAP's audio encoder: the clip's vector is the one that is compared with text, of unit length.

    Vectors over time are the mean over subbands of its last layer. Its input is ten seconds: the feature extractor
    repeats a shorter clip, and steps whose centre is beyond the clip's end are dropped. No clip is marked as longer:
    otherwise the extractor would mark a random clip of each batch for a fused model.
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
        return super()._inputs(wave_BS) | {"is_longer": torch.zeros(len(wave_BS), 1, dtype=torch.bool)}

    def _call(self, inputs: dict[str, Tensor]) -> Any:
        return self.model.get_audio_features(**inputs)

    def _window(self, wave_BS: Tensor) -> EncoderEmbeddings:
        found = self._run(wave_BS)
        last = found["last_hidden_state"].mean(2).mT
        centres = (torch.arange(last.shape[1]) + 0.5) / self.token_rate
        own = self._own(centres, wave_BS)
        return EncoderEmbeddings(found["pooler_output"], last[:, :own], centres[:own])


def _layers(hidden: Sequence[Tensor]) -> dict[str, Tensor]:
    """Mean and deviation over time, (B, 2 D), of each layer's vectors (B, G, D)."""
    return {
        f"layer {n}": torch.cat([x_BGD.mean(1), x_BGD.std(1, correction=0)], dim=-1) for n, x_BGD in enumerate(hidden)
    }
