"""The history of a run beyond its recipe, stored in every checkpoint.

A run that was never extended, started from random weights and kept its data has no history, and its checkpoints hold
none.
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
    """The checkpoint that a run resumes from, as far as its `state.json` says.

    Attributes:
        path: of the checkpoint.
        step: after how many steps it was taken.
        state: the rest.
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
        """Check that it is of a recipe.

        Raises:
            AaspError: it is another one's.
        """
        if self.state.get("fingerprint") != fingerprint:
            text = "resume with its recipe and data, or start in a new --out"
            raise AaspError(f"checkpoint of another run: {self.path}; {text}")

    def within(self, out: str | Path) -> bool:
        """Whether it is one of the run in `out`."""
        return Path(out).resolve() in self.path.resolve().parents

    @property
    def history(self) -> History:
        """The history in a checkpoint.

        Raises:
            AaspError: the checkpoint's state does not say it.
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
    """A run's past; every entry is JSON-able.

    Attributes:
        started_from: the model whose weights it started from; None for random ones.
        extended: each time it was extended: "step", when its steps were done, and "steps", how many more it was given.
        data_changed: each time it went on with other data: "step", and what "was" and "is".
    """

    started_from: Mapping[str, Any] | None = None
    extended: tuple[Mapping[str, int], ...] = ()
    data_changed: tuple[Mapping[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """Its JSON form."""
        parts = {
            "started_from": self.started_from,
            "extended": list(self.extended),
            "data_changed": list(self.data_changed),
        }
        return {name: part for name, part in parts.items() if part}

    def steps(self, recipe: int) -> int:
        """All steps of a run whose recipe has so many."""
        return recipe + sum(extension["steps"] for extension in self.extended)

    def from_origin(self, start_from: str | Path | None) -> History:
        """This history, if the run started from the requested model, or none is requested.

        Raises:
            AaspError: the run started from something else.
        """
        known = (self.started_from or {}).get("model")
        if start_from is not None and str(Path(start_from)) != known:
            text = f"the run to resume started from {known or 'random weights'}"
            raise AaspError(f"--from {start_from}: {text}; choose another --out, or leave out --from to resume it")
        return self

    def extended_by(self, more: int | None, start: Start | None, recipe: int) -> History:
        """With an extension by so many steps, unless it is under way already.

        Raises:
            AaspError: there is no run, it is not finished, or there are no steps.
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
        """With a change of the data, if there is one.

        Raises:
            AaspError: there is one, and it is not allowed.
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
        """The changes to a checkpoint's history, as lines."""
        before = History() if start is None else start.history
        lines = [
            f"extended at step {extension['step']:,} by {extension['steps']:,} steps"
            for extension in self.extended[len(before.extended) :]
        ]
        for change in self.data_changed[len(before.data_changed) :]:
            changes = [named_difference(name, was, change["is"][name]) for name, was in change["was"].items()]
            lines.append(f"data changed at step {change['step']:,}: {', '.join(changes)}")
        return lines
