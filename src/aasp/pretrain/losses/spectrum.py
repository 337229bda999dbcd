"""Modulation spectra of patches, predicted from Lambda: makes the Lambda Encoder depend on the content of each patch.

    s_k = log(1e-3 + mean over mel bins of |sum_t (x_t - mean x) exp(-2 pi i k t / P)|^2 / P)        k = 1 .. P / 2
    loss = mean over patches and k of (A Lambda - s)_k^2,        s to mean 0 and deviation 1 over the batch, for each k

so that a constant prediction has loss 1. A is linear, so Lambda must encode the spectrum linearly.

Legend: B clips, N = G x F patches of P frames x R mel bins, S states; Lambda consists of alpha, beta (and gamma) of
each state, as shares of their ranges. Source: ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aasp.casting import widened, without_autocast
from aasp.errors import AaspError
from aasp.pretrain.losses.valid import Gather, alone, valid_mean
from aasp.stems.aape import AaPE
from aasp.stems.contract import Stem
from aasp.stems.lambda_encoder import gamma_range


def modulation_spectra(patches: Tensor) -> Tensor:
    """Log-power (..., P // 2) of patches (..., P, R) at each whole number of periods per patch."""
    centred = patches - patches.mean(-2, keepdim=True)
    power = torch.fft.rfft(centred, dim=-2)[..., 1:, :].abs().square().mean(-1) / patches.shape[-2]
    return torch.log(1e-3 + power)


def spectrum_loss(predicted: Tensor, spectra: Tensor, valid_BN: Tensor | None = None, gather: Gather = alone) -> Tensor:
    """Mean squared error of predictions (B, N, K) of spectra (B, N, K), standardised over valid patches.

    Statistics are of the patches of all processes; the result is this process's part, as of `valid_mean`.
    """
    valid = torch.ones_like(spectra[..., :1]) if valid_BN is None else valid_BN[..., None].to(spectra.dtype)
    total = lambda x: gather((x * valid).sum((0, 1))[None])[0].sum(0)
    count = total(torch.ones_like(spectra))
    centred = spectra - total(spectra) / count
    standardised = centred * torch.rsqrt(total(centred.square()) / count + 1e-5)
    return valid_mean((predicted - standardised).square(), valid.expand_as(spectra), gather)


class SpectrumHead(nn.Module):
    """The linear map from Lambda to modulation spectra, and its loss.

    Args:
        stem: the stem that estimates Lambda.

    Raises:
        AaspError: the stem estimates none.
    """

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        if not isinstance(stem, AaPE) or stem.config.parameters != "estimated":
            text = "losses.spectrum predicts from what AaPE estimates of a patch, and this stem estimates nothing"
            raise AaspError(f"{text}; set model.stem=aape model.stem.parameters=estimated, or losses.spectrum=0")
        self.head = nn.Linear((2 + stem.config.chirp) * stem.count, stem.patch[0] // 2)

    def forward(self, stem: AaPE, mel_BTM: Tensor, valid_BN: Tensor | None, gather: Gather = alone) -> Tensor:
        """The loss for unmasked log-mels (B, T, M); no gradient flows through the targets."""
        patches = stem.cut(mel_BTM)
        bounds = (*stem.bounds, gamma_range(stem.patch[0]))
        parameters = zip(stem.parameters_of(patches), bounds, strict=False)
        shares = torch.cat([2 * (one - low) / (high - low) - 1 for one, (low, high) in parameters], dim=-1)
        predicted = self.head(shares.flatten(1, 2))
        with without_autocast(mel_BTM):
            spectra = modulation_spectra(widened(patches.detach())).flatten(1, 2)
            return spectrum_loss(widened(predicted), spectra, valid_BN, gather)
