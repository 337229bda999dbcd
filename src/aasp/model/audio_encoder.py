"""The model that people load: waveform in; clip, timestamp and layer embeddings out.

Legend: B clips, S samples, T frames, M mel bins, G x F grid of patches, N = G * F patch tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import finest, widened
from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.features import FRONTENDS, FrontEnd, FrontEndConfig
from aasp.features.logmel import LogMelConfig
from aasp.features.waves import as_batch, as_lengths, check_samples
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.model.folder import find, read_config
from aasp.model.pooling import POOLINGS, Pooling, over_frequency, pool
from aasp.model.positions import Places
from aasp.model.windows import encode_halves, encode_windows
from aasp.stems import STEMS, Stem, StemConfig
from aasp.stems.aape import AaPEConfig
from aasp.tracing import can_be_read, is_exported, is_for_onnx, is_known, is_traced
from aasp.weights import read_weights, write_directory


@dataclass(frozen=True)
class AudioEncoderConfig:
    """All that an AudioEncoder is, but its weights.

    Attributes:
        frontend: log-mel, or another front end, and its normalisation.
        stem: patch embedding.
        encoder: transformer.
        window_seconds: longer audio is cut in windows of this length, which overlap by half.
        pooling: how `clip` is made when no other way is asked for.
    """

    frontend: Annotated[FrontEndConfig, FRONTENDS] = field(default_factory=LogMelConfig)
    stem: Annotated[StemConfig, STEMS] = field(default_factory=AaPEConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    window_seconds: float = 10.24
    pooling: Pooling = "mean"

    @property
    def window_patches(self) -> int:
        """Time patches of a window; even, so that it can overlap by half."""
        return max(2, 2 * round(self.window_seconds * self.frontend.frame_rate / self.stem.patch[0] / 2))


@dataclass
class Embeddings:
    """What an AudioEncoder returns, in fp32, or float64 of a model in float64.

    Attributes:
        clip: one vector a clip, shape (B, D') (see `pool`).
        timestamps: one vector a time patch, subbands side by side, shape (B, G, F * D), zero beyond a clip's end.
        seconds: centre of each time patch, shape (G,).
        valid: time patches that belong to each clip, boolean, shape (B, G).
        tokens: normalised patch tokens, shape (B, N, D).
        cls: class token, shape (B, D).
        layers: (tokens, cls) of each block when asked for, else empty; index 0 is the input of the first block.
    """

    clip: Tensor
    timestamps: Tensor
    seconds: Tensor
    valid: Tensor
    tokens: Tensor
    cls: Tensor
    layers: list[tuple[Tensor, Tensor]]

    def without(self, columns: int, subbands: int) -> Embeddings:
        """The same but for the last time patches, which no clip reaches."""
        left = self.valid.shape[1] - columns
        first = lambda many, of: (torch.arange(many, device=self.valid.device) < of).nonzero()[:, 0]
        kept, patches = first(left + columns, left), first((left + columns) * subbands, left * subbands)
        cut = lambda tokens: tokens[:, patches]
        layers = [(cut(tokens), cls) for tokens, cls in self.layers]
        over_time = dict(timestamps=self.timestamps[:, kept], seconds=self.seconds[kept], valid=self.valid[:, kept])
        return replace(self, **over_time, tokens=cut(self.tokens), layers=layers)  # type: ignore[arg-type]

    @property
    def stages(self) -> list[tuple[Tensor, Tensor]]:
        """(tokens, cls) of layers 0 to depth, the last normalised; the last alone unless layers were asked for."""
        return [*self.layers[:-1], (self.tokens, self.cls)]


class AudioEncoder(nn.Module):
    """Front end, stem and transformer in one module.

    Args:
        config: the model; the weights are random until loaded (see `aasp.load`).
    """

    def __init__(self, config: AudioEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or AudioEncoderConfig()
        self.frontend = c.frontend.build()
        self.stem = c.stem.build(c.encoder.width, c.frontend.bins)
        for part, whose, contract in ((self.frontend, c.frontend, FrontEnd), (self.stem, c.stem, Stem)):
            if not isinstance(part, contract):
                told = f"{type(whose).__name__}.build gives {type(part).__name__}, which does not derive from"
                raise AaspError(f"{told} {contract.__module__}.{contract.__qualname__}; let it derive from that")
        self.encoder = Encoder(c.encoder)

    def forward(
        self, wave_BS: Tensor, lengths_B: Tensor | None = None, *, layers: bool = False, pooling: Pooling | None = None
    ) -> Embeddings:
        """Embed clips of any length; padding never changes an embedding, and nothing is cut.

        Clips longer than the window are read in windows that overlap by half; where two windows cover a patch, its
        tokens are averaged, and class tokens are averaged by duration.

        Args:
            wave_BS: waveforms in -1..1 at the front end's rate, of any floating type, or int16 samples, shape (B, S).
                What lies beyond a clip's end is not read.
            lengths_B: valid samples per clip, shape (B,); all of S when left out.
            layers: also return the tokens of every block.
            pooling: how to make `clip`; the model's own way when left out.

        Raises:
            AaspError: a clip is shorter than one analysis window, holds NaN or infinite samples or such as are not in
                -1..1 at all; wave or lengths are not what is asked for; or the pooling is unknown.
        """
        wave_BS, lengths_B = as_batch(wave_BS, lengths_B)
        spare = 0
        if not is_known(wave_BS.shape[1]):  # a graph for any length: what is added is beyond every clip's end
            lengths_B = self._whole(wave_BS) if lengths_B is None else lengths_B
            spare = self._spare
            seconds = spare * self.stem.stride[0] / self.config.frontend.frame_rate
            wave_BS = functional.pad(wave_BS, (0, round(seconds * self.config.frontend.rate)))
        mel_BTM, frames_B = self.frontend(finest(wave_BS), lengths_B)
        check_samples(wave_BS)
        return self._embed(mel_BTM, None if lengths_B is None else frames_B, layers, pooling, spare)

    def embed(
        self, mel_BTM: Tensor, frames_B: Tensor | None = None, *, layers: bool = False, pooling: Pooling | None = None
    ) -> Embeddings:
        """Embed log-mels: `forward` without its front end.

        Args:
            mel_BTM: normalised log-mel, shape (B, T, M), zero beyond each clip's end.
            frames_B: valid frames of each clip, shape (B,); all of T when left out.
            layers, pooling: as in `forward`.

        Raises:
            AaspError: the log-mel is not the stem's, the frames do not fit it, or the pooling is unknown.
        """
        spare = 0
        if isinstance(mel_BTM, Tensor) and not is_known(mel_BTM.shape[1]):
            frames_B = self._whole(mel_BTM) if frames_B is None else frames_B
            spare = self._spare
            mel_BTM = functional.pad(mel_BTM, (0, 0, 0, spare * self.stem.stride[0]))
        return self._embed(mel_BTM, frames_B, layers, pooling, spare)

    def _embed(
        self, mel_BTM: Tensor, frames_B: Tensor | None, layers: bool, pooling: Pooling | None, spare: int
    ) -> Embeddings:
        """`embed`, of log-mels whose last `spare` time patches are beyond every clip's end, and not returned."""
        pooling = pooling or self.config.pooling
        if pooling not in POOLINGS:
            raise AaspError(f"pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
        mel_BTM = self.stem.as_mel(mel_BTM)
        clips, frames, _ = mel_BTM.shape
        columns, subbands = self.stem.grid(frames)
        valid_BN = columns_B = None
        if frames_B is not None:
            frames_B = as_lengths(frames_B, clips, frames, "frames")
            columns_B = self._columns(frames_B) if can_be_read(frames_B) else None
            if columns_B is None or min(columns_B) < columns:
                valid_BN = self.stem.valid_patches(frames_B, frames).to(mel_BTM.device)
        if is_known(columns) and columns <= self.config.window_patches:
            outputs = self.encode(mel_BTM, valid_BN, layers)
        elif is_traced() and not self._is_fixed(mel_BTM, frames_B):
            outputs = encode_halves(self, mel_BTM, frames_B, layers)
        else:
            outputs, _ = encode_windows(self, mel_BTM, columns_B or [columns] * clips, layers=layers)
        if valid_BN is None:
            valid_BG = torch.ones(clips, columns, dtype=torch.bool, device=mel_BTM.device)
        else:
            valid_BG = valid_BN[:, ::subbands]
            outputs = [(tokens * valid_BN[..., None], cls) for tokens, cls in outputs]
        tokens, cls = outputs[-1]
        patch_seconds = self.stem.stride[0] / self.config.frontend.frame_rate
        found = Embeddings(
            clip=pool(tokens, cls, subbands, valid_BG, pooling),
            timestamps=over_frequency(tokens, subbands, flat=True),
            seconds=(torch.arange(columns, device=tokens.device) + 0.5) * patch_seconds,
            valid=valid_BG,
            tokens=tokens,
            cls=cls,
            layers=outputs[:-1],
        )
        return found.without(spare, subbands) if spare else found

    @property
    def _spare(self) -> int:
        """Time patches that a graph of any length adds to its clips: their number, and that of windows, is never one."""
        return 3 * self.config.window_patches // 2

    def _is_fixed(self, mel_BTM: Tensor, frames_B: Tensor | None) -> bool:
        """Whether an exported graph is of so many clips of one length: then it can be the plain path, to the bit."""
        sizes = is_known(mel_BTM.shape[0]) and is_known(mel_BTM.shape[1]) and frames_B is None
        return sizes and is_exported() and not is_for_onnx()

    def _whole(self, clips: Tensor) -> Tensor:
        """Lengths of clips (B, length, ...) that fill their batch, shape (B,)."""
        return torch.full((clips.shape[0],), clips.shape[1], device=clips.device)

    def encode(
        self, mel_BTM: Tensor, valid_BN: Tensor | None = None, layers: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Encode log-mel windows: [(tokens (B, N, D), cls (B, D))], the normalised output last, layers before it."""
        return self.encode_tokens(self.stem(mel_BTM, valid_BN), self.places(mel_BTM), valid_BN, layers)

    def encode_tokens(
        self, tokens: Tensor, places: Places, valid_BN: Tensor | None = None, layers: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """`encode` from the stem's tokens on, shape (B, N, D); these may be some of a grid only."""
        output = self.encoder(tokens, places, valid_BN, layers)
        split = lambda x: (widened(x[:, 1:]), widened(x[:, 0]))
        class_token = widened(self.encoder.class_token).expand(tokens.shape[0], -1)
        stages = [(widened(output.tokens), class_token)] if layers else []
        return stages + [split(x) for x in output.blocks] + [split(output.last)]

    def places(self, mel_BTM: Tensor, index_Bn: Tensor | None = None) -> Places:
        """Where the stem's tokens of a log-mel are: all of its grid, or patches of each sequence, shape (B, n)."""
        return Places(self.stem.grid(mel_BTM.shape[1]), index_Bn)

    def _columns(self, frames_B: Tensor) -> list[int]:
        """Time patches of each clip."""
        frames = frames_B.tolist()
        if 0 in frames:
            raise AaspError(
                f"clip {frames.index(0)} is shorter than one analysis window of "
                f"{self.config.frontend.shortest_ms:g} ms; leave it out or give a longer one"
            )
        return [self.stem.grid(count)[0] for count in frames]

    def save(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors`; an existing model there is replaced in one step."""
        write_directory(Path(directory), {"config.json": to_dict(self.config)}, self.state_dict())


def load(path_or_hub_id: str | Path, device: str | torch.device = "cpu") -> AudioEncoder:
    """Load an AudioEncoder in evaluation mode.

    Args:
        path_or_hub_id: a directory with `config.json` and `model.safetensors`, a run of `aasp pretrain`, or the name
            of a model on the Hugging Face hub. Of a fine-tuned classifier, its encoder is loaded.
        device: where to put it.

    Raises:
        AaspError: nothing is there, a file lacks, or the weights do not fit the configuration.
    """
    directory = find(path_or_hub_id)
    file = directory / "config.json"
    values = read_config(file)
    if "classes" in values:
        from aasp.model.audio_classifier import load_classifier

        return load_classifier(directory, device).encoder
    model = AudioEncoder(from_dict(AudioEncoderConfig, values, str(file)))
    read_weights(model, directory / "model.safetensors")
    return model.to(device).eval()
