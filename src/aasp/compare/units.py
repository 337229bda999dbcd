"""How values of a metric are written: accuracies in per cent, their differences in points, others as they are."""

from __future__ import annotations


class Unit:
    """The unit of a metric.

    Args:
        metric: as `Scores.metric` has it.

    Attributes:
        scale: of a value as it is written.
        axis: what a figure's axis of differences is called.
        about: what scores are.
        name: of differences, after their number.
    """

    def __init__(self, metric: str) -> None:
        share = metric == "accuracy"
        self.scale, self._digits, self.name = (100, 1, " points") if share else (1, 2, "")
        self.axis = "points of accuracy" if share else metric
        self.about = "accuracy, %" if share else metric

    def text(self, value: float, sign: str = "+") -> str:
        """A number, with its sign unless that is ""."""
        return f"{self.scale * value:{sign}.{self._digits}f}".replace("-", "−")
