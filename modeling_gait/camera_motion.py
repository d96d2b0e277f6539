"""How the camera of a film moves and where the film is cut: `Background`, `camera_path`.

In: frames uint8 (H, W, 3), one by one. Out: the shift of what is behind the people in each, the frames at which it is cut.
"""

import numpy as np


class Background:
    """How the picture shifts behind the people in it, and where the film is cut; frames are added one by one.

    A frame is compared, in grey at about 160 pixels, with a key frame: of all shifts of a few pixels the one that fits most of
    the picture's edges is the camera's, however the people move. The frame becomes the key when it has shifted far.

    Attributes:
        shifts: of each frame (x, y) [pixels of the frames added], how far the background stands from where it was in the first.
        cuts: frames that show another scene than the one before.
    """

    def __init__(self):
        self.shifts: list[tuple[float, float]] = []
        self.cuts: list[int] = []
        self._key = self._last = None
        self._base, self._guess, self._pace, self._usual = np.zeros(2), np.zeros(2), np.zeros(2), 3.0

    def add(self, image: np.ndarray) -> None:
        """image: uint8 (H, W, 3) or (H, W)."""
        from PIL import Image

        shrink = max(1, round(max(image.shape[:2]) / 160))
        grey = np.asarray(Image.fromarray(image).convert("L").reduce(shrink), np.float32)
        shift, cut, lost = np.zeros(2), False, False
        if self._last is not None:
            change = float(np.abs(grey - self._last).mean())
            if change > 1:
                shift, left = self._compare(grey)
                cut = change > 15 and left > max(12.0, 4 * self._usual) and self._unlike(grey)
                if left > 12 and not cut:  # nothing of the key frame is known again: it goes on as it did
                    shift = self._guess + self._pace
                    lost = True
            self._pace = shift - self._guess if not cut else np.zeros(2)
            self._usual += 0.1 * (min(change, 15.0) - self._usual)
        if cut:
            self.cuts.append(len(self.shifts))
            shift = np.zeros(2)
        if self._key is None or cut:
            self._key, self._guess = grey, np.zeros(2)
        self.shifts.append(tuple(self._base + shift * shrink))
        if np.abs(shift).max() > 5 or lost:
            self._base, self._key, self._guess = self._base + shift * shrink, grey, np.zeros(2)
        else:
            self._guess = shift
        self._last = grey

    def _unlike(self, grey: np.ndarray) -> bool:
        """Are the edges of the two frames in other places? Those of one scene stay when the light changes."""
        edges = [np.hypot(*np.gradient(g)).ravel() for g in (grey, self._last)]
        return float(np.corrcoef(*edges)[0, 1]) < 0.4

    def _compare(self, grey: np.ndarray) -> tuple[np.ndarray, float]:
        """Shift (x, y) of `grey` against the key frame [small pixels], and the difference that it leaves."""
        reach, key = 8, self._key
        (rows, columns), (gx, gy) = key.shape, np.round(self._guess + self._pace).astype(int)
        inner = slice(reach + 4, rows - reach - 4), slice(reach + 4, columns - reach - 4)
        a = key[inner]
        edges = np.hypot(*np.gradient(a)) > 6
        strips = np.array_split(np.arange(edges.shape[1]), 8)  # a person alone before a plain wall is in one or two of them
        if sum(edges[:, s].sum() > 10 for s in strips) < 4:
            return np.zeros(2), 0.0
        places = np.argwhere(edges) + reach + 4
        values = a[edges]

        def cost(x: int, y: int) -> float:
            x, y = (int(np.clip(v, -reach - 3, reach + 3)) for v in (x, y))
            return float(np.minimum(np.abs(grey[places[:, 0] + y, places[:, 1] + x] - values), 40).mean())

        still = cost(0, 0)
        found = {(x, y): cost(x, y) for x in range(gx - 5, gx + 6) for y in range(gy - 2, gy + 3)}
        best = min(found, key=found.get)
        if not found[best] < min(0.8 * still, still - 1.5):
            return np.zeros(2), still
        fine = []
        for axis in (0, 1):
            step = np.eye(2, dtype=int)[axis]
            b, c, d = (cost(*(np.array(best) + n * step)) for n in (-1, 0, 1))
            fine.append(best[axis] + (0.5 * (b - d) / (b - 2 * c + d) if b > c < d else 0.0))
        return np.array(fine), found[best]


def camera_path(shifts: np.ndarray, width: int) -> str:
    """In words, how a camera moves whose background shifts so (T, 2) [pixels] in pictures of a width; "" where it stands still.

    Shifts of up to 3 % of the width are a hand that holds the camera.
    """
    shifts = np.asarray(shifts)
    span = np.ptp(shifts, axis=0) if len(shifts) else np.zeros(2)
    if span.max() <= 0.03 * width:
        return ""
    far = np.abs(shifts - np.median(shifts[:5], axis=0)).max(1) > 0.015 * width
    return f"the camera moves: the background shifts by {span.max() / width:.0%} of the width from frame {int(far.argmax())} on"
