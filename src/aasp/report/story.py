"""The demo's report: which figures it has, and the words between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aasp.report.embedding_map import embedding_map
from aasp.report.findings import Estimates
from aasp.report.first_look import DRAWS, FirstLook, few_labels_table, named, neighbours_table
from aasp.report.kernels import frequency_responses, kernel_shape
from aasp.report.learning import learning_curves
from aasp.report.page import Section, page
from aasp.report.rates import (
    decay_over_frequency,
    density,
    found_against_true,
    frequency_histogram,
    hertz_label,
    shares,
)
from aasp.report.scores import TaskScores, answer, score_table
from aasp.report.spectrogram import Spectrogram, masked_view, patch_rates, spectrogram
from aasp.report.style import SECOND
from aasp.stems.lambda_encoder import ALPHA_RANGE

TITLE = "What a small transformer tells of sounds that it was never trained on"
LEAD = """The model that comes with this package learned from eleven hours of other sound, without labels. It is shown
notes of instruments and modulated signals: first as it comes, with a few labels or none; then trained on for three
minutes on some of these sounds; each beside an untrained network and plain statistics of the spectrogram."""


@dataclass(frozen=True)
class Found:
    """A clip and what the stem looks at in it: rates (G, F) in Hz of the strongest states, their strengths (G, F)."""

    name: str
    clip: Spectrogram
    rate_hz: np.ndarray
    strength: np.ndarray


@dataclass(frozen=True)
class Story:
    """All that the report tells, as arrays.

    Attributes:
        patch_ms: duration of a patch.
        bands: patches above each other.
        band: what the patches by themselves would alias, Hz.
        look: what vectors tell without training.
        tasks: scores, the encoder that was trained on first.
        metrics: lines of the run's `metrics.jsonl`.
        clip: a clip, and `visible` (V, n): the patches that its masked views see.
        found: a few clips.
        now: estimates of the trained stem on clips of known modulation rate; `start`, of the untrained one.
        true_hz: the clips' modulation rates in Hz, shape (B,).
        kernels: real (S, K), imaginary (S, K), frequency in Hz (S,).
        frame_rate: frames per second.
        maps: by encoder, its notes on a plane (n, 2), with `families` (n,).
        facts: how it was made, HTML by term.
    """

    patch_ms: float
    bands: int
    band: tuple[float, float]
    look: FirstLook
    tasks: Sequence[TaskScores]
    metrics: Sequence[Mapping[str, float | None]]
    clip: Spectrogram
    visible: np.ndarray
    found: Sequence[Found]
    now: Estimates
    start: Estimates
    true_hz: np.ndarray
    kernels: tuple[np.ndarray, np.ndarray, np.ndarray]
    frame_rate: float
    maps: Mapping[str, np.ndarray]
    families: np.ndarray
    facts: Mapping[str, str]


def tell(story: Story, *, eyebrow: str) -> str:
    """The report as one HTML page."""
    result = Section(
        "What a linear probe can read",
        """Each encoder is frozen. A linear classifier is trained on its embeddings of some instruments and voices and
        asked about others; layer, pooling and penalty are chosen on a third group, for every encoder alike.""",
        [score_table(story.tasks)],
        """Accuracy in per cent on the test clips. <b>Dot:</b> the score. <b>Bar:</b> its 95 % interval, had other
        instruments or voices been drawn. <b>Dashes:</b> always guessing the commonest answer. Differences are paired,
        clip by clip.""",
        layout="table",
    )
    sections = [*_first(story), _learning(story), _masks(story), result, _rates(story), _kernels(story)]
    words = {"eyebrow": eyebrow, "title": TITLE, "lead": LEAD}
    return page(**words, answers=[named(story.look), answer(story.tasks)], sections=sections, facts=story.facts)


def _first(story: Story) -> list[Section]:
    few = Section(
        "A few labels",
        """Each family of instruments is the mean vector of a few labelled notes; a note of an instrument that is not
        among them is given the nearest. Nothing is trained.""",
        [few_labels_table(story.look.few, story.look.chance)],
        f"""Accuracy in per cent, mean over {DRAWS} draws of the labelled notes. <b>Bar:</b> its 95 % interval, had
        other instruments been drawn. <b>Dashes:</b> always guessing the commonest family.""",
        layout="table",
    )
    near = Section(
        "The most similar notes",
        """Some notes, each with its key (60 is the middle C), and the notes of other instruments whose vectors are most
        alike.""",
        [neighbours_table(story.look.asked, story.look.found)],
    )
    return [few, near, _maps(story)]


def _learning(story: Story) -> Section:
    return Section(
        "How it was trained on",
        """The student sees a part of each spectrogram. It learns to name each hidden patch, as one of some hundred
        typical ones, to predict what the teacher, a slowly moving average of itself, makes of it and of the clip as a
        whole, and to tell views of one clip from others.""",
        learning_curves(story.metrics),
        """Losses should fall, though not for ever: the teacher they are measured against improves too. The <b>rank</b>
        says how many dimensions the embeddings really use; a model that answers the same for every clip would fall to
        one. The last two say how much the stem's decay and frequency differ from patch to patch: almost fixed at the
        start, they rise if it pays to adapt them to the sound.""",
    )


def _masks(story: Story) -> Section:
    views = [masked_view(story.clip, visible, title=f"View {k}") for k, visible in enumerate(story.visible, start=1)]
    share = story.visible.shape[1] / np.prod(story.clip.grid)
    return Section(
        "What the student is shown",
        f"""Several masked views of every crop, each with another {100 * share:.0f} % of its patches. The teacher sees
        all of them.""",
        [spectrogram(story.clip, title="All of it, for the teacher"), *views],
        f"""A spectrogram: time runs to the right, pitch upwards, loudness is ink. A patch spans {story.patch_ms:.0f} ms
        and one of {story.bands} parts of the mel bands. What is faded is hidden: the student must predict it from the
        rest.""",
    )


def _rates(story: Story) -> Section:
    rates = sorted(set(story.true_hz.tolist()))
    found = [[_loud(estimates, story.true_hz == rate) for rate in rates] for estimates in (story.now, story.start)]
    start = (np.median(story.start.alpha, axis=(0, 1, 2)), np.median(story.start.beta_hz, axis=(0, 1, 2)))
    lie = [shares(estimates.beta_hz, story.band) for estimates in (story.start, story.now)]
    counts = density(story.now.alpha, story.now.beta_hz, ALPHA_RANGE, story.band)
    return Section(
        "Which modulations each patch looks at",
        f"""In every patch the stem estimates the decay α and frequency β of each of its states, from the sound in that
        patch alone. Frequencies are kept within {" to ".join(map(hertz_label, story.band))} Hz, the band that the
        patches by themselves would alias.""",
        [
            *(patch_rates(one.clip, one.rate_hz, one.strength, title=one.name, band=story.band) for one in story.found),
            frequency_histogram(*lie, title="Where the frequencies lie", band=story.band),
            decay_over_frequency(counts, start=start, bounds=ALPHA_RANGE, title="Decay and frequency", band=story.band),
            found_against_true(rates, found[0], title="Known modulations, trained", band=story.band),
            found_against_true(rates, found[1], title="Known modulations, untrained", color=SECOND, band=story.band),
        ],
        """<b>Tinted spectrograms:</b> hue is the rate that a patch's strongest state looks at, depth of colour how
        strongly it answers. <b>Known modulations:</b> for generated signals of each rate, the median (dot), the middle
        half (bar) and four fifths (line) of the loud patches; on the dashed line the stem looks where the modulation
        is. Rates below the grey band are too slow for it. <b>Decay and frequency:</b> darker where more states lie; a
        small α is a long, selective window, a large one a short, quick one.""",
    )


def _kernels(story: Story) -> Section:
    real, imag, hertz = story.kernels
    rate = story.frame_rate
    through = "What the kernels let through"
    chosen = np.unique(np.linspace(0, len(hertz) - 1, 3).round().astype(int))
    shapes = [kernel_shape(real[k], imag[k], frame_rate=rate, title=f"A kernel for {hertz[k]:.1f} Hz") for k in chosen]
    return Section(
        "The kernels",
        """Each state multiplies its patch with a complex sinusoid that fades to both sides of the centre: the
        structured bilateral Laplace unit. Here they are at the median of what the stem estimated.""",
        [*shapes, frequency_responses(real, imag, hertz, frame_rate=rate, title=through, band=story.band)],
        """<b>Kernels:</b> real and imaginary part, a quarter of a turn apart, so that a modulation is caught at any
        phase. <b>Responses:</b> one line a state, coloured by its frequency; the grey band is the alias-prone one. A
        window of 160 ms can't resolve much finer than 6 Hz: the lines are broad.""",
    )


def _maps(story: Story) -> Section:
    return Section(
        "A map of notes",
        """Notes of all instruments, placed so that those with similar embeddings lie together (t-SNE). No label was
        used to place them; colours tell the instrument family.""",
        [embedding_map(points, story.families, title=name) for name, points in story.maps.items()],
        """Islands of one colour are families that the encoder keeps apart by itself. Only neighbourhoods mean
        something; directions and distances between islands don't.""",
    )


def _loud(estimates: Estimates, clips: np.ndarray) -> np.ndarray:
    """Rates of the strongest states in those patches of some clips that answer at least a quarter as loud as any."""
    rate, strength = estimates.rate_hz[clips], estimates.strength[clips]
    return rate[strength > 0.25]
