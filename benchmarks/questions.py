"""`aasp_tiny` with one change each: what the open questions in docs/results.md are answered with.

    python benchmarks/glides.py sounds
    aasp compare aasp_tiny benchmarks/questions.py:fixed ... --data $AASP_DATA/pool_open.csv --minutes 2 --seeds 2 \
        --threads 1 --workers 1 --precision bf16 --last-only --out questions --benchmarks ... modulations \
        sounds/glides/index.csv:label:split:voice sounds/vibrato/index.csv:label:split:voice
"""

from dataclasses import replace

from aasp.features.bands import LogFrequencyConfig
from aasp.features.logmel import LogMelConfig
from aasp.features.sblu import SBLUBankConfig
from aasp.pretrain.recipes import aasp_tiny
from aasp.pretrain.systems.scale import PATCH
from aasp.stems.aape import AaPEConfig

FREE = {"encoder_rate": 10.0, "encoder_gain": 10.0, "alpha_range": (0.005, 2.0)}
"""A Lambda Encoder that learns faster, and estimates that reach further."""


def changed(name, frontend=None, losses=None, patch=PATCH, **stem):
    """`aasp_tiny` with another front end, other weights of losses, or other settings of the stem."""
    recipe = aasp_tiny()
    model = replace(recipe.model, stem=AaPEConfig(patch=patch, **stem))
    if frontend is not None:
        model = replace(model, frontend=frontend)
    method = replace(recipe.method, losses=replace(recipe.method.losses, **(losses or {})))
    return replace(recipe, name=name, model=model, method=method)


mixed = lambda: changed("mixed", losses={"retention": 1.0})
chirp = lambda: changed("chirp", chirp=True)
fixed = lambda: changed("fixed", parameters="fixed")
wide_fixed = lambda: changed("wide_fixed", taps=48, parameters="fixed")
free_spectrum = lambda: changed("free_spectrum", losses={"spectrum": 0.1}, **FREE)
wide_free_spectrum = lambda: changed("wide_free_spectrum", losses={"spectrum": 0.1}, taps=48, **FREE)
shared = lambda: changed("shared", shared=(2, 2))
cqt = lambda: changed("cqt", frontend=LogFrequencyConfig())
waveform = lambda: changed("waveform", frontend=SBLUBankConfig())
hop4 = lambda: changed("hop4", frontend=LogMelConfig(hop_ms=4.0), patch=(20, 32), taps=40)
