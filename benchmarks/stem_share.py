"""The share of the AaPE stem, Lambda Encoder included, in a whole pre-training step.

usage: python benchmarks/stem_share.py [--recipes aasp_tiny aasp_base] [--clips N] [--threads N] [--rounds N]

The step with AaPE against the step with the conv stem, everything else equal: the cost of AaPE is the difference, its
share the difference over the step with AaPE. Student's and teacher's stem both count.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from aasp.stems.conv import ConvConfig
from aasp.training.precision import has_fast_bf16
from harness import Row, Spread, alternately, options, report
from steps import library_step, sized

BARS = {"aasp_tiny": "<= 0.2", "aasp_base": "<= 0.1"}


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--recipes", nargs="+", default=["aasp_tiny", "aasp_base"])
    parser.add_argument("--clips", type=int, help="clips a step; the recipe's own by default, two of aasp_base")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    chosen = "bf16" if has_fast_bf16(device) else "fp32"
    rows = []
    for name in arguments.recipes:
        recipe = sized(name, arguments.clips)
        conv = replace(recipe, model=replace(recipe.model, stem=ConvConfig(patch=recipe.model.stem.patch)))
        steps = {"aape": library_step(recipe, chosen, device), "conv": library_step(conv, chosen, device)}
        took = alternately(steps, arguments.rounds)
        share = Spread.of([1 - b / a for a, b in zip(took["aape"], took["conv"], strict=True)])
        middle = {stem: sorted(seconds)[arguments.rounds // 2] for stem, seconds in took.items()}
        detail = f"{middle['aape']:.3g} s with AaPE, {middle['conv']:.3g} s with the convolution"
        rows.append(Row(f"{name}, {chosen}", share, BARS.get(name, ""), detail))
    report("stem_share", rows, arguments.threads)


if __name__ == "__main__":
    main()
