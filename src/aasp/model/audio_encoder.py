"""The loaded model: waveforms in; clip, timestamp and layer embeddings out.

Legend: B clips, S samples, T frames, M mel bins, G x F grid of patches, N = G * F patch tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from aasp.casting import finest, widened
from aasp.config import ADDED_LATER, check_range, from_dict, to_dict
from aasp.devices import copied, device_of
from aasp.errors import AaspError
from aasp.features import FRONTENDS, FrontEndConfig
from aasp.features.logmel import LogMelConfig
from aasp.features.waves import as_batch, as_lengths, check_samples
from aasp.model import readout
from aasp.model.embeddings import Embedder, Embeddings
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.model.folder import find, read_config, weights_prefix
from aasp.model.front import build_front
from aasp.model.pooling import Pooling, over_frequency
from aasp.model.positions import Places
from aasp.model.stream import EncoderStream
from aasp.model.timestamps import OverTime, over_time, shifts
from aasp.model.whitening import Whitening
from aasp.model.windows import encode_halves, encode_windows
from aasp.stems import STEMS, StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.tracing import can_be_read, full_lengths, is_fixed, is_known, is_traced
from aasp.weights import WEIGHTS, with_weights, write_directory

MAX_WINDOW_SECONDS = 3_600.0
"""Largest window in seconds; attention over one hour would need 450,000 tokens."""


@dataclass(frozen=True)
class AudioEncoderConfig:
    """Configuration of an AudioEncoder: everything except its weights.

    Attributes:
        frontend: log-mel, or another front end, and its normalisation.
        stem: patch embedding.
        encoder: transformer.
        window_seconds: longer audio is cut into windows of this length that overlap by half.
        pooling: pooling of the last layer for the default vector of a clip, if `vector` is empty.
        vector: the default vector as a concatenation of several parts, each a layer and its pooling, ("4:mean+std",
            "8:mean+std"); layer 0 is the input of the first block.
        whitened: directions of the default vector that a learned whitening scales down (`aasp whiten`); 0 for none.
    """

    frontend: Annotated[FrontEndConfig, FRONTENDS] = field(default_factory=LogMelConfig)
    stem: Annotated[StemConfig, STEMS] = field(default_factory=AaPEConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    window_seconds: float = 10.24
    pooling: Pooling = "mean"
    vector: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    whitened: int = field(default=0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "model", "window_seconds", most=MAX_WINDOW_SECONDS)
        readout.check_vector(self.vector, self.encoder.depth)
        check_range(self, "model", "whitened", least=0, most=2**16)

    @property
    def keys(self) -> tuple[readout.Key, ...]:
        """(layer, pooling) of each part of the default vector."""
        return tuple(map(readout.key, self.vector)) or ((self.encoder.depth, self.pooling),)

    @property
    def window_patches(self) -> int:
        """Time patches of a window; even, so that windows can overlap by half."""
        return max(2, 2 * round(self.window_seconds * self.frontend.frame_rate / self.stem.patch[0] / 2))


class AudioEncoder(Embedder):
    """Front end, stem and transformer in one module.

    Args:
        config: the model; the weights are random until loaded (see `aasp.load`).
    """

    def __init__(self, config: AudioEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or AudioEncoderConfig()
        self.frontend, self.stem = build_front(c.frontend, c.stem, c.encoder.width)
        self.encoder = Encoder(c.encoder)
        given = readout.width(c.keys, c.encoder.width, self.stem.subbands)
        self.whitening = Whitening(given, c.whitened) if c.whitened else None

    def forward(
        self,
        wave_BS: Tensor,
        lengths_B: Tensor | None = None,
        *,
        layers: bool = False,
        pooling: Pooling | Sequence[readout.Key] | None = None,
    ) -> Embeddings:
        """Embed clips of any length; padding never changes an embedding, and nothing is cut.

        Clips longer than the window are split into windows that overlap by half; where two windows cover a patch, its
        tokens are averaged, and class tokens are averaged, weighted by duration.

        Args:
            wave_BS: waveforms in -1..1 at the front end's rate, of any floating type, or int16 samples, shape (B, S).
                Samples beyond a clip's end are ignored.
            lengths_B: valid samples per clip, shape (B,); all of S if omitted.
            layers: also return the tokens of every block.
            pooling: how `clip` is computed: a pooling of the last layer, or (layer, pooling) pairs, concatenated; the
                default vector if omitted.

        Returns:
            Vectors of clips, (B, D'), patches over time, (B, G, F · D), tokens, (B, N, D), and more: see `Embeddings`.

        Raises:
            AaspError: a clip is shorter than one analysis window, or has samples that are NaN, infinite or far outside
                -1..1; wave or lengths have the wrong form; or there is no such pooling or layer.
        """
        wave_BS, lengths_B = as_batch(wave_BS, lengths_B)
        lengths_B, spare = self._with_spare(wave_BS, lengths_B)
        if spare:
            seconds = spare * self.stem.stride[0] / self.config.frontend.frame_rate
            wave_BS = functional.pad(wave_BS, (0, round(seconds * self.config.frontend.rate)))
        mel_BTM, frames_B = self.mel(wave_BS, lengths_B)
        return self._embed(mel_BTM, None if lengths_B is None else frames_B, layers, pooling, spare)

    def embed(
        self,
        mel_BTM: Tensor,
        frames_B: Tensor | None = None,
        *,
        layers: bool = False,
        pooling: Pooling | Sequence[readout.Key] | None = None,
    ) -> Embeddings:
        """Embed log-mels: `forward` without its front end.

        Args:
            mel_BTM: normalised log-mel, shape (B, T, M), zero beyond each clip's end.
            frames_B: valid frames of each clip, shape (B,); all of T if omitted.
            layers, pooling: as in `forward`, as is the result.

        Raises:
            AaspError: the log-mel is not the stem's, the frames do not fit it, or there is no such pooling or layer.
        """
        frames_B, spare = self._with_spare(mel_BTM, frames_B)
        mel_BTM = functional.pad(mel_BTM, (0, 0, 0, spare * self.stem.stride[0])) if spare else mel_BTM
        return self._embed(mel_BTM, frames_B, layers, pooling, spare)

    def _with_spare(self, clips: Tensor, lengths_B: Tensor | None) -> tuple[Tensor | None, int]:
        """Lengths, and the time patches of padding that a graph for any length has beyond every clip's end, else 0."""
        if not isinstance(clips, Tensor) or is_known(clips.shape[1]):
            return lengths_B, 0
        return full_lengths(clips) if lengths_B is None else lengths_B, 3 * self.config.window_patches // 2

    def _embed(
        self,
        mel_BTM: Tensor,
        frames_B: Tensor | None,
        layers: bool,
        pooling: Pooling | Sequence[readout.Key] | None,
        spare: int,
    ) -> Embeddings:
        """`embed` for log-mels whose last `spare` time patches are beyond every clip's end and are not returned."""
        depth = self.config.encoder.depth
        keys = self.config.keys if pooling is None else [(depth, pooling)] if isinstance(pooling, str) else pooling
        readout.check_keys(keys, depth)
        every = layers or min(layer for layer, _ in keys) < depth
        mel_BTM = self.stem.as_mel(mel_BTM)
        clips, frames, _ = mel_BTM.shape
        columns, subbands = self.stem.grid(frames)
        valid_BN = columns_B = None
        if frames_B is not None:
            frames_B = as_lengths(frames_B, clips, frames, "frames")
            columns_B = self._columns(frames_B) if can_be_read(frames_B) else None
            if columns_B is None or min(columns_B) < columns:
                valid_BN = copied(self.stem.valid_patches(frames_B, frames), mel_BTM.device)
        if is_known(columns) and columns <= self.config.window_patches:
            outputs = self.encode(mel_BTM, valid_BN, every)
        elif is_traced() and not is_fixed(mel_BTM, frames_B):
            outputs = encode_halves(self, mel_BTM, frames_B, every)
        else:
            outputs, _ = encode_windows(self, mel_BTM, columns_B or [columns] * clips, layers=every)
        if valid_BN is None:
            valid_BG = torch.ones(clips, columns, dtype=torch.bool, device=mel_BTM.device)
        else:
            valid_BG = valid_BN[:, ::subbands]
            outputs = [(tokens * valid_BN[..., None], cls) for tokens, cls in outputs]
        tokens, cls = outputs[-1]
        clip = readout.read([*outputs[:-2], outputs[-1]], valid_BG, keys, depth, subbands)  # as in `stages`
        patch_seconds = self.stem.stride[0] / self.config.frontend.frame_rate
        found = Embeddings(
            clip=clip if pooling is not None or self.whitening is None else self.whitening(clip),
            timestamps=over_frequency(tokens, subbands, flat=True),
            seconds=(torch.arange(columns, device=tokens.device) + 0.5) * patch_seconds,
            valid=valid_BG,
            tokens=tokens,
            cls=cls,
            layers=outputs[:-1] if layers else [],
        )
        return found.of_first(frames - spare * self.stem.stride[0], self.stem) if spare else found

    def over_time(self, wave_BS: Tensor, lengths_B: Tensor | None = None, *, hop: float | None = None) -> OverTime:
        """Vectors over time (B, steps, F · D), optionally at a finer hop than a patch, and their centres (steps,).

        The clip is encoded once for each step within a patch, shifted by that step: a hop of a quarter of a patch costs
        four times as much as `forward`. Every step covers a whole patch, so neighbouring steps overlap.

        Args:
            wave_BS, lengths_B: as in `forward`.
            hop: seconds between steps: one patch, a half or a quarter of it; one patch if omitted, which returns
                `forward`'s timestamps.

        Raises:
            AaspError: as in `forward`, or there is no such hop.
        """
        shifts(self, hop)  # checks the hop before the expensive part
        mel_BTM, frames_B = self.mel(wave_BS, lengths_B)
        return over_time(self, mel_BTM, frames_B, hop)

    def stream(self, window: float | None = None) -> EncoderStream:
        """A stream for audio that arrives in chunks: `stream(chunk)`, and `stream.end()` at the end.

        Args:
            window: length of a window in seconds; the model's window if omitted (see `EncoderStream`).

        Raises:
            AaspError: it is longer than the model's window, or shorter than two time patches.
        """
        return EncoderStream(self, window)

    def encode(
        self, mel_BTM: Tensor, valid_BN: Tensor | None = None, layers: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Encode log-mel windows: [(tokens (B, N, D), cls (B, D))], the normalised output last, after the layers."""
        return self.encode_tokens(self.stem(mel_BTM, valid_BN), self.places(mel_BTM), valid_BN, layers)

    def encode_tokens(
        self, tokens: Tensor, places: Places, valid_BN: Tensor | None = None, layers: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """`encode` from the stem's tokens, shape (B, N, D), which may be only a part of the grid."""
        output = self.encoder(tokens, places, valid_BN, layers)
        split = lambda x: (widened(x[:, 1:]), widened(x[:, 0]))
        class_token = widened(self.encoder.class_token).expand(tokens.shape[0], -1)
        stages = [(widened(output.tokens), class_token)] if layers else []
        return stages + [split(x) for x in output.blocks] + [split(output.last)]

    def places(self, mel_BTM: Tensor, index_Bn: Tensor | None = None) -> Places:
        """The grid positions of the stem's tokens: the whole grid, or the patches `index_Bn` of each sequence."""
        return Places(self.stem.grid(mel_BTM.shape[1]), index_Bn)

    def mel(self, wave_BS: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Only the front end, as in `forward`: log-mel (B, T, M), zero beyond each clip's end, valid frames (B,)."""
        wave_BS, lengths_B = as_batch(wave_BS, lengths_B)
        mel_BTM, frames_B = self.frontend(finest(wave_BS), lengths_B)
        check_samples(wave_BS)
        return mel_BTM, frames_B

    def _columns(self, frames_B: Tensor) -> list[int]:
        """Time patches of each clip."""
        frames = frames_B.tolist()
        if 0 in frames:
            window = f"one analysis window of {self.config.frontend.shortest_ms:g} ms"
            raise AaspError(f"clip {frames.index(0)} is shorter than {window}; leave it out or give a longer one")
        return [self.stem.grid(count)[0] for count in frames]

    def save(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors`; an existing model there is replaced in one step."""
        write_directory(Path(directory), {"config.json": to_dict(self.config)}, self.state_dict())


def load(path_or_hub_id: str | Path, device: str | torch.device = "cpu") -> AudioEncoder:
    """Load an AudioEncoder in evaluation mode.

    Args:
        path_or_hub_id: a directory with `config.json` and `model.safetensors`, a run of `aasp pretrain`, the name of a
            model that comes with the package, or of one on the Hugging Face hub. For a fine-tuned classifier, its
            encoder is loaded.
        device: the device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps" or a torch device. Waveforms
            must be on it.

    Raises:
        AaspError: there is no such model or device, a file is missing, or the weights do not fit the configuration.
    """
    device, directory = device_of(device), find(path_or_hub_id)
    file = directory / "config.json"
    values = read_config(file)
    if "classes" in values:
        from aasp.model.audio_classifier import load_classifier

        return load_classifier(directory, device).encoder
    config = from_dict(AudioEncoderConfig, values, str(file))
    model = with_weights(lambda: AudioEncoder(config), directory / WEIGHTS, weights_prefix(file))
    return model.to(device).eval()
