"""Predictors with one signature: context tokens, visible and hidden positions, the grid, and which are valid."""

from __future__ import annotations

from dataclasses import dataclass, field

from aasp.config import ADDED_LATER, check_range
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
    """Form and size of a predictor whose width differs from the encoder's.

    Attributes:
        form: "cross": attention of queries to visible tokens; "self": self-attention of visible tokens and queries
            together; "conv": 3 x 3 convolutions on the grid, with mask tokens at hidden patches; "window":
            self-attention in windows of 4 x 4 patches of that grid, as in Audio-MAE's decoder; "weighted":
            cross-attention to a learned mixture of the encoder's layers per block, as in CrossMAE, for methods that
            provide the layers.
        depth: number of blocks.
        width: width W, a multiple of heads and of 4.
        heads: attention heads; for "conv", groups of the convolutions.
        context_positions: add position embeddings to the visible tokens too, and not to the queries alone; for "cross"
            and "weighted", since the other forms always do.
    """

    form: str = "cross"
    depth: int = 4
    width: int = 192
    heads: int = 6
    context_positions: bool = field(default=False, metadata=ADDED_LATER)

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
        width: width of the encoder.
        outputs: width of the targets.
        layers: number of layers in the method's context; 0 if it is only the encoder's output.

    Raises:
        AaspError: the form needs all layers, which the method does not provide.
    """
    if config.form != "weighted":
        return FORMS[config.form](config, width, outputs)
    if not layers:
        text = "mixes the encoder's layers, which this method does not give"
        raise AaspError(f"predictor: form weighted {text}; choose cross, or method=mae")
    return WeightedCrossPredictor(config, width, outputs, layers)


__all__ = ["FORMS", "ConvolutionDecoder", "DecoderConfig", "Predictor", "PredictorConfig", "build_predictor"]
