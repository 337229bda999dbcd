"""The meaning of a part's name, in a column or as a folder: train, valid or test; or a fold.

Case, surrounding spaces and separators as in `train_set` are ignored. The meaning of two names depends on the others:
`dev` is the validation part beside `train`, else the train part (DCASE, FSD50K, VoxCeleb). `eval` is the test part
(AudioSet), or the validation part beside `train` and `test`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from aasp.errors import AaspError

TRAIN, VALID, TEST = PARTS = ("train", "valid", "test")

_DEV, _EVAL = "dev", "eval"
_MEANT = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("valid", "validation", "validating", "validate", "val"), VALID),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
    **dict.fromkeys(("dev", "devel", "development"), _DEV),
    **dict.fromkeys(("eval", "evaluation", "evaluating", "evaluate"), _EVAL),
}
_NUMBER = re.compile(r"([+-]?\d+)(?:[.,]0*)?")
_NUMBERED = re.compile(r"(.*[^\W\d_]\D*)(\d+)")
_SHOWN = 6  # names that a message lists
_MAX_ALONE = 20  # folds of a single clip each


def is_part(name: str) -> bool:
    """Whether `name` is the name of a part."""
    return _word(name) is not None


def check_no_additions(names: Iterable[str]) -> None:
    """Check that names which are to be classes are not all parts with an addition, as in train-clean, dev_audio, test1.

    Raises:
        AaspError: each has the word of one part in it, and both train and test are among them.
    """
    words = {name: {word for piece in re.split(r"[\s_./-]|\d", name) if (word := _word(piece))} for name in names}
    found = set().union(*words.values())
    if all(len(one) == 1 for one in words.values()) and found & {TRAIN, _DEV} and found & {TEST, _EVAL, VALID}:
        raise AaspError(f"folders {_few(list(words))} are parts with an addition; rename them to train, valid and test")


def parts_of(names: Iterable[str]) -> dict[str, str] | None:
    """The part (train, valid or test) of each name in a set of names; None if not all are names of parts.

    Raises:
        AaspError: the names are ambiguous.
    """
    meant = {name: _word(name) for name in names}
    words = set(meant.values())
    if None in words or not words:
        return None
    choosing = {_DEV, VALID} & words
    if (TRAIN in words and len(choosing) == 2) or ({_EVAL, TEST} <= words and (choosing or TRAIN not in words)):
        raise AaspError(f"parts {_few(list(meant))} are ambiguous; call them train, valid and test")
    part = {_DEV: VALID if TRAIN in words else TRAIN, _EVAL: VALID if TEST in words else TEST}
    return {name: part.get(word, word) for name, word in meant.items() if word is not None}


def part_in(name: str, where: str) -> str:
    """The part that a name in a published list means, regardless of other names.

    Raises:
        AaspError: the name is unknown, or its meaning depends on others.
    """
    word = _word(name)
    if word not in PARTS:
        raise AaspError(f"{where}: unknown part {name!r}; use train, valid and test")
    return word


def parts_or_folds(values: Sequence[str], *, any_name: bool = False) -> list[str]:
    """The part of each clip, train, valid or test; or its fold, in one spelling (`1` for `1.0` and `01`).

    Folds are whole numbers, or one word with numbers (`fold1`, `fold2`).

    Args:
        values: a column's value for each clip, none of them empty.
        any_name: whether other names are folds too; names of parts never are.

    Raises:
        AaspError: the values are neither parts nor folds, or ambiguous parts.
    """
    found = Counter(values)
    meant = parts_of(found) or _folds(found, any_name)
    if meant is None:
        listed = ", ".join(f"{name!r} × {count:,}" for name, count in found.most_common(_SHOWN))
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise AaspError(f"neither parts nor folds: {listed}{more}; use train, valid and test, or numbers of folds")
    if len(set(meant.values())) == len(values) > _MAX_ALONE:
        raise AaspError(f"each of the {len(values):,} clips has its own value; give a column of parts or folds")
    return [meant[value] for value in values]


def is_fold(name: str) -> bool:
    """Whether a folder's name is that of a fold: fold1, Fold_02, fold-3."""
    return re.fullmatch(r"\s*fold[\s_-]*\d+\s*", name.casefold()) is not None


def is_flag(column: str) -> bool:
    """Whether a column's name is that of a boolean column for one part: is_test, train."""
    return is_part(re.sub(r"^\s*is(?![a-z])|^\s*is(?=t)", "", column.casefold()))


def _word(name: str) -> str | None:
    """The part that a name means; `dev` and `eval` unchanged, since their meaning depends on the other names."""
    bare = _bare(name)
    return _MEANT.get(bare) or _MEANT.get(re.sub(r"(data)?(set|split|part|data)$", "", bare))


def _folds(names: Iterable[str], any_name: bool) -> dict[str, str] | None:
    """The fold of each name; None if they are not folds."""
    names = list(names)
    numbers = [_NUMBER.fullmatch(name.strip()) for name in names]
    if None not in numbers:
        return {name: str(int(number[1])) for name, number in zip(names, numbers, strict=True) if number}
    if any(is_part(re.split(r"[\s_./-]|\d", name.strip(), maxsplit=1)[0]) for name in names):
        return None  # train1, test-clean: a part's name with an unknown addition
    keys = [" ".join(name.casefold().split()) for name in names]
    numbered = [_NUMBERED.fullmatch(_bare(name)) for name in names]
    if len({match and match[1] for match in numbered}) == 1 and numbered[0]:
        keys = [str(int(match[2])) for match in numbered if match]
    elif not any_name:
        return None
    first: dict[str, str] = {}
    return {name: first.setdefault(key, name.strip()) for name, key in zip(names, keys, strict=True)}


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _few(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:_SHOWN])
