"""The card of the package's model: numbers are those of the run, of the ruler and of the index of its sound."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from aasp.config import to_dict
from aasp.errors import AaspError
from aasp.evaluate.whitening import DIRECTIONS
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.shapes import read_shapes

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COMMAND = ["/clone/src/aasp/__main__.py", "pretrain", "aasp_tiny", "--data", "/drive/sound.csv", "--seed", "0"]


def interval(low: float, estimate: float, high: float) -> dict[str, Any]:
    return {"estimate": estimate, "low": low, "high": high, "level": 0.95, "clusters": 9, "clips": 90}


def scores() -> dict[str, Any]:
    """Of one set that is won, and one that is lost to log-mel statistics."""
    ours = lambda won: {"won": interval(0.7, won, 0.9), "lost": interval(0.3, 0.4, 0.5)}
    lead = lambda won: {"won": interval(0.01, won, 0.2), "lost": interval(-0.3, -0.2, -0.1)}
    others = ("untrained", "log-mel 40", "log-mel 128", "the strongest")
    read = lambda won, by: {"model": ours(won)} | {f"minus {other}": lead(by) for other in others}
    readings = {f"Default vector, {how}": read(0.8123, 0.0567) for how in ("ridge regression", "k nearest neighbours")}
    readings["Best layer and pooling, ridge regression"] = read(0.9, 0.1)
    few = {"5": {"model": ours(0.66), "minus from scratch": lead(0.11)}}
    last = {"Token mean": {"model": ours(0.5), "minus random": lead(0.02)}}
    found = {"readings": readings, "few labels": few, "last block": last}
    return {"full": False, "models": {"m": found | {"effective rank": {"won": 21.04, "lost": 7.0}}}}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The scripts' functions, and a run of 40 steps with its packaged model and sound."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import model_card
        import package_model
    finally:
        sys.path.remove(str(BENCHMARKS))
    folder = tmp_path_factory.mktemp("card")
    torch.manual_seed(0)
    size = EncoderConfig(width=24, depth=4, heads=2)
    AudioEncoder(AudioEncoderConfig(encoder=size, window_seconds=0.64)).save(folder / "run/model")
    noise = np.random.default_rng(0).normal(scale=0.1, size=(150, 8_000))
    (folder / "noise").mkdir()
    for number, wave in enumerate(noise):
        soundfile.write(folder / f"noise/{number}.wav", wave * np.linspace(0, 1 + number % 7, 8_000), 16_000)
    package_model.package(folder / "run", folder / "noise", folder / "packaged")
    (folder / "run/checkpoints/step-00000040").mkdir(parents=True)
    (folder / "run/checkpoints/step-00000040/state.json").write_text("{}")
    (folder / "run/recipe.json").write_text(json.dumps(to_dict(recipes.get("aasp_tiny"))))
    start = {"command": COMMAND, "commit": "1a2b3c", "threads": 1, "processes": 1, "hours": 10.8091, "files": 4296}
    (folder / "run/environment.json").write_text(json.dumps([start, start | {"threads": 2}]))
    lines = [{"step": step, "hours_seen": 2.0 * step, "seconds": 90.0 * step} for step in (20, 40, 60)]
    (folder / "run/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [("a/1.opus", "bells", "music", "CC0-1.0", 60), ("a/2.opus", "bells", "music", "CC0-1.0", 30)]
    rows.append(("b/1.opus", "birds", "animals", "GPL-2 | GPL-3", 12))
    with (folder / "sound.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "source", "kind", "licence", "seconds"), *rows])
    for name, source, original in (("a", "bells", "bells-data/x.wav"), ("b", "birds", "github:some/birds/y.wav")):
        (folder / name).mkdir()
        with (folder / name / "index.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "source", "original"), ("1.opus", source, original)])
    return model_card.card, folder


def test_the_card_of_a_run_that_was_extended(card: Any) -> None:
    make, folder = card
    file = folder / "run/environment.json"
    before = file.read_text()
    first, last = json.loads(before)
    more = {
        "processes": 2,
        "commit": "5e6f70",
        "command": [*COMMAND, "--extend", "30"],
        "extended": [{"step": 10, "steps": 30}],
    }
    file.write_text(json.dumps([first, last | more]))
    try:
        text = make(load(folder / "packaged"), folder / "run", scores(), folder / "sound.csv")
    finally:
        file.write_text(before)
    assert "| command | `aasp pretrain aasp_tiny --data sound.csv --seed 0 --extend 30` |" in text
    assert "| commit | `1a2b3c`, then `5e6f70` |" in text and "| steps | 40 of 18,000 + 30, 24 clips each" in text
    assert "hours by the clock, 1 thread, then 2 processes of 2 threads of a CPU" in text


def test_the_card_states_what_was_recorded(card: Any) -> None:
    make, folder = card
    text = make(load(folder / "packaged"), folder / "run", scores(), folder / "sound.csv")
    assert "| command | `aasp pretrain aasp_tiny --data sound.csv --seed 0` |" in text
    assert "| commit | `1a2b3c` |" in text and "| steps | 40 of 18,000, 24 clips each; 80 hours of crops |" in text
    assert "| time | 1.0 hours by the clock, 1 thread, then 2 threads " in text, "of the checkpoint, not of later steps"
    assert "10.8 hours, 4,296 files" in text
    assert "the visible 20 % of 4 masked views. Targets: codes, the teacher's layers, log-mels." in text
    assert text.count("| won | 81.2 [70.0, 90.0] | **+5.7 [+1.0, +20.0]** |") == 2
    assert text.count("| lost | 40.0 [30.0, 50.0] | -20.0 [-30.0, -10.0] |") == 3 + 2
    assert "### Fine-tuned with 5 labels a class\n\n| set | aasp-tiny | minus from scratch |" in text
    assert (
        "| won | 66.0 [70.0, 90.0] | **+11.0 [+1.0, +20.0]** |" in text and "### The last block, token mean\n" in text
    )
    assert "- `lost`: its vector is below the best of the controls, -20.0 [-30.0, -10.0] points." in text
    assert "`won`: its vector" not in text and "21.0 on won, 7.0 on lost" in text
    assert "| bells | bells-data | music | CC0-1.0 | 2 | 1.5 |" in text
    assert r"| birds | github:some/birds | animals | GPL-2 \| GPL-3 | 1 | 0.2 |" in text
    assert "$" not in text and f"it turns any sound into a vector of {24 * 8 * 2 + 48} numbers" in text
    assert f"numbers. Its {DIRECTIONS} directions of largest variance are scaled down" in text


def test_a_model_of_another_checkpoint_is_not_described(card: Any) -> None:
    make, folder = card
    other = AudioEncoder(load(folder / "packaged").config).eval()
    with pytest.raises(
        AaspError, match=r"its model is not the packaged one; run package_model\.py and ruler\.py again"
    ):
        make(other, folder / "run", scores(), folder / "sound.csv")
    two = scores()
    two["models"]["other"] = two["models"]["m"]
    with pytest.raises(AaspError, match=r"SCORES has 2 models; run ruler\.py on the packaged one alone"):
        make(load(folder / "packaged"), folder / "run", two, folder / "sound.csv")


def test_packaging_keeps_the_card_and_gives_the_vector_of_the_recipe(card: Any) -> None:
    import package_model

    _, folder = card
    (folder / "packaged/README.md").write_text("mine")
    before = load(folder / "packaged").digest
    size, moved = package_model.package(folder / "run", folder / "noise", folder / "packaged")
    assert (folder / "packaged/README.md").read_text() == "mine" and moved < 0.05
    packaged = load(folder / "packaged")
    assert packaged.config.vector == ("0:flat+std", "4:mean+std") and packaged.config.whitened == DIRECTIONS
    assert packaged.digest == before
    header = read_shapes(folder / "packaged/model.safetensors")[1]
    assert header["whitened_on"] == "150 excerpts of noise, seed 0"
    assert size == (folder / "packaged/model.safetensors").stat().st_size
