"""Random segments of each clip: views that differ in time.

Legend: B clips, V views, T frames of a clip and L of a segment, M mel bins; views are rows of the batch, those of one
clip one after another. Source: COLA (Saeed et al. 2021), ATST-Clip (Li & Li 2022): segments start at independent random
positions and may overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from aasp.devices import copied
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.encoding import Clips, as_clips

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


def check_segments(seconds: float, recipe: Recipe) -> None:
    """Check that the segments of a recipe's crops can have this length.

    Raises:
        AaspError: a segment is not shorter than a crop, or is shorter than one frame.
    """
    crop, shortest = recipe.data.crop_seconds, recipe.model.frontend.shortest_ms / 1000
    if not shortest <= seconds < crop:
        text = f"segments are taken from crops of {crop:g} s and hold a window of {1000 * shortest:g} ms at least"
        raise AaspError(f"seconds is {seconds:g}: {text}; give a length between, or longer data.crop_seconds")


def segments(model: AudioEncoder, clips: Clips, seconds: float, views: int = 2) -> Clips:
    """Random segments of each clip, one after another, drawn with the generator of the clips' device.

    Args:
        model: the model, whose front end converts seconds to frames.
        clips: B clips.
        seconds: length of a segment; a shorter clip is used whole each time.
        views: V, segments per clip.

    Returns:
        B * V clips.
    """
    front = model.frontend.config
    length = min(front.frames(round(seconds * front.rate)), clips.mel.shape[1])
    frames_B = copied(clips.frames, clips.mel.device)
    room_B1 = (frames_B - length).clamp(min=0)[:, None] + 1
    start_BV = (torch.rand(len(clips.mel), views, device=clips.mel.device) * room_B1).long()
    index_BVL = start_BV[..., None] + torch.arange(length, device=clips.mel.device)
    clip = torch.arange(len(clips.mel), device=clips.mel.device)[:, None, None]
    valid = clips.frames.clamp(max=length).repeat_interleave(views)
    return as_clips(model, clips.mel[clip, index_BVL].flatten(0, 1), valid)
