"""`aasp label`: label an index in the browser, and write a classifier's predictions for every row."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import line
from aasp.errors import AaspError
from aasp.files import check_output, locked


@dataclass(frozen=True, kw_only=True)
class LabelIndex:
    """Label an index in the browser, on this machine: listen to a sound, press a key; most uncertain sounds first.

    A classifier on the index's vectors is retrained after every label. One sound in five is drawn at random from
    held-out recordings, which gives its accuracy. Labels are written at once; the same command resumes.
    """

    index: tyro.conf.Positional[Path]
    """Folder that `aasp index` made."""
    labels: Path | None = None
    """File of labels to write or continue, .csv: path, start, end, label and split, for `aasp linear` and `aasp
    finetune`."""
    classes: tuple[str, ...] = ()
    """Names of classes, in the order of their keys; more can be added on the page."""
    predict: Path | None = None
    """Write the likeliest class of every row and its probability, from the labels so far, to this .csv, and end."""
    port: int = 0
    """Port of 127.0.0.1; any free one by default."""
    root: Path | None = None
    """Folder of the sounds, if they have moved since they were indexed."""
    overwrite: bool = False
    """Replace an existing file of predictions."""


def run(argv: list[str]) -> int:
    arguments = parse(LabelIndex, argv, prog="aasp label")
    if arguments.labels is None:
        raise AaspError(f"--labels is missing: {line('label', *argv, '--labels', 'labels.csv')}")
    for file in filter(None, (arguments.labels, arguments.predict)):
        if file.suffix.lower() != ".csv" and not file.is_dir():
            raise AaspError(f"no such format: {file}; end it in .csv")
    if not 0 <= arguments.port <= 65_535:
        raise AaspError(f"--port {arguments.port}: give a number from 0 to 65535")
    check_output(arguments.labels, overwrite=True)
    if arguments.predict is not None:
        if arguments.predict.resolve() == arguments.labels.resolve():
            raise AaspError(f"--predict {arguments.predict} is the file of labels; name another file")
        check_output(arguments.predict, overwrite=arguments.overwrite)
        if not arguments.labels.exists():
            raise AaspError(f"{arguments.labels}: no such file; label some sounds first, without --predict")

    from aasp.explore.labelling import Labelling
    from aasp.explore.labels_file import read_labels, write_predictions
    from aasp.explore.server import LabelServer
    from aasp.index import Index

    index = Index.open(arguments.index, arguments.root)
    if not len(index):
        raise AaspError(f"{arguments.index}: no rows; add sounds by `aasp index recordings --out {arguments.index}`")
    labels = arguments.labels
    labels.parent.mkdir(parents=True, exist_ok=True)
    with locked(labels.with_name(f".{labels.name}.lock")) as ours:
        if not ours:
            raise AaspError(f"{labels}: another process is at it; end that one, or choose another --labels")
        labelling = Labelling(index, labels, read_labels(index, labels), list(arguments.classes))
        if arguments.predict is not None:
            write_predictions(index, labelling.labels, *labelling.predictions(), arguments.predict)
            print(f"{arguments.predict}: {len(index):,} row(s), by {len(labelling.labels):,} label(s)")
            return 0
        with LabelServer(labelling, arguments.port) as server:
            print(f"open {server.address}\nCtrl-C ends it; labels are in {labels}", flush=True)
            with suppress(KeyboardInterrupt):
                server.serve_forever()
    print(f"{labels}: {len(labelling.labels):,} label(s)")
    return 0
