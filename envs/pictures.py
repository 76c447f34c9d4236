"""Pictures of environments that know nothing of this program, brought to the form that all of ours have."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2pclient.common.errors import EnvHostError

_RGB = 3


def to_picture(drawn: Any, title: str) -> Any:
    """Return what an environment drew as ``uint8[height, width, 3]``; not copied where it is that already.

    Grey pictures become RGB, an opacity is left out, and floats from 0 to 1 become 0 to 255: cast as they are, they
    would be black.

    Raises:
        EnvHostError: it is no picture.
    """
    picture = np.asarray(drawn)
    form = f"{picture.dtype}{list(picture.shape)}"
    if picture.ndim == 2:
        picture = picture[:, :, np.newaxis]
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = np.repeat(picture, _RGB, axis=2)
    if picture.ndim != 3 or picture.shape[2] not in (_RGB, _RGB + 1) or 0 in picture.shape:
        raise _no_picture(title, form)
    picture = picture[:, :, :_RGB]
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype.kind not in "buif" or not np.isfinite(picture).all():
        raise _no_picture(title, form)
    if picture.dtype.kind == "b" or (picture.dtype.kind == "f" and picture.max() <= 1):
        picture = picture * 255.0
    return np.clip(picture, 0, 255).astype(np.uint8)


def _no_picture(title: str, form: str) -> EnvHostError:
    return EnvHostError(f"{title} draws {form}, which is no picture: render() is to return uint8[height, width, 3]")
