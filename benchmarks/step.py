"""A whole pre-training step: its utilisation of the machine, and its speed against the same step written plainly.

usage: python benchmarks/step.py [--recipes aasp_tiny aasp_base] [--clips N] [--threads N] [--rounds N]

Model FLOPs are those of `aasp.planning.step`; the peak is the rate of the step's own products, each timed alone
(`benchmarks/peak.py`), in the same run. The plain step is `benchmarks/plain.py`, under bf16 autocast, as a good first
implementation would run it; the library's step runs in the precision that it chooses for the machine, and in bf16.
`aasp_base` is measured with two clips (of sixteen views) per step: the FLOPs per clip are the same with forty-eight.
Both are measured with the plain step's features: patches of 16 x 16, no codes, class tokens in the contrast, AdamW.
"""

from __future__ import annotations

import torch

from aasp.config import with_fields
from aasp.planning.step import step_cost
from aasp.training.precision import has_fast_bf16
from harness import Row, Spread, alternately, options, ratio, report
from peak import flops, products_of, seconds_of
from plain import plain_step
from steps import library_step, sized

PLAIN = {
    "model.stem.patch": (16, 16),
    "codebook": "none",
    "losses.compared": "class",
    "optimizer.matrices": "adamw",
}
BARS = {"aasp_tiny": ">= 0.3", "aasp_base": ">= 0.55"}


def measured(name: str, clips: int | None, rounds: int, device: torch.device) -> list[Row]:
    """The rows of one recipe."""
    recipe = with_fields(sized(name, clips), PLAIN)
    chosen = "bf16" if has_fast_bf16(device) else "fp32"
    steps = {
        "ours": library_step(recipe, chosen, device),
        "ours in bf16": library_step(recipe, "bf16", device),
        "plain": plain_step(recipe, "bf16", device),
        "plain, sampled queries": plain_step(recipe, "bf16", device, every_query=False),
        f"plain in {chosen}": plain_step(recipe, chosen, device),
    }
    products = products_of(steps["ours"])
    model, alone = step_cost(recipe).total.flops, sum(count * flops(product) for product, count in products.items())
    took: dict[str, list[float]] = {}
    peaks: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    for number in range(rounds):  # the peak is measured between rounds, under the same noise
        for which, seconds in alternately(steps, 1, warmup=number == 0).items():
            took.setdefault(which, []).extend(seconds)
        for dtype, rates in peaks.items():
            rates.append(alone / seconds_of(products, dtype, device))
    rows = []
    rate = {dtype: f"{Spread.of(rates).median / 1e9:.0f} GFLOP/s" for dtype, rates in peaks.items()}
    text = f"{model / 1e9:.1f} GFLOP a step; the same products alone: {rate[torch.bfloat16]} in bf16"
    for which, dtype, bar in (
        ("ours", torch.bfloat16, BARS.get(name, "")),
        ("ours in bf16", torch.bfloat16, BARS.get(name, "")),
        ("ours", torch.bfloat16 if chosen == "bf16" else torch.float32, ""),
    ):
        used = ratio([model / peak for peak in peaks[dtype]], took[which])
        precision = chosen if which == "ours" else "bf16"
        of = "bf16" if dtype == torch.bfloat16 else "fp32"
        detail = f"{text}, {rate[torch.float32]} in fp32; {sorted(took[which])[rounds // 2]:.3g} s a step"
        rows.append(Row(f"{name}, {precision}: share of the {of} peak", used, bar, detail))
    per_second = lambda which: recipe.data.batch / sorted(took[which])[rounds // 2]
    for over, under, bar, what in (
        ("plain", "ours", ">= 3", f"clips a second, {chosen}, against the plain step in bf16"),
        ("plain, sampled queries", "ours", "", f"the same, {chosen}, when the plain step samples its queries too"),
        ("plain", "plain, sampled queries", "", "of it due to sampled queries: the plain step, with against without"),
        ("plain", "ours in bf16", "", "clips a second, bf16, against the plain step in bf16"),
        (f"plain in {chosen}", "ours", "", f"clips a second, {chosen}, against the plain step in {chosen}"),
    ):
        detail = f"{per_second(under):.3g} against {per_second(over):.3g} clips/s"
        rows.append(Row(f"{name}: {what}", ratio(took[over], took[under]), bar, detail))
    return rows


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--recipes", nargs="+", default=["aasp_tiny", "aasp_base"])
    parser.add_argument("--clips", type=int, help="clips a step; the recipe's own by default, two of aasp_base")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    rows = [row for name in arguments.recipes for row in measured(name, arguments.clips, arguments.rounds, device)]
    report("step", rows, arguments.threads)


if __name__ == "__main__":
    main()
