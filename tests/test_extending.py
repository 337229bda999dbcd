"""The changes that docs/extending.md shows work: each is made to the example, which then trains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from aasp.config import with_fields
from aasp.pretrain import recipes
from aasp.pretrain.masking import SCHEMES
from aasp.pretrain.objective import build_objective

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
DIFF = r"^### (.*?)\n.*?^```diff\n--- examples/own_method.py\n(.*?)^```"
CHANGES = dict(re.findall(DIFF, PAGE, re.MULTILINE | re.DOTALL))
IMPORTS = """
import torch
from torch import nn
from aasp.pretrain.ema import EMA
from aasp.pretrain.predictors import Predictor
from aasp.pretrain.targets import standardised_tokens
from aasp.pretrain.masking import SCHEMES
from aasp.pretrain.encoding import encode_all
from aasp.stems.contract import Stem
"""
SMALL = {
    "model.stem": "conv", "model.encoder.width": 32, "model.encoder.depth": 1,
    "model.vector": "none", "model.encoder.heads": 2, "predictor.width": 32, "predictor.heads": 2,
}  # fmt: skip


def changed(text: str, change: str) -> str:
    for hunk in change.split("@@\n"):
        lines = hunk.splitlines()
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in kept) for kept in (" -", " +"))
        assert text.count(old) >= 1, f"not in the example: {old}"
        text = text.replace(old, new, 1)
    return text


def first_step(file: Path) -> tuple[float, set[str]]:
    torch.manual_seed(0)
    method = build_objective(with_fields(recipes.get(f"{file}:recipe"), SMALL)).train()
    wave = 0.1 * torch.randn(3, 15_600, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    loss = method({"wave": wave, "length": torch.full((3,), 15_600)}, False)["loss"]
    loss.backward()
    method.after_step({})
    trained = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    return loss.item(), trained


def test_the_docs_hold_the_five_changes() -> None:
    assert set(CHANGES) == {"A loss", "A target", "A mask", "A predictor", "A teacher"}


@pytest.mark.parametrize("title", CHANGES)
def test_each_change_works(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMES, "low", SCHEMES["random"])  # and taken out again afterwards
    text = (ROOT / "examples" / "own_method.py").read_text(encoding="utf-8")
    file = tmp_path / f"own_{re.sub(r'[^a-z]', '_', title.lower())}.py"
    text = text.replace("\nfrom torch import Tensor\n", f"\nfrom torch import Tensor\n{IMPORTS}")
    file.write_text(changed(text, CHANGES[title]))
    loss, trained = first_step(file)
    before, _ = first_step(ROOT / "examples" / "own_method.py")
    assert loss == loss and loss != before
    assert {name.partition(".")[0] for name in trained} == {"encoder", "predictor"}
