"""Predictors, one signature: context tokens, where they are, where to predict, the grid, and what counts."""

from __future__ import annotations

from dataclasses import dataclass

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.pretrain.predictors.contract import Predictor, SizedPredictor
from aasp.pretrain.predictors.conv import ConvolutionDecoder, ConvolutionPredictor, DecoderConfig
from aasp.pretrain.predictors.cross import CrossPredictor
from aasp.pretrain.predictors.self_attention import SelfPredictor
from aasp.pretrain.predictors.weighted import WeightedCrossPredictor
from aasp.pretrain.predictors.window import WindowPredictor

FORMS: dict[str, type[SizedPredictor]] = {
    "cross": CrossPredictor,
    "self": SelfPredictor,
    "conv": ConvolutionPredictor,
    "window": WindowPredictor,
    "weighted": WeightedCrossPredictor,
}


@dataclass(frozen=True)
class PredictorConfig:
    """Form and size of a predictor with a width of its own.

    Attributes:
        form: "cross", attention of queries on visible tokens; "self", on visible tokens and queries together; "conv",
            3 x 3 convolutions on the grid, hidden patches filled in; "window", self-attention in windows of 4 x 4
            places of that grid, as Audio-MAE's decoder; "weighted", cross-attention of each block on a mixture of its
            own of the encoder's layers, as CrossMAE's, of methods that give them.
        depth: blocks.
        width: width W, a multiple of heads and of 4.
        heads: attention heads; groups of the convolutions.
    """

    form: str = "cross"
    depth: int = 4
    width: int = 192
    heads: int = 6

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise AaspError(f"predictor: form {self.form!r} is not one of {', '.join(FORMS)}")
        check_range(self, "predictor", "depth width heads", least=1)
        if self.width % self.heads or self.width % 4:
            raise AaspError(
                f"predictor: width {self.width} must be a multiple of 4 and of heads {self.heads}; change one of them"
            )


def build_predictor(config: PredictorConfig, width: int, outputs: int, layers: int = 0) -> Predictor:
    """The predictor of a configuration's form, from `width` channels to `outputs`.

    Args:
        config: its form and size.
        width: of the encoder.
        outputs: of the targets.
        layers: that the method's context holds; 0 where it is the encoder's output alone.

    Raises:
        AaspError: the form needs every layer, which the method does not give.
    """
    if config.form != "weighted":
        return FORMS[config.form](config, width, outputs)
    if not layers:
        text = "mixes the encoder's layers, which this method does not give"
        raise AaspError(f"predictor: form weighted {text}; choose cross, or method=mae")
    return WeightedCrossPredictor(config, width, outputs, layers)


__all__ = ["FORMS", "ConvolutionDecoder", "DecoderConfig", "Predictor", "PredictorConfig", "build_predictor"]
