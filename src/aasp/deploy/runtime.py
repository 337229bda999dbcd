"""An exported model run by ONNX Runtime, with the interface of the PyTorch model.

Legend: B clips, S samples, G x F grid of patches, N = G * F, D width, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aasp.config import from_dict
from aasp.deploy.onnx import session
from aasp.documents import parse_json
from aasp.errors import AaspError
from aasp.features.waves import as_batch, check_samples
from aasp.model.audio_encoder import AudioEncoderConfig
from aasp.model.embeddings import Embedder, Embeddings
from aasp.model.pooling import Pooling
from aasp.model.readout import Key, check_keys, read

MAX_SECONDS = 1_800.0
"""Maximum seconds of a clip (ours): the graph encodes all windows together, half an hour of `aasp_base` in 5 GiB."""


class OnnxEncoder(Embedder):
    """An encoder in an ONNX file; see `onnx_encoder`.

    Args:
        running: the session.
        config: configuration of the exported model.
        name: the file's name, for messages.
        digest: the file's hash.
    """

    longest = MAX_SECONDS

    def __init__(self, running: Any, config: AudioEncoderConfig, name: str, digest: str) -> None:
        super().__init__()
        self.running, self.config, self.name, self._digest = running, config, name, digest
        self.whitening = None  # it is in the file

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def digest(self) -> str:
        return self._digest

    def forward(
        self,
        wave_BS: Tensor,
        lengths_B: Tensor | None = None,
        *,
        layers: bool = False,
        pooling: Pooling | Sequence[Key] | None = None,
    ) -> Embeddings:
        """As `AudioEncoder`, to rounding (docs/deploy.md); only the last layer is available.

        Raises:
            AaspError: as `AudioEncoder` does; or other layers are requested, or a clip is longer than `MAX_SECONDS`.
        """
        depth = self.config.encoder.depth
        keys = [(depth, pooling)] if isinstance(pooling, str) else list(pooling or [])
        check_keys(keys, depth)
        if layers or any(layer < depth for layer, _ in keys):
            text = f"holds the last layer, {depth}, and no other"
            raise AaspError(f"{self.name}: {text}; leave out layers, or take the model it was exported from")
        wave_BS, lengths_B = as_batch(wave_BS, lengths_B)
        check_samples(wave_BS)
        front = self.config.frontend
        if lengths_B is None:
            lengths_B = torch.full((wave_BS.shape[0],), wave_BS.shape[1])
        short = [clip for clip, count in enumerate(lengths_B.tolist()) if not front.frames(count)]
        if short:
            text = f"clip {short[0]} is shorter than one analysis window of {front.shortest_ms:g} ms"
            raise AaspError(f"{text}; leave it out or give a longer one")
        if (length := wave_BS.shape[1] / front.rate) > MAX_SECONDS:
            text = f"{length:.0f} s are more than it encodes at once, {MAX_SECONDS:.0f}"
            raise AaspError(f"{self.name}: {text}; cut them, or take the model it was exported from")
        given = {"wave": wave_BS.float().numpy(), "lengths": lengths_B.numpy()}
        found = self.running.run(["clip", "timestamps", "seconds", "valid", "cls"], given)
        clip, timestamps, seconds, valid, cls = map(torch.from_numpy, found)
        tokens = timestamps.unflatten(2, (self.subbands, -1)).flatten(1, 2)
        if keys:
            clip = read([(tokens, cls)], valid, keys, depth, self.subbands)
        return Embeddings(clip, timestamps, seconds, valid, tokens, cls, [])


def onnx_encoder(path: str | Path, threads: int = 0) -> OnnxEncoder:
    """Open an encoder that `aasp export --to onnx` wrote, on the CPU.

    Args:
        path: the file.
        threads: threads per operator; 0 means one per core.

    Raises:
        AaspError: it is not such a file, or has a classifier or one window only; or the extra is not installed.
    """
    running, metadata = opened(path, threads)
    if metadata["kind"] != "encoder":
        raise AaspError(f"{path}: holds a {metadata['kind']}; export its encoder, or run it as docs/deploy.md shows")
    if metadata["extent"] != "whole":
        raise AaspError(f"{path}: takes clips of one window only; export it without --window")
    values = parse_json(metadata["config"], f"{path}: config", "export the model again")
    config = from_dict(AudioEncoderConfig, values, f"{path}: config")
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return OnnxEncoder(running, config, str(path), digest).eval()


def opened(path: str | Path, threads: int = 0) -> tuple[Any, dict[str, str]]:
    """A session for a file that `aasp export` wrote, and its metadata.

    Raises:
        AaspError: it is not such a file, or the extra is not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise AaspError(
            f"{path}: a folder where an .onnx file is expected; make one with `aasp export {path} --out {path}.onnx`"
        )
    if not path.is_file():
        raise AaspError(f"no such file: {path}; make one with `aasp export MODEL --to onnx --out {path}`")
    try:
        running = session(path, threads)
    except AaspError:
        raise
    except Exception as error:  # the runtime raises exceptions of many classes
        reason = str(error).splitlines()[0]
        raise AaspError(f"{path}: not readable as ONNX ({reason}); export the model again") from None
    metadata = dict(running.get_modelmeta().custom_metadata_map)
    if not {"kind", "extent", "config"} <= metadata.keys():
        raise AaspError(f"{path}: not an export of aasp; make one with `aasp export MODEL --to onnx --out {path}`")
    return running, metadata
