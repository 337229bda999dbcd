"""A model card from a run's records, and uploading a model with its card."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData

from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.evaluate.records import Record, find_records
from aasp.evaluate.summary import Summary, summarise, versions
from aasp.hf.base import AaspPreTrainedModel
from aasp.hf.models import AaspForAudioClassification
from aasp.markup import in_markdown
from aasp.training.run import Run
from aasp.training.tracking import read_starts

Scored = tuple[Record, Summary]


def model_card(
    model: AaspPreTrainedModel,
    repo: str,
    *,
    license: str | None = None,
    run: str | Path | None = None,
    results: Sequence[str | Path] = (),
    datasets: Sequence[str] = (),
) -> ModelCard:
    """The card of a model: description, training and results.

    Args:
        model: the model.
        repo: its name on the hub, as in "you/birds".
        license: licence of the weights, by its name on the hub ("apache-2.0", "cc-by-4.0", …); only you can state it.
        run: the run of `aasp pretrain` or `aasp finetune` that made the model.
        results: result files of `aasp linear` or `aasp finetune`, or folders of them, all of this model.
        datasets: names on the hub of its training sets.

    Raises:
        AaspError: the run or a result can't be read, or results are of several models.
    """
    scored = list(_summaries(results)) if results else []
    classifies = isinstance(model, AaspForAudioClassification)
    data = ModelCardData(
        license=license,
        library_name="aasp",
        tags=["aasp", "audio", "audio-spectrogram-transformer"],
        pipeline_tag="audio-classification" if classifies else "feature-extraction",
        datasets=list(datasets) or None,
        model_name=repo.rpartition("/")[2],
        eval_results=[_eval_result(*one) for one in scored] or None,
    )
    text = Template(files("aasp.hf").joinpath("card.md").read_text(encoding="utf-8")).substitute(
        name=repo.rpartition("/")[2],
        repo=repo,
        what=_what(model.config, classifies),
        auto="AutoModelForAudioClassification" if classifies else "AutoModel",
        model=_model(model),
        training=_training(Path(run)) if run is not None else "Not recorded.",
        results=_results(scored) if scored else "None recorded.",
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def push_to_hub(
    model: AaspPreTrainedModel,
    repo: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = "Upload model",
    **card: Any,
) -> str:
    """Upload a model to the hub with its card, which replaces an existing one.

    Args:
        model: the model.
        repo: its name on the hub, as in "you/birds".
        private, token, commit_message: as in `huggingface_hub`.
        card: `license`, `run`, `results` and `datasets`, as in `model_card`.

    Returns:
        The model's URL.

    Raises:
        AaspError: as `model_card` does, before anything is uploaded.
        OSError: the hub can't be reached or refuses, as `huggingface_hub` reports it.
    """
    made = model_card(model, repo, **card)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        made.save(Path(folder) / "README.md")
        there = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=there.repo_id, folder_path=folder, commit_message=commit_message)
    return str(there)


def _summaries(results: Sequence[str | Path]) -> Iterator[Scored]:
    """For each benchmark, protocol and metric the largest group of matching seeds and folds."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in find_records(results):
        groups[record.benchmark, record.protocol, record.recipe, record.metric].append(record)
    # A fine-tuning has a record for the model of each fold and seed.
    frozen = (record for group in groups.values() for record in group if record.protocol != "finetune")
    models = {record.model_hash for record in frozen}
    if len(models) > 1:
        note = f"results of {len(models)} models"
        raise AaspError(f"{', '.join(map(str, results))}: {note}; name those of the one that the card is of")
    for group in groups.values():
        records = versions(group)[0]
        yield records[0], summarise(records)


def _eval_result(record: Record, found: Summary) -> EvalResult:
    return EvalResult(
        task_type="audio-classification",
        dataset_type=record.benchmark,
        dataset_name=record.benchmark,
        dataset_split=found.split or None,
        metric_type=record.metric.lower(),
        metric_name=f"{record.metric}, {record.protocol}",
        metric_value=round(float(found.exactly(found.mean)), 2 if found.share else 6),
    )


def _what(config: Any, classifies: bool) -> str:
    front = config.audio_encoder.frontend
    takes = f"It takes waveforms of any length at {front.rate:,} Hz"
    if classifies:
        labels = list((config.id2label or {}).values())
        if config.problem_type == "regression":
            return f"An audio spectrogram transformer that predicts a number, {labels[0]}. {takes}."
        shown = ", ".join(in_markdown(name) for name in labels[:10]) + (", …" if len(labels) > 10 else "")
        return f"An audio spectrogram transformer that names classes. {takes}; its {len(labels)} classes: {shown}."
    return f"An audio spectrogram transformer. {takes} and gives a vector a clip, and one for each time patch."


def _model(model: AaspPreTrainedModel) -> str:
    c = model.config.audio_encoder
    rows = {
        "parameters": f"{sum(one.numel() for one in model.parameters()):,}",
        "tokens": f"{c.encoder.width} wide, {c.encoder.depth} blocks of {c.encoder.heads} heads",
        "patch stride": f"{c.stem.patch[0]} frames × {c.stem.patch[1]} bins",
        "frames": f"{c.frontend.bins} bins, {c.frontend.frame_rate:g} a second",
        "window": f"{c.window_seconds:g} s; longer clips in windows that overlap by half",
    }
    return _table(("", ""), rows.items())


def _training(run: Path) -> str:
    """Recipe and data of a run."""
    place = Run(run)
    try:
        recipe = read_object(place.recipe, "name another run")
        last: Mapping[str, Any] = read_starts(place.environment)[-1]
        rows = {
            "recipe": f"{recipe['name']}, {recipe.get('steps', '?'):,} steps, seed {recipe.get('seed', '?')}",
            "data": f"{last['files']:,} files, {last['hours']:,.2f} hours" if "files" in last else "not recorded",
            "on": f"{last['device']} in {last['precision']}, torch {last['torch']}",
            "aasp": str(last["aasp"]) + (f", commit {last['commit'][:7]}" if last.get("commit") else ""),
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        note = f"no recipe.json and environment.json of a run in {run}"
        raise AaspError(f"{note}; name the folder that aasp pretrain or aasp finetune wrote") from None
    return _table(("", ""), rows.items())


def _results(scored: Sequence[Scored]) -> str:
    rows = []
    for record, found in scored:
        spread = ""
        if found.interval is not None:
            spread = f" ({' to '.join(map(found.text, found.interval))})"
        elif found.deviation is not None:
            spread = f" ± {found.text(found.deviation)} over {found.over}"
        missing = f", {found.missing:,} of the set missing" if found.missing else ""
        value = f"{found.text(found.mean)}{spread}"
        rows.append((record.benchmark, record.protocol, record.metric, value, f"{found.clips:,}{missing}"))
    return _table(("benchmark", "protocol", "metric", "per cent; R2 and MAE as they are", "clips"), rows)


def _table(head: Sequence[str], rows: Any) -> str:
    lines = ["| " + " | ".join(map(in_markdown, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
