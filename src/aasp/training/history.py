"""The history of a run beyond its recipe, stored in every checkpoint.

A run from random weights that was never extended and whose data never changed has no history, and its checkpoints
store none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aasp.datasets.pipeline import DATA, OF_PROCESSES, CropPipeline, named_difference
from aasp.documents import as_written
from aasp.errors import AaspError
from aasp.training import checkpoint
from aasp.training.run import starting_point


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run resumes from, without its tensors.

    Attributes:
        path: the checkpoint's folder.
        step: the step after which it was saved.
        state: the rest of its `state.json`.
    """

    path: Path
    step: int
    state: Mapping[str, Any]

    @classmethod
    def of(cls, out: str | Path, resume: str | Path) -> Start | None:
        """The checkpoint from which a run in `out` would continue; None for a new start.

        Raises:
            AaspError: `resume` has no checkpoint, or it is damaged.
        """
        path = starting_point(out, resume)
        return None if path is None else cls(path, *checkpoint.read_state(path))

    def check(self, fingerprint: str) -> None:
        """Check that it belongs to the recipe with this fingerprint.

        Raises:
            AaspError: it belongs to another recipe.
        """
        if self.state.get("fingerprint") != fingerprint:
            text = "resume with its recipe and data, or start in a new --out"
            raise AaspError(f"checkpoint of another run: {self.path}; {text}")

    def within(self, out: str | Path) -> bool:
        """Whether it is a checkpoint of the run in `out`."""
        return Path(out).resolve() in self.path.resolve().parents

    @property
    def history(self) -> History:
        """The history stored in the checkpoint.

        Raises:
            AaspError: the history in the checkpoint's state is malformed.
        """
        with as_written(self.path / "state.json", "move the checkpoint away to resume from the one before it"):
            past = self.state.get("history", {})
            origin, extended, changed = (past.get(name) for name in ("started_from", "extended", "data_changed"))
            return History(
                None if origin is None else dict(origin),
                tuple({"step": int(one["step"]), "steps": int(one["steps"])} for one in extended or ()),
                tuple(
                    {"step": int(one["step"]), "was": dict(one["was"]), "is": dict(one["is"])} for one in changed or ()
                ),
            )


@dataclass(frozen=True)
class History:
    """The history of a run; every entry is JSON-able.

    Attributes:
        started_from: the model whose weights the run started from; None for random weights.
        extended: one entry per extension: "step", the steps of the run until then, and "steps", the steps added.
        data_changed: one entry per change of the data: "step", and the values that changed, as "was" and "is".
    """

    started_from: Mapping[str, Any] | None = None
    extended: tuple[Mapping[str, int], ...] = ()
    data_changed: tuple[Mapping[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """The history as JSON values."""
        parts = {
            "started_from": self.started_from,
            "extended": list(self.extended),
            "data_changed": list(self.data_changed),
        }
        return {name: part for name, part in parts.items() if part}

    def steps(self, recipe: int) -> int:
        """Total steps of a run whose recipe has `recipe` steps."""
        return recipe + sum(extension["steps"] for extension in self.extended)

    def from_origin(self, start_from: str | Path | None) -> History:
        """Return this history, if the run started from the requested model or no model is requested.

        Raises:
            AaspError: the run started from something else.
        """
        known = (self.started_from or {}).get("model")
        if start_from is not None and str(Path(start_from)) != known:
            text = f"the run to resume started from {known or 'random weights'}"
            raise AaspError(f"--from {start_from}: {text}; choose another --out, or leave out --from to resume it")
        return self

    def extended_by(self, more: int | None, start: Start | None, recipe: int) -> History:
        """This history with an extension by `more` steps added, unless the run is already in that extension.

        Raises:
            AaspError: there is no run, it is not finished, or `more` is less than 1.
        """
        if more is None:
            return self
        if more < 1:
            raise AaspError(f"--extend is {more}; give a number of at least 1")
        if start is None:
            raise AaspError(f"--extend {more}: --out holds no run to resume; leave it out to start one")
        steps = self.steps(recipe)
        if start.step >= steps:
            return replace(self, extended=(*self.extended, {"step": steps, "steps": more}))
        if self.extended and self.extended[-1]["steps"] == more:
            return self
        text = f"{start.path} is at step {start.step:,} of {steps:,}"
        raise AaspError(f"--extend {more}: {text}; run the same command without it to finish first")

    def with_data(self, pipeline: CropPipeline, start: Start, allowed: bool) -> History:
        """This history with the change of the data added, if there is one.

        Raises:
            AaspError: the data changed, and this is not allowed.
        """
        try:
            differences = pipeline.differences(start.state["processes"][0]["data"])
        except (KeyError, IndexError, TypeError):
            raise AaspError(f"damaged checkpoint: {start.path / 'state.json'}: incomplete; move it away") from None
        regrouped = OF_PROCESSES if "world" in differences else ()
        changed = {name: both for name, both in differences.items() if name in DATA and name not in regrouped}
        if not changed:
            return self
        if not allowed:
            name, (was, now) = next(iter(changed.items()))
            remedy = "give that run's data, or add --data-changed to continue with the current data"
            raise AaspError(f"data of another run: {pipeline.source}: {named_difference(name, was, now)}; {remedy}")
        was, now = ({name: both[side] for name, both in changed.items()} for side in (0, 1))
        return replace(self, data_changed=(*self.data_changed, {"step": start.step, "was": was, "is": now}))

    def since(self, start: Start | None) -> list[str]:
        """The entries added since a checkpoint's history, as lines of text."""
        before = History() if start is None else start.history
        lines = [
            f"extended at step {extension['step']:,} by {extension['steps']:,} steps"
            for extension in self.extended[len(before.extended) :]
        ]
        for change in self.data_changed[len(before.data_changed) :]:
            changes = [named_difference(name, was, change["is"][name]) for name, was in change["was"].items()]
            lines.append(f"data changed at step {change['step']:,}: {', '.join(changes)}")
        return lines
