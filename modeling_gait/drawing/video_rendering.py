"""Videos of walks for training and testing without a camera: a clothed body silhouette or a stick figure in a random scene.

In: joints (T, J, 3) in metres (x right, y forward, z up), nan where missing. Out: frames uint8 (T, H, W, 3) and, if asked, a
video file. Camera, background, clothing and girth are drawn from a seed. Limbs are tapered capsules, painted from the farthest
to the nearest (painter's algorithm) with Pillow at twice the size and scaled down.

Segment radii follow adult circumferences and breadths of Winter, "Biomechanics and Motor Control of Human Movement" (4th ed.,
2009, ch. 4) and Gordon et al., "2012 Anthropometric Survey of U.S. Army Personnel" (ANSUR II), rounded to half a centimetre.
"""

import colorsys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..cleaning import bridged
from ..skeletons import KINECT_V2, Skeleton, check_walk, convert_joints
from ..video import write_video

if TYPE_CHECKING:
    from PIL import Image

STYLES = ("silhouette", "stick")
BACKGROUNDS = ("plain", "gradient", "room")

_ARC = 8  # points of a capsule's rounded end
_NEAREST = 2.0  # m, the least distance between the camera and the walker
_MARGIN = 1.15  # of the picture's height over the person's
# from, to, radius there [m], colour; waist, heel, toe, face and hair are made in `_body`
_BODY = (
    ("left_hip", "right_hip", 0.105, 0.105, "trousers"),
    ("left_shoulder", "right_shoulder", 0.07, 0.07, "jacket"),
    ("left_shoulder", "left_waist", 0.075, 0.095, "jacket"),
    ("right_shoulder", "right_waist", 0.075, 0.095, "jacket"),
    ("spine_shoulder", "waist", 0.11, 0.11, "jacket"),
    ("spine_shoulder", "head", 0.055, 0.055, "skin"),
    ("face", "head", 0.085, 0.085, "skin"),
    ("hair", "head", 0.095, 0.08, "hair"),
    *(
        (f"{side}_{a}", f"{side}_{b}", r0, r1, colour)
        for side in ("left", "right")
        for a, b, r0, r1, colour in (
            ("hip", "knee", 0.09, 0.06, "trousers"),
            ("knee", "ankle", 0.06, 0.04, "shank"),
            ("heel", "toe", 0.04, 0.035, "shoes"),
            ("shoulder", "elbow", 0.06, 0.045, "jacket"),
            ("elbow", "wrist", 0.045, 0.03, "forearm"),
            ("wrist", "hand_tip", 0.035, 0.025, "skin"),
        )
    ),
)
_TRUNK = ("jacket", "trousers")  # its capsules count as one body when they are sorted by depth


@dataclass(frozen=True)
class Camera:
    """A camera that stands still and looks at the middle of the path.

    Attributes:
        azimuth: where it stands, from +y (in front of the walker) towards +x (on the right) [deg].
        height: above the floor [m].
        distance: from the middle of the path [m]; raised where the walker would come closer than 2 m.
    """

    azimuth: float = 90.0
    height: float = 1.2
    distance: float = 4.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Camera":
        """Any azimuth, 0.8 to 1.8 m high, 3.5 to 6 m away."""
        return cls(rng.uniform(0, 360), rng.uniform(0.8, 1.8), rng.uniform(3.5, 6.0))


def render_video(
    joints: np.ndarray,
    path: str | Path | None = None,
    fps: float = 30.0,
    size: tuple[int, int] = (64, 64),
    skeleton: Skeleton = KINECT_V2,
    style: str = "silhouette",
    camera: Camera | None = None,
    seed: int = 0,
    crop: bool = True,
) -> np.ndarray:
    """Draw a walk as a video; the same arguments give the same frames.

    Args:
        joints: (T, J, 3) [m], z up; nan is interpolated over time, a joint never seen stands at rest beside its parent.
        path: a file to write as well: .mp4, .webm or .avi (see `video.write_video`).
        fps: frame rate of the file.
        size: height and width [pixels].
        style: "silhouette" or "stick".
        camera: where it stands; None: `Camera.random` of the seed.
        seed: of camera, background, clothing, girth.
        crop: True: the picture follows the person as a person crop of a standing camera's video does, the background slides by.
            False: the standing camera's whole view; the person walks through it.

    Returns: uint8 (T, H, W, 3), RGB.

    Raises:
        ValueError: wrong shape, no finite joint, unknown style, a size under 16 pixels, or an unknown suffix.
        ImportError: a path without PyAV.
    """
    joints = _complete(convert_joints(check_walk(joints, fps, skeleton), skeleton, KINECT_V2))
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}; expected one of {', '.join(STYLES)}")
    if len(size) != 2 or min(size) < 16:
        raise ValueError(f"expected size (height, width) of at least 16 pixels, got {size}")
    rng = np.random.default_rng(seed)
    drawn = Camera.random(rng)  # drawn even where a camera is given: the clothing of a seed stays the same
    look = _Look(rng)
    ends, radii, colours = _stick(joints, look) if style == "stick" else _body(joints, look)
    picture = _Picture(joints, ends, radii, camera or drawn, size, crop)
    frames = picture.paint(colours, look, rng)
    if path is not None:
        write_video(frames, path, fps)
    return frames


# ---------------------------------------------------------------- the person


class _Look:
    """Colours of person and scene, girth and clothing, drawn from a generator."""

    def __init__(self, rng: np.random.Generator):
        self.background = str(rng.choice(BACKGROUNDS))
        self.wall, self.floor = _colour(rng, (0.0, 0.3), (0.3, 1.0)), _colour(rng, (0.0, 0.35), (0.25, 0.85))
        if self.background != "room":
            self.floor = self.wall
        skin = _colour(rng, (0.3, 0.55), (0.35, 0.95), (0.03, 0.09))
        jacket, trousers = (self._contrasting(rng) for _ in range(2))
        left = self._contrasting(rng)
        self.colours = {
            "jacket": jacket,
            "trousers": trousers,
            "skin": skin,
            "hair": _colour(rng, (0.0, 0.6), (0.05, 0.6), (0.03, 0.12)),
            "shoes": self._contrasting(rng),
            "forearm": jacket if rng.random() < 0.7 else skin,  # long or short sleeves
            "shank": trousers if rng.random() < 0.85 else skin,  # long or short trousers
            "left": left,
            "right": self._contrasting(rng, left),
            "centre": self._contrasting(rng),
        }
        self.girth = rng.uniform(0.85, 1.2)

    def _contrasting(self, rng: np.random.Generator, *others: np.ndarray) -> np.ndarray:
        """A colour that is told from wall, floor and `others`: the first of eight that is 90 of 255 away, or the best."""
        colours = [_colour(rng, (0.0, 0.85), (0.1, 1.0)) for _ in range(8)]
        return max(colours, key=lambda c: min(90, *(np.linalg.norm(c - other) for other in (self.wall, self.floor, *others))))


def _colour(rng, saturation: tuple, value: tuple, hue: tuple = (0.0, 1.0)) -> np.ndarray:
    """A random colour (3,) in 0..255, from ranges of hue, saturation and value in 0..1."""
    return 255 * np.array(colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)))


def _complete(joints: np.ndarray) -> np.ndarray:
    """Float64 (T, 25, 3) without nan: gaps and strays interpolated over time, unseen joints at rest beside their parent."""
    joints = joints.astype(np.float64)
    joints[~(np.abs(joints).max(-1) < 1e6)] = np.nan
    if not np.isfinite(joints).any():
        raise ValueError("the walk has no finite joint to draw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without any joint
        centre = bridged(np.nanmedian(joints, axis=1))
    joints[~(np.linalg.norm(joints - centre[:, None], axis=-1) < 3)] = np.nan  # strays would shrink the picture
    for j in KINECT_V2.order:
        if np.isfinite(joints[:, j]).any():
            joints[:, j] = bridged(joints[:, j])
        else:
            joints[:, j] = centre if j == KINECT_V2.root else joints[:, KINECT_V2.parents[j]] + KINECT_V2.rest_offsets[j]
    return joints


def _body(joints: np.ndarray, look: _Look) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends (T, P, 2, 3) [m], radii (P, 2) [m] and colours (P, 3) of the capsules of a clothed body."""
    at = {name: joints[:, j] for j, name in enumerate(KINECT_V2.joint_names)}
    across = gaussian_filter1d(at["right_hip"] - at["left_hip"], 5, axis=0, mode="nearest")
    facing = np.cross([0.0, 0.0, 1.0], across)
    facing /= np.linalg.norm(facing, axis=-1, keepdims=True) + 1e-9
    at["face"] = at["head"] + 0.035 * facing - [0, 0, 0.02]
    at["hair"] = at["head"] - 0.03 * facing + [0, 0, 0.04]
    for side in ("left", "right"):
        hip, ankle, foot = at[f"{side}_hip"], at[f"{side}_ankle"], at[f"{side}_foot"]
        at[f"{side}_waist"] = hip + 0.15 * (at[f"{side}_shoulder"] - hip)
        at[f"{side}_heel"] = ankle - 0.3 * (foot - ankle) * [1, 1, 0] - [0, 0, 0.04]
        at[f"{side}_toe"] = foot + 0.4 * (foot - ankle) * [1, 1, 0]
    at["waist"] = (at["left_waist"] + at["right_waist"]) / 2
    length = sum(np.linalg.norm(at[a] - at[b], axis=-1) for a, b in (("left_hip", "left_knee"), ("left_knee", "left_ankle")))
    stature = np.clip(np.median(length) / 0.82, 0.5, 1.3)  # of the adult whose radii `_BODY` states
    ends = np.stack([np.stack([at[a], at[b]], axis=1) for a, b, *_ in _BODY], axis=1)
    girth = [1.0 if colour in ("skin", "hair", "shoes") else look.girth for *_, colour in _BODY]
    radii = np.array([[r0, r1] for _, _, r0, r1, _ in _BODY]) * stature * np.array(girth)[:, None]
    return ends, radii, np.array([look.colours[colour] for *_, colour in _BODY])


def _stick(joints: np.ndarray, look: _Look) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same three of a stick figure: a thin capsule a bone, a disc for the head; three colours: left, right, centre."""
    bones = [(p, j) for j, p in enumerate(KINECT_V2.parents) if p >= 0]
    head = KINECT_V2.index("head")
    ends = joints[:, [*bones, (head, head)]]
    radii = np.array([[0.02, 0.02]] * len(bones) + [[0.1, 0.1]])
    sides = [KINECT_V2.joint_names[j].split("_")[0] for _, j in bones] + ["centre"]
    return ends, radii, np.array([look.colours[s if s in ("left", "right") else "centre"] for s in sides])


# ---------------------------------------------------------------- the picture


class _Picture:
    """Capsules seen by a camera: where each one is in the picture, how near, and which part of the scene is behind it."""

    def __init__(self, joints, ends, radii, camera: Camera, size: tuple[int, int], crop: bool):
        self.size, self.big = size, (2 * size[1], 2 * size[0])  # Pillow: width first
        middle = (ends.min((0, 1, 2)) + ends.max((0, 1, 2))) / 2
        self.floor = float(np.percentile(ends[..., 2].min((1, 2)), 10)) - 0.03
        middle[2] = self.floor
        turn = np.radians(camera.azimuth)
        towards = np.array([np.sin(turn), np.cos(turn), 0.0])
        depth = (ends - middle) @ towards
        self.position = middle + max(camera.distance, depth.max() + _NEAREST) * towards + [0, 0, camera.height]
        self.forward = middle + [0, 0, 0.9] - self.position
        self.forward /= np.linalg.norm(self.forward)
        self.right = np.array([-np.cos(turn), np.sin(turn), 0.0])
        self.up = np.cross(self.right, self.forward)
        self.behind = middle + (depth.min() - 0.5) * towards  # a point of the floor behind the path
        self.towards = towards
        seen, self.inverse = self._project(ends)
        reach = radii * self.inverse
        self.shadow = self._shadow(joints)
        self.boxes = self._boxes(seen, reach, crop)
        low, span = self.boxes[:, None, None, :2], (self.boxes[:, 2:] - self.boxes[:, :2])[:, None, None]
        self.scale = np.array(self.big) / span
        self.outlines = _capsules((seen - low) * self.scale, reach * self.scale[..., 1])
        self.shadow = (self.shadow - low[:, 0]) * self.scale[:, 0]

    def _project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place (..., 2), right and down, and size (...) of a metre there, both in units of the focal length."""
        offset = points - self.position
        inverse = 1 / np.maximum(offset @ self.forward, 0.5)
        return np.stack([offset @ self.right, -(offset @ self.up)], axis=-1) * inverse[..., None], inverse

    def _shadow(self, joints: np.ndarray) -> np.ndarray:
        """(T, 16, 2): an ellipse on the floor below the feet."""
        feet = joints[:, [KINECT_V2.index(f"{side}_ankle") for side in ("left", "right")]]
        radius = 0.18 + np.abs(feet[:, :1] - feet[:, 1:]) / 2
        turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        rim = feet.mean(1, keepdims=True) + radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
        rim[..., 2] = self.floor
        return self._project(rim)[0]

    def _boxes(self, seen: np.ndarray, reach: np.ndarray, crop: bool) -> np.ndarray:
        """(T, 4): left, top, right, bottom of the picture in every frame."""
        reach = reach[..., None]
        low, high = (seen - reach).min((1, 2)), (seen + reach).max((1, 2))
        if crop:
            centre = gaussian_filter1d((low + high) / 2, 5, axis=0, mode="nearest")
            spread = gaussian_filter1d(high - low, 5, axis=0, mode="nearest")
        else:
            low, high = low.min(0), high.max(0)
            centre, spread = np.tile((low + high) / 2, (len(seen), 1)), np.tile(high - low, (len(seen), 1))
        aspect = self.size[1] / self.size[0]
        height = _MARGIN * np.maximum(spread[:, 1], spread[:, 0] / aspect)
        half = np.stack([aspect * height, height], axis=-1) / 2
        return np.concatenate([centre - half, centre + half], axis=-1)

    def paint(self, colours: np.ndarray, look: _Look, rng: np.random.Generator) -> np.ndarray:
        """uint8 (T, H, W, 3): scene, shadow, capsules from the farthest to the nearest."""
        from PIL import Image, ImageDraw

        depth = 1 / self.inverse.mean(-1)
        if len(colours) == len(_BODY):
            trunk = [i for i, part in enumerate(_BODY) if part[-1] in _TRUNK and not part[1].endswith(("elbow", "knee"))]
            depth[:, trunk] = depth[:, trunk].mean(1, keepdims=True)
        body = depth.mean(1, keepdims=True)
        shade = 1 - 0.9 * np.clip(depth - body, -0.1, 0.3)  # what is farther away is darker
        inks = np.clip(shade[..., None] * colours, 0, 255).astype(np.uint8)
        order = np.argsort(-depth, axis=1, kind="stable")
        scene, boxes = self._scene(look, rng)
        dark = tuple((0.75 * look.floor).astype(int).tolist())
        out = np.empty((len(depth), *self.size, 3), np.uint8)
        for t, box in enumerate(boxes):
            image = scene.resize(self.big, Image.Resampling.BILINEAR, box=tuple(box))
            draw = ImageDraw.Draw(image)
            draw.polygon(self.shadow[t].ravel().tolist(), fill=dark)
            outlines, fills = self.outlines[t].tolist(), inks[t].tolist()
            for p in order[t].tolist():
                draw.polygon(outlines[p], fill=tuple(fills[p]))
            out[t] = np.asarray(image.reduce(2))
        return out

    def _scene(self, look: _Look, rng: np.random.Generator) -> tuple["Image.Image", np.ndarray]:
        """What stands behind the person in all frames as one picture, and the boxes (T, 4) in its pixels."""
        from PIL import Image

        low, high = self.boxes[:, :2].min(0), self.boxes[:, 2:].max(0)
        fine = self.big[1] / np.median(self.boxes[:, 3] - self.boxes[:, 1])  # pixels a unit, about those of the picture
        fine = min(fine, 2048 / (high - low).max())
        width, height = np.maximum(np.ceil((high - low) * fine).astype(int), 2)
        pixels = np.tile(look.wall, (height, width, 1))
        if look.background == "gradient":
            pixels *= np.linspace(rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0), height)[:, None, None]
        if look.background == "room":
            wall = self._project(self.behind - rng.uniform(0, 3) * self.towards)[0][1]
            edge = int(np.clip((wall - low[1]) * fine, 0, height))
            for _ in range(rng.integers(1, 5)):  # doors, windows, pictures
                x, w = rng.uniform(-0.1, 1) * width, rng.uniform(0.05, 0.25) * width
                y, h = np.sort(rng.uniform(0, 1, 2)) * edge
                pixels[int(y) : int(h), max(int(x), 0) : int(x + w)] = look.wall * rng.uniform(0.6, 1.2)
            pixels[edge:] = look.floor
            noise = rng.standard_normal((12, 32)).astype(np.float32)
            noise = Image.fromarray(noise).resize((int(width), int(height)), Image.Resampling.BICUBIC)
            pixels *= 1 + rng.uniform(0.02, 0.12) * np.asarray(noise)[..., None]
        scene = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        boxes = (self.boxes - np.tile(low, 2)) * fine
        return scene, np.clip(boxes, 0, np.tile([width, height], 2))


def _capsules(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Outlines (T, P, 4 * _ARC), x and y in turn, of the hulls of two circles: centres (T, P, 2, 2), radii (T, P, 2)."""
    step = centres[..., 1, :] - centres[..., 0, :]
    length = np.maximum(np.linalg.norm(step, axis=-1), 1e-6)
    open_angle = np.arccos(np.clip((radii[..., 0] - radii[..., 1]) / length, -1, 1))[..., None]
    direction = np.arctan2(step[..., 1], step[..., 0])[..., None]
    share = np.linspace(-1, 1, _ARC)
    angles = np.stack([direction + np.pi + share * (np.pi - open_angle), direction + share * open_angle], axis=-2)
    rim = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * radii[..., None, None] + centres[..., None, :]
    return rim.reshape(*rim.shape[:2], -1)
