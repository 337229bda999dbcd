"""`auto` is the faster precision, chosen once for a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from aasp.errors import AaspError
from aasp.training import precision
from aasp.training.engine import accelerator
from aasp.training.precision import autocast, has_fast_bf16, resolve_precision

CPU = torch.device("cpu")


@pytest.fixture(params=["bf16", "fp32"])
def faster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine that has bf16 instructions, and on which one of the two is faster."""
    monkeypatch.delenv("AASP_CPU_PRECISION")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    took = {torch.bfloat16: 1.0, torch.float32: 2.0 if request.param == "bf16" else 0.5}
    monkeypatch.setattr(precision, "seconds_of_a_product", lambda: took)
    return request.param


def test_auto_chooses_the_faster_precision(faster: str) -> None:
    assert resolve_precision("auto", accelerator()) == faster
    with autocast("auto", CPU):
        product = torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2))
    assert product.dtype == (torch.bfloat16 if faster == "bf16" else torch.float32)


@pytest.mark.parametrize("requested", ["bf16", "fp32"])
def test_a_requested_precision_is_used(faster: str, requested: precision.Precision) -> None:
    assert resolve_precision(requested, accelerator()) == requested


@pytest.mark.parametrize("before", ["bf16", "fp32"])
def test_a_resumed_run_keeps_its_precision(faster: str, before: str, tmp_path: Path) -> None:
    starts = tmp_path / "environment.json"
    assert resolve_precision("auto", accelerator(), starts) == faster
    starts.write_text(json.dumps([{"precision": "fp32"}, {"precision": before}]))
    assert resolve_precision("auto", accelerator(), starts) == before


def test_the_measurement_times_both() -> None:
    precision.seconds_of_a_product.cache_clear()
    took = precision.seconds_of_a_product()
    assert set(took) == {torch.float32, torch.bfloat16} and all(0 < seconds < 10 for seconds in took.values())


@pytest.mark.parametrize("chosen", ["bf16", "fp32"])
def test_the_environment_replaces_the_measurement(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AASP_CPU_PRECISION", chosen)
    monkeypatch.setattr(precision, "seconds_of_a_product", lambda: pytest.fail("measured"))
    assert resolve_precision("auto", accelerator()) == chosen


def test_an_unknown_precision_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AASP_CPU_PRECISION", "fp64")
    with pytest.raises(AaspError, match=r"\$AASP_CPU_PRECISION is 'fp64'; give fp32 or bf16, or unset it"):
        has_fast_bf16(CPU)


def test_without_the_instructions_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AASP_CPU_PRECISION")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(precision, "seconds_of_a_product", lambda: pytest.fail("measured"))
    assert not has_fast_bf16(CPU)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(AaspError, match="no such precision: fp64; choose from auto, bf16, fp16, fp32"):
        resolve_precision("fp64", accelerator())  # type: ignore[arg-type]


def test_the_given_gpu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    current = [torch.device("cuda:0")]

    @contextmanager
    def device(chosen: torch.device) -> Iterator[None]:
        current.append(chosen)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: current[-1] == torch.device("cuda:1"))
    assert [has_fast_bf16(torch.device(f"cuda:{number}")) for number in (0, 1)] == [False, True]
