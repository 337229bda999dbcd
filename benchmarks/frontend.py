"""Log-mel of 10 s clips on one core: ours against kaldi-native-fbank and the AST extractor of transformers.

usage: python benchmarks/frontend.py [--rounds N] [--threads N]

All compute the same 128 Kaldi bins (tests/features checks that they agree within 1e-3). The others take one clip at a
time; ours takes a batch, and one clip at a time for comparison. transformers uses torchaudio if it is installed, else
numpy; the row states which.
"""

from __future__ import annotations

import statistics
import warnings

import kaldi_native_fbank
import numpy as np
import torch
from transformers import ASTFeatureExtractor
from transformers.utils import is_speech_available

from aasp.features.logmel import LogMel
from harness import Row, alternately, options, ratio, report
from sounds import clips

CLIPS, SECONDS, RATE = 8, 10.0, 16_000


def main() -> None:
    parser = options(__doc__, rounds=9)
    parser.set_defaults(threads=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", "At least one mel filter")  # the AST extractor's choice of bins
    waves = clips(CLIPS, SECONDS, RATE)
    batch = torch.from_numpy(waves)
    lists = waves.tolist()  # the fastest input of kaldi-native-fbank; its conversion is not timed
    front = LogMel()
    extractor = ASTFeatureExtractor()

    took = alternately(
        {
            "batch": torch.inference_mode()(lambda: front(batch)),
            "single": torch.inference_mode()(lambda: [front(clip[None]) for clip in batch]),
            "kaldi-native-fbank": lambda: [_kaldi(samples) for samples in lists],
            "AST extractor": lambda: [
                extractor(wave, sampling_rate=RATE, return_tensors="pt").input_values for wave in waves
            ],
        },
        arguments.rounds,
    )
    milliseconds = {name: 1000 * statistics.median(times) / CLIPS for name, times in took.items()}
    path = {"kaldi-native-fbank": "", "AST extractor": " (torchaudio)" if is_speech_available() else " (numpy)"}
    rows = [
        Row(
            f"{theirs}{path[theirs]} over ours, {how}",
            ratio(took[theirs], took[ours]),
            ">= 3",
            f"{milliseconds[theirs]:.1f} and {milliseconds[ours]:.2f} ms a clip of {SECONDS:g} s, one thread",
        )
        for theirs in path
        for ours, how in (("batch", f"batches of {CLIPS}"), ("single", "a clip at a time"))
    ]
    report("frontend", rows, arguments.threads)


def _kaldi(samples: list[float]) -> np.ndarray:
    settings = kaldi_native_fbank.FbankOptions()
    settings.frame_opts.dither = 0
    settings.frame_opts.window_type = "hanning"
    settings.mel_opts.num_bins = 128
    settings.use_energy = False
    bank = kaldi_native_fbank.OnlineFbank(settings)
    bank.accept_waveform(RATE, samples)
    bank.input_finished()
    return np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])


if __name__ == "__main__":
    main()
