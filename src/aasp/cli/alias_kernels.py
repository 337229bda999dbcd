"""`aasp alias kernels`: decays and frequencies on real clips, and the modulation response of a stem's kernels."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.cli.inputs import check_files, check_order
from aasp.cli.progress import bar
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError
from aasp.files import atomic_write, check_output


@dataclass(frozen=True, kw_only=True)
class Kernels(DeviceOptions):
    """Measure decays, frequencies and kernels of a model on some clips, for OUT/kernels.json and `aasp alias report
    OUT`.

    For a stem that estimates decay and frequency: their distribution, their distance from the initial values, how much
    depends on the sound, and the effect of replacing them with one shared set. For any stem: its temporal kernels.
    Intervals are 95 % bootstraps over the clips.
    """

    model: tyro.conf.Positional[str]
    """Folder of a model or of a run, a model on the hub, or a stem; encoders of waveforms are not supported. With a
    run, the seed of its initial weights is known."""
    files: tyro.conf.Positional[tuple[str, ...]]
    """Sound files; the first three are drawn."""
    out: Path
    """Folder to write kernels.json to."""
    overwrite: bool = False
    """Replace an existing file."""


def run(argv: list[str]) -> int:
    arguments = parse(Kernels, argv, prog="aasp alias kernels")
    if not arguments.files:
        raise AaspError("no sound files; name one or more after the model")
    check_order((arguments.model, *arguments.files), "alias kernels", argv)
    check_files(arguments.files, ["alias", "kernels", *argv])
    file = check_output(arguments.out / "kernels.json", overwrite=arguments.overwrite)

    from aasp.aliasing.kernels.departure import origin
    from aasp.aliasing.kernels.document import measure
    from aasp.encoders import open_adapter
    from aasp.evaluate.records import software

    adapter = open_adapter(arguments.model, arguments.device)
    with bar("reading kernels") as show:
        found = measure(adapter, arguments.files, origin(arguments.model), show)
    found |= {
        "command": shlex.join(["aasp", "alias", "kernels", *argv]),
        "software": software(),
    }
    with atomic_write(file) as beside:
        beside.write_text(json.dumps(found) + "\n", encoding="utf-8")
    _show(found)
    print(f"{file}; `aasp alias report {arguments.out}` draws it")
    return 0


def _show(found: dict[str, Any]) -> None:
    from aasp.aliasing.kernels.departure import conclusion
    from aasp.aliasing.kernels.estimates import number, percent
    from aasp.report.rates import hertz_label

    linear, low = found["linear"], found["band_hz"][0]
    rows = {"clips": len(found["clips"]), f"kernels' power beyond {hertz_label(low)} Hz": percent(linear["beyond"])}
    if "parameters" in found:
        for name, title in (("alpha", "decays"), ("beta", "frequencies")):
            one = found["parameters"][name]
            low_end, high_end = one["saturation"]["low"]["estimate"], one["saturation"]["high"]["estimate"]
            rows |= {
                f"{title} from their start": f"{percent(one['distance'])} of the range",
                f"{title} of an untrained stem": percent(one["distance at start"]),
                f"{title} at a bound": f"{number(low_end)} % below, {number(high_end)} % above",
                f"{title}' variance with the sound": percent(one["variance"]["sound"]),
            }
        for how, title in (("shared", "parameters shared"), ("off", "unit off")):
            rows[f"tokens change, {title}"] = f"{percent(found['interventions'][how]['tokens'])} of their spread"
    facts(f"kernels of {found['subject']}", rows)
    if found.get("departure"):
        print(conclusion(found["departure"]))
