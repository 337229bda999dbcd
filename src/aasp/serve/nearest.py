"""Responses of an index: the rows nearest to a sound, with the options of `aasp search`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from aasp.evaluate.features import Running
from aasp.evaluate.vectors import ClipVectors, VectorRequest
from aasp.index import Index
from aasp.index.adding import keys_of
from aasp.index.query import described, rocchio
from aasp.model.audio_encoder import AudioEncoder
from aasp.serve.answers import Options, VectorAnswer

Row = Annotated[int, Field(ge=0)]


class SearchOptions(Options):
    """Options of /search, as in `aasp search`."""

    count: int = Field(10, ge=1, le=1000, description="results at most")
    like: list[Row] = Field([], max_length=64, description="further rows of examples")
    unlike: list[Row] = Field([], max_length=64, description="rows of counterexamples")


class Nearest(VectorAnswer):
    """Search an index for the rows nearest to a sound. Their paths are as the index states them.

    The sound's vector is made with the index's own settings.
    """

    def __init__(self, index: Index, encoder: AudioEncoder, running: Running) -> None:
        super().__init__(encoder, replace(running, precision=index.settings.precision))
        self._index = index
        self.query = SearchOptions.with_channels(index.settings.channels, "the index's own choice")

    def request_key(self, options: SearchOptions) -> VectorRequest:
        for row in (*options.like, *options.unlike):
            self._index.sound(row)
        keys = keys_of(self._index.settings)
        return VectorRequest(keys and tuple(keys))

    def values(self, options: SearchOptions, found: ClipVectors) -> dict[str, Any]:
        rows = lambda numbers: np.asarray(self._index.vectors[list(numbers)], np.float32)
        query = rocchio(found[0], rows(options.like), rows(options.unlike))
        named = {*options.like, *options.unlike}
        (numbers,), (similarities,) = self._index.search(query[None], options.count + len(named))
        pairs = [
            (row, one) for row, one in zip(numbers.tolist(), similarities.tolist(), strict=True) if row not in named
        ]
        return {"results": [described(self._index, row, one) for row, one in pairs[: options.count]]}
