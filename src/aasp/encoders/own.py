"""Custom encoders and stems: `module:name` or `file.py:name` is imported, called without arguments, and its result is
recognised by its type or interface.

1. A `Stem`, or a stem's configuration, which is used after our log-mel like our own; an `AudioEncoder`; or an
   `EncoderAdapter`.
2. HEAR's interface (Turian et al. 2022): `get_timestamp_embeddings(audio, model)` and `get_scene_embeddings(audio,
   model)`, of the object or of its module (then `name` is `load_model`).
3. Any callable that takes waveforms (B, S) at its `sample_rate` (16,000 if it has none) and returns vectors over time
   (B, G, D), centred in the clip at its `token_rate` per second (measured if it has none), or one vector per clip
   (B, D).

Legend: B clips, S samples, G vectors over time, D width. Source: ours.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aasp.encoders.contract import EncoderAdapter, EncoderEmbeddings, centred, held_by
from aasp.encoders.ours import AudioEncoderAdapter, StemAdapter, untrained
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.parts import imported, load_plugin
from aasp.stems import Stem, StemConfig

RATE = 16_000


def open_own(name: str) -> EncoderAdapter:
    """The adapter for the result of `module:name`.

    Raises:
        AaspError: no such module or name, it can't be called without arguments, it fails, or its result can't be used.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # permanently: an encoder may import other modules when it is called
    make, module = imported(name, "encoder"), load_plugin(name.rpartition(":")[0])
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise AaspError(f"{name}: {error}; name a class or function that is called without arguments") from None
    except ValueError:
        pass  # some built-ins have no signature
    made = call_own(name, make)
    for one in held_by(made):
        if isinstance(one, nn.Module):
            one.eval()
    if isinstance(made, EncoderAdapter):
        missing = [field for field in ("name", "rate", "token_rate") if not hasattr(made, field)]
        if missing:
            raise AaspError(f"{name}: its {type(made).__name__} has no {missing[0]}; set it, see EncoderAdapter")
        return made
    if isinstance(made, AudioEncoder):
        return AudioEncoderAdapter(name, made)
    if isinstance(made, Stem):
        return call_own(name, lambda: StemAdapter(name, made))
    if isinstance(made, StemConfig):
        return call_own(name, lambda: untrained(name, made))
    for owner in (made, module):
        if hasattr(owner, "get_timestamp_embeddings") and hasattr(owner, "get_scene_embeddings"):
            return HearAdapter(name, made, owner)
    if callable(made):
        return WaveformAdapter(name, made)
    raise AaspError(
        f"{name}: makes {_article(type(made).__name__)}, which can't be called with waveforms; "
        "make a Stem, a function of waveforms or an object with HEAR's interface"
    )


class WaveformAdapter(EncoderAdapter):
    """An encoder of waveforms (B, S) that returns vectors over time (B, G, D), or one per clip (B, D).

    The clip's vector is the mean over time. The encoder may have attributes `sample_rate` and `token_rate`.

    Raises:
        AaspError: it fails, or returns something else.
    """

    def __init__(self, name: str, encoder: Callable[[Tensor], Any]) -> None:
        self.name, self.encoder = name, encoder
        self.rate = int(getattr(encoder, "sample_rate", RATE))
        overtime = self._embed(_noise(2, self.rate)).ndim == 3
        stated = getattr(encoder, "token_rate", None)
        self.token_rate = 0.0 if not overtime else self._measured_rate() if stated is None else float(stated)

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        found, seconds = self._embed(wave_BS), wave_BS.shape[1] / self.rate
        if found.ndim == 2:
            return EncoderEmbeddings(found, found[:, None], torch.tensor([seconds / 2]))
        return EncoderEmbeddings(found.mean(1), found, centred(found.shape[1], self.token_rate, seconds))

    def _embed(self, wave_BS: Tensor) -> Tensor:
        with torch.inference_mode():
            found = call_own(self.name, lambda: self.encoder(wave_BS))
        return checked(self.name, found, len(wave_BS), "(B, G, D) or (B, D)", (2, 3))

    def _measured_rate(self) -> float:
        """Vectors per second, exact to a sample: from lengths at which their number steps, near 1 s and near 4 s."""
        (first, few), (second, many) = (self._step(seconds * self.rate) for seconds in (1, 4))
        if many <= few:
            raise AaspError(
                f"{self.name}: gives {few} vectors for 1 s and {many} for 4 s; "
                "let it give as many as the clip is long, or one a clip"
            )
        return (many - few) * self.rate / (second - first)

    def _step(self, samples: int) -> tuple[int, int]:
        """Smallest length in samples that gives more vectors than `samples`, and their number."""
        count = lambda samples: self._embed(_noise(1, samples)).shape[1]
        low, high, few = samples, samples + self.rate, count(samples)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if count(middle) > few else (middle, high)
        return high, count(high)


class HearAdapter(EncoderAdapter):
    """An encoder with HEAR's interface: a model, with an optional `sample_rate`, and the owner of the two functions.

    Raises:
        AaspError: it fails, returns something else, or fewer than two vectors for two seconds.
    """

    def __init__(self, name: str, model: Any, api: Any) -> None:
        self.name, self.model, self.api = name, model, api
        self.rate = int(getattr(model, "sample_rate", RATE))
        seconds = self.embed_waveform(_noise(1, 2 * self.rate)).seconds
        if len(seconds) < 2:
            raise AaspError(f"{name}: gives {len(seconds)} vector(s) for 2 s; give several over time")
        self.token_rate = float((len(seconds) - 1) / (seconds[-1] - seconds[0]))

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        with torch.inference_mode():
            pair = call_own(self.name, lambda: self.api.get_timestamp_embeddings(wave_BS, self.model))
            scene = call_own(self.name, lambda: self.api.get_scene_embeddings(wave_BS, self.model))
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise AaspError(f"{self.name}: get_timestamp_embeddings returns no pair (embeddings, milliseconds)")
        clips = len(wave_BS)
        milliseconds = checked(self.name, pair[1], clips, "milliseconds (B, G)", (2,))
        return EncoderEmbeddings(
            checked(self.name, scene, clips, "scene embeddings (B, D)", (2,)),
            checked(self.name, pair[0], clips, "timestamp embeddings (B, G, D)", (3,)),
            milliseconds[0] / 1000,
        )


def checked(name: str, found: Any, clips: int, what: str, dimensions: tuple[int, ...]) -> Tensor:
    """Embeddings as a float tensor.

    Raises:
        AaspError: they are not a tensor, have another shape, or are not finite.
    """
    try:
        vectors = torch.as_tensor(found).float()
    except (TypeError, ValueError, RuntimeError):
        raise AaspError(f"{name}: returns {_article(type(found).__name__)}; return {what}") from None
    if vectors.ndim not in dimensions or len(vectors) != clips or not vectors.numel():
        raise AaspError(f"{name}: returns {tuple(vectors.shape)} for {clips} clip(s); return {what}")
    if not vectors.isfinite().all():
        raise AaspError(f"{name}: returns values that are not finite; correct it")
    return vectors


def call_own(name: str, call: Callable[[], Any]) -> Any:
    """Call custom code; report a failure in one line.

    Raises:
        AaspError: it fails.
    """
    try:
        return call()
    except AaspError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise AaspError(f"{name}: fails with {type(error).__name__}: {reason[0]}; AASP_DEBUG=1 shows where") from error


def _noise(clips: int, samples: int) -> Tensor:
    """Noise for trying an encoder: not silence, which some encoders can't normalise."""
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
