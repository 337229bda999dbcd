"""The format of a metric's values: accuracies in per cent, their differences in points, others unchanged."""

from __future__ import annotations


class Unit:
    """The unit of a metric.

    Args:
        metric: as in `Scores.metric`.

    Attributes:
        scale: factor from a value to the displayed number.
        axis: label of a figure's axis of differences.
        about: name of the scores, with their unit.
        name: unit after the number of a difference.
    """

    def __init__(self, metric: str) -> None:
        share = metric == "accuracy"
        self.scale, self._digits, self.name = (100, 1, " points") if share else (1, 2, "")
        self.axis = "points of accuracy" if share else metric
        self.about = "accuracy, %" if share else metric

    def text(self, value: float, sign: str = "+") -> str:
        """A value as text; `sign` is the sign option of its format, "" for none."""
        return f"{self.scale * value:{sign}.{self._digits}f}".replace("-", "−")
