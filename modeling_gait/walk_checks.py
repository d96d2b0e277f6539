"""Is it a walk, which part of it, and how was it recorded? Asked of every recording before any number, class or word.

In: joints (T, J, 3) [m], z up, any heading, clean, nan for joints that were not measured (`recording.read_recording`).
Out: `examine`, the walk along +y on a level floor, its parts without turns and pauses, and what was done or is doubted in plain
sentences. ValueError where nobody walks.

A person who walks puts one foot after the other ahead of the pelvis while the other foot stands. From this all is told:
standing (no leg gets ahead), marching (no way is made), treadmills and cameras that follow (the standing foot slides),
exchanged sides (knees and toes point forward, whatever their names), tilted cameras (the standing feet are the floor, and the
hips keep their height over it).
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import signal

from .cleaning import heading
from .gait_events import SIDES, detect_gait_events, smooth_positions
from .kinematics import facing
from .skeletons import Skeleton
from .walk_stretches import MIN_SPEED, TURN, Stretch, find_stretches, mean_over, straightened, stride_frames, track, turned

MIN_SPREAD = 0.08  # m, by which the feet get ahead of each other
OWN_WAY = 0.1  # m/s, at which somebody on a treadmill moves along it
STANDING = 0.4  # share of the samples of two feet, which is less than stands
LEAN, LEANS = 4.0, (-6.0, 10.0)  # degrees, by which the hips are ahead of the ankles' middle: most people, and nearly all
RISE, LEAST_WAY = 3.5, 1.0  # degrees, of hips on a way of so many metres or of a belt, that tell a floor's; 2 on level floors
MOST_LEAN, MOST_TOES, MOST_BACK = 12.0, 50.0, 20.0  # degrees: of a leg sideways, of toes from the way, of a knee forward
GROWTH = 0.12  # of the legs from the first to the last quarter of the frames; 99 % of the files of gist are under it
MIN_TILT, TOLD_TILT = 1.0, 3.0  # degrees, of a floor that is levelled, and that is told


@dataclass(frozen=True)
class Examined:
    """A walk after `examine`: joints float64 (T, J, 3) [m] along +y, its stretches, belt speed [m/s] or None, and sentences."""

    joints: np.ndarray
    stretches: tuple[Stretch, ...]
    belt: float | None = None
    fixed_pelvis: bool = False
    backwards: bool = False
    repairs: dict[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def check_space(joints: np.ndarray, name: str) -> None:
    """Raise ValueError for joints (T, J, 3) in any unit that lie in one plane, as pixels with a confidence beside them do."""
    known = joints[np.isfinite(joints).all(-1).sum(-1) > 3]
    if joints.shape[1] < 6 or not len(known):
        return
    known = known[np.linspace(0, len(known) - 1, min(len(known), 500)).astype(int)]
    local = (known - np.nanmean(known, axis=1, keepdims=True)).reshape(-1, 3)
    local = local[np.isfinite(local).all(-1)]
    thickness = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(local.T)), 0))
    if thickness[0] < 0.02 * thickness[2]:
        raise ValueError(
            f"{name}: all joints lie in a plane: 2D keypoints, perhaps with a confidence; expected x, y, z of joints in space"
        )


# ---------------------------------------------------------------- the examination


def examine(joints: np.ndarray, fps: float, skeleton: Skeleton) -> Examined:
    """Ask of a clean recording whether somebody walks in it, where, and in which way; put upright what the camera tilted.

    Args:
        joints: (T, J, 3) [m], z up, any heading; all nan for a joint that was not measured.
        fps: frames a second.

    Raises:
        ValueError: hips or ankles were not measured, the body is none, or nobody walks; the message says what is seen instead.
    """
    joints, doubts, repairs = np.array(joints, np.float64), [], {"floor_levelled_degrees": 0.0, "sides_exchanged": 0}
    _check_body(joints, skeleton, doubts)
    stride = stride_frames(joints, fps, skeleton)
    low = smooth_positions(joints, fps)
    seen, fixed = track(joints, skeleton, "hip")[:, :2], _on_the_pelvis(joints, skeleton)
    joints, belt = _add_the_belt(joints, low, fps, skeleton, stride)
    stretches, told = find_stretches(track(joints, skeleton, "hip")[:, :2], fps, stride)
    kept = [s for s in stretches if _walks(straightened(joints, fps, skeleton, s), fps, stride, skeleton)]
    if not kept:
        raise ValueError(f"nobody walks in it: {_what_instead(joints, stride, skeleton)}")
    joints, backwards = _check_sides(joints, fps, skeleton, kept, repairs, doubts)
    longest = max(kept, key=lambda s: s.stop - s.start)
    flat = [f for s in kept for f in _flat_feet(joints, fps, skeleton, s)]
    joints = _level(joints, fps, skeleton, kept, backwards, _prints(joints, fps, skeleton, flat), repairs, doubts)
    flat = [(n, a - longest.start, b - longest.start) for n, a, b in flat if longest.start <= a and b <= longest.stop]
    joints, straight = _level_across(joints, fps, skeleton, kept, longest, flat, repairs, doubts)
    doubts += _odd_legs(straight, fps, skeleton, backwards, _prints(straight, fps, skeleton, flat))
    if told:
        seconds = sum(s.stop - s.start for s in kept) / fps
        parts = f"{len(kept)} part{'s' * (len(kept) > 1)}, {seconds:.1f} of {len(joints) / fps:.1f} s"
        doubts.append(f"the person {' and '.join(told)}: measured are the parts between ({parts})")
    if any(s.curved for s in kept):
        doubts.append("the person walks along a curve: lengths and widths are measured along it")
    fixed = fixed and belt is not None
    if belt is not None:
        kind = "every frame is centred on the pelvis" if fixed else "a treadmill, or a camera that follows"
        own = seen[longest.start : longest.stop] @ heading(joints[longest.start : longest.stop], skeleton)
        own = float(own[-1] - own[0]) / (len(own) - 1) * fps
        more = f"; the person moves on at {own:.2f} m/s besides, and the speed is the sum" if abs(own) > OWN_WAY else ""
        against = "speed and lengths are those against what it stands on"
        doubts.append(f"the standing foot slides at {belt:.2f} m/s ({kind}): {against}{more}")
    if fixed:
        doubts.append("the pelvis does not rise and fall: foot heights are not measured")
    joints = turned(joints, heading(joints[longest.start : longest.stop], skeleton))
    joints[..., :2] -= track(joints, skeleton, "hip")[0, :2]
    ankles = np.stack([track(joints, skeleton, f"{side}_ankle")[:, 2] for side in SIDES]).min(0)
    joints[..., 2] -= (
        np.percentile(ankles, 20) - skeleton.rest_positions[[skeleton.index(f"{s}_ankle") for s in SIDES], 2].mean()
    )
    return Examined(joints, tuple(kept), belt, fixed, backwards, repairs, tuple(doubts))


def _check_body(joints: np.ndarray, skeleton: Skeleton, doubts: list[str]) -> None:
    """Legs must be measured and be of a human length; hips in one place are doubted."""
    lacking = [
        f"{side}_{n}"
        for n in ("hip", "knee", "ankle")
        for side in SIDES
        if not np.isfinite(track(joints, skeleton, f"{side}_{n}")).all()
    ]
    if lacking:
        raise ValueError(f"{', '.join(lacking)} not measured; a walk needs hips, knees and ankles")
    leg = leg_length(joints, skeleton)
    if not 0.2 <= leg <= 1.3:
        raise ValueError(f"legs of {leg:.3g} m are no body's; expected 0.2 to 1.3 m: what is the unit?")
    if leg < 0.45:
        doubts.append(f"legs of {leg:.2f} m are those of a small child: is the unit right?")
    growth = _growth(joints, skeleton)
    if abs(growth) > GROWTH:
        how = "longer" if growth > 0 else "shorter"
        doubts.append(
            f"the legs get {100 * abs(growth):.0f} % {how} on the way: no body does, speed and lengths may be off as much"
        )
    across = np.linalg.norm(track(joints, skeleton, "right_hip") - track(joints, skeleton, "left_hip"), axis=-1)
    if np.median(across) < 0.04:
        doubts.append("both hips are in one place: pelvic obliquity is not measured")


def leg_length(joints: np.ndarray, skeleton: Skeleton) -> float:
    """Hip to knee to ankle [m], median over frames and sides."""
    hip, knee, ankle = (np.stack([track(joints, skeleton, f"{s}_{n}") for s in SIDES]) for n in ("hip", "knee", "ankle"))
    return float(np.nanmedian(np.linalg.norm(hip - knee, axis=-1) + np.linalg.norm(knee - ankle, axis=-1)))


def _growth(joints: np.ndarray, skeleton: Skeleton) -> float:
    """By which share thighs and shanks are longer in the last quarter of the frames than in the first, median of the four."""
    place = {n: np.stack([track(joints, skeleton, f"{side}_{n}") for side in SIDES]) for n in ("hip", "knee", "ankle")}
    bones = [np.linalg.norm(place[a] - place[b], axis=-1) for a, b in (("hip", "knee"), ("knee", "ankle"))]
    lengths, part = np.concatenate(bones), max(1, len(joints) // 4)
    return float(np.median(np.median(lengths[:, -part:], axis=1) / np.median(lengths[:, :part], axis=1))) - 1


def standing_slide(feet: np.ndarray, speed: float) -> float | None:
    """How fast [m/s] the standing foot goes back, of the forward speeds (2, T) [m/s] of the ankles and that of the walk; None
    where it stands as well as a foot of a measured walk does."""
    standing = np.take_along_axis(feet, np.abs(feet).argmin(0)[None], axis=0)[0]
    slide = -float(np.median(standing))
    stands = slide < max(0.1, (0.2 if slide > 0 else -np.inf) * speed) and -slide < max(0.1, 0.5 * speed)
    return None if stands else slide


def _add_the_belt(
    joints: np.ndarray, low: np.ndarray, fps: float, skeleton: Skeleton, stride: float
) -> tuple[np.ndarray, float | None]:
    """Where the standing foot slides, give all joints the way that it slides; its speed [m/s], None where it stands."""
    if len(joints) < 5:
        return joints, None
    front = mean_over(facing(low, skeleton)[1], stride)
    front /= np.maximum(np.linalg.norm(front, axis=-1, keepdims=True), 1e-9)
    feet = np.stack([(np.gradient(track(low, skeleton, f"{s}_ankle")[:, :2], axis=0) * fps * front).sum(-1) for s in SIDES])
    path = mean_over(track(joints, skeleton, "hip")[:, :2], stride)
    speed = float(np.median(np.linalg.norm(np.gradient(path, axis=0), axis=-1))) * fps
    slide = standing_slide(feet, speed)
    if slide is None:
        return joints, None
    ankles = np.stack([track(low, skeleton, f"{s}_ankle") - track(low, skeleton, "hip") for s in SIDES])
    forth = (ankles[..., :2] * front).sum(-1)
    if np.ptp(forth[0] - forth[1]) < MIN_SPREAD:  # carried or wheeled
        return joints, None
    if np.ptp(ankles[..., 2], axis=1).mean() > 0.65 * np.ptp(forth, axis=1).mean():
        raise ValueError("nobody walks in it: the feet go up and down, or round as on a bicycle, and make no way")
    way = _belt_way(low, front, slide, fps, skeleton)
    if _on_the_pelvis(joints, skeleton):
        way[:, 2] = 0
    return joints + (np.cumsum(way, axis=0) / fps)[:, None], float(np.linalg.norm(way[0]))


def _on_the_pelvis(joints: np.ndarray, skeleton: Skeleton) -> bool:
    """Whether every frame is centred on the hips: they do not rise and fall."""
    return float(np.ptp(track(joints, skeleton, "hip")[:, 2])) < 0.004


def _belt_way(low: np.ndarray, front: np.ndarray, slide: float, fps: float, skeleton: Skeleton) -> np.ndarray:
    """The way (T, 3) [m/s] that a belt takes from a person who faces `front` (T, 2), about `slide` [m/s], backwards negative.

    Standing feet all slide at one velocity, swinging ones do not: it is that of the `STANDING` share of the feet's samples
    whose speeds are closest together. Toes say it where they were measured, as ankles roll on. It turns as the person does.
    It rises or falls under a tilted camera.
    """
    if np.ptp(np.unwrap(np.arctan2(front[:, 1], front[:, 0]))) < TURN:
        front = np.broadcast_to(front.mean(0) / np.linalg.norm(front.mean(0)), front.shape)
    frame = np.zeros((len(low), 3, 3))  # ahead, to the left, up
    frame[:, 0, :2], frame[:, 1, 0], frame[:, 1, 1], frame[:, 2, 2] = front, -front[:, 1], front[:, 0], 1
    toes = np.isfinite([track(low, skeleton, f"{s}_foot") for s in SIDES]).all()
    feet = [track(low, skeleton, f"{s}_{'foot' if toes else 'ankle'}") for s in SIDES]
    slides = -np.concatenate([(frame @ np.gradient(f, axis=0)[..., None])[..., 0] * fps for f in feet])
    way = np.array([slide, 0.0, 0.0])
    for _ in range(2):  # the second time along the way itself, which knees and toes do not say exactly
        along = slides[:, :2] @ way[:2] / np.linalg.norm(way[:2])
        order = np.argsort(along)[(along <= 0).sum() :]
        if not len(order):
            break
        many = max(1, int(STANDING * len(order)))
        first = (along[order[many - 1 :]] - along[order[: len(order) - many + 1]]).argmin()
        way = np.median(slides[order[first : first + many]], axis=0)
    if abs(np.degrees(np.arctan2(way[2], np.linalg.norm(way[:2])))) < RISE:
        way[2] = 0
    return way @ frame


def _flat_feet(joints: np.ndarray, fps: float, skeleton: Skeleton, stretch: Stretch) -> list[tuple[int, int, int]]:
    """(side 0 or 1, first frame, frame after the last) of each foot flat on the floor: 10 to 40 % of a cycle after a heel
    strike."""
    straight = straightened(joints, fps, skeleton, stretch)
    try:
        events = detect_gait_events(np.nan_to_num(straight), fps, skeleton)
    except ValueError:
        return []
    stride, out = stride_frames(straight, fps, skeleton), []
    for n, side in enumerate(SIDES):
        for strike in getattr(events, f"{side}_heel_strikes"):
            a, b = stretch.start + int(np.ceil(strike + 0.1 * stride)), stretch.start + int(strike + 0.4 * stride) + 1
            if b <= stretch.stop and b - a > 1:
                out.append((n, a, b))
    return out


def _prints(joints: np.ndarray, fps: float, skeleton: Skeleton, flat: list[tuple[int, int, int]]) -> list[tuple]:
    """(side 0 or 1, x, y, z, velocity (2,)) [m, m/s] of the ankle of each foot that is flat."""
    ankles = [track(joints, skeleton, f"{side}_ankle") for side in SIDES]
    places = [(n, ankles[n][a:b]) for n, a, b in flat]
    return [(n, *p.mean(0), (p[-1, :2] - p[0, :2]) / (len(p) - 1) * fps) for n, p in places]


def _walks(straight: np.ndarray, fps: float, stride: float, skeleton: Skeleton) -> bool:
    """Does one foot get ahead of the other in turn, below an upright body that makes way? (T, J, 3) along +y."""
    spread = (track(straight, skeleton, "left_ankle") - track(straight, skeleton, "right_ankle"))[:, 1]
    way = np.ptp(track(straight, skeleton, "hip")[:, 1])
    size = float(np.subtract(*np.percentile(spread, [95, 5])))
    peaks = [signal.find_peaks(s, prominence=max(0.4 * size, 0.5 * MIN_SPREAD))[0] for s in (spread, -spread)]
    changes = min(map(len, peaks))
    enough = changes >= 1 or len(straight) < 2.5 * stride
    return size > MIN_SPREAD and enough and way / len(straight) * fps > MIN_SPEED and _upright(straight, skeleton)


def _upright(joints: np.ndarray, skeleton: Skeleton) -> bool:
    height = (track(joints, skeleton, "hip") - track(joints, skeleton, "ankle"))[:, 2]
    return bool(np.median(height) > 0.6 * leg_length(joints, skeleton))


def _what_instead(joints: np.ndarray, stride: float, skeleton: Skeleton) -> str:
    """What a recording without a walk shows."""
    if not _upright(joints, skeleton):
        return "the person sits, lies or crawls"
    path = mean_over(track(joints, skeleton, "hip")[:, :2], stride)
    way = np.linalg.norm(np.ptp(path, axis=0))
    front = mean_over(facing(joints, skeleton)[0], stride)
    turned = np.degrees(np.ptp(np.unwrap(np.arctan2(front[:, 1], front[:, 0]))))
    if way < 0.5:
        where = f"the person stays within {way:.2f} m"
        return (
            f"{where} and turns by {turned:.0f} degrees"
            if turned > 60
            else f"{where} and the feet do not pass each other in turn"
        )
    return f"the person gets {way:.1f} m along and the feet do not pass each other in turn, or never straight on for a stride"


def _check_sides(
    joints: np.ndarray, fps: float, skeleton: Skeleton, stretches: list[Stretch], repairs: dict, doubts: list[str]
) -> tuple[np.ndarray, bool]:
    """Is left on the left, and do knees and toes point along the way? Sides exchanged for good are put right."""
    hips, front = (
        np.mean(np.concatenate([facing(straightened(joints, fps, skeleton, s), skeleton)[n][:, 1] for s in stretches]))
        for n in (0, 1)
    )
    hips = np.sign(hips) if abs(hips) > 0.03 else np.sign(front)
    if abs(front) < 0.04:
        front = hips
    if hips * front < 0:
        joints = joints[:, list(skeleton.mirror)]
        repairs["sides_exchanged"] = 1
        doubts.append(
            "left and right are exchanged, or the axes left-handed: the sides were named anew, as knees and toes point"
        )
    if front < 0:
        doubts.append(
            "the person walks backwards, facing against the way: classes and words of models, which learnt from forward walks, "
            "do not hold for it"
        )
    return joints, bool(front < 0)


def _odd_legs(straight: np.ndarray, fps: float, skeleton: Skeleton, backwards: bool, prints: list[tuple]) -> list[str]:
    """Sentences on legs (T, J, 3) along +y that no body has and that exchanged columns make: joints on the other leg's line,
    thighs or shanks that lean sideways, toes that point sideways, knees that bend forward, a foot that slides as it stands."""
    place = {
        f"{side}_{n}": track(straight, skeleton, f"{side}_{n}") * ([-1, -1, 1] if backwards else 1)
        for side in SIDES
        for n in ("hip", "knee", "ankle", "foot")
    }
    out = []
    for n, least in (("knee", 0.03), ("ankle", 0.02), ("foot", 0.0)):
        apart = float(np.median((place[f"right_{n}"] - place[f"left_{n}"])[:, 0]))
        if apart < least:
            out.append(f"left and right {n} are {apart:.2f} m apart sideways: a narrow or crossed gait, or exchanged columns")
    speed = abs(track(straight, skeleton, "hip")[-1, 1]) / len(straight) * fps
    for number, side in enumerate(SIDES):
        slides = [p[4][1] for p in prints if p[0] == number]
        if slides and abs(np.median(slides)) > max(0.25, 0.25 * speed):
            out.append(f"the {side} foot slides by {np.median(slides):.1f} m/s while it stands")
        hip, knee, ankle, foot = (place[f"{side}_{n}"] for n in ("hip", "knee", "ankle", "foot"))
        for name, bone in (("thigh", knee - hip), ("shank", ankle - knee)):
            lean = float(np.degrees(np.arcsin(np.median(bone[:, 0]) / np.median(np.linalg.norm(bone, axis=-1)))))
            if abs(lean) > MOST_LEAN:
                out.append(f"the {side} {name} leans sideways by {abs(lean):.0f} degrees: or columns are exchanged")
        toes = np.degrees(np.median(np.abs(np.arctan2(*(foot - ankle)[:, :2].T))))
        if toes > MOST_TOES:
            out.append(f"the {side} foot points {toes:.0f} degrees away from the way")
        bend = np.degrees(np.arctan2(*(knee - hip)[:, [1, 2]].T) - np.arctan2(*(ankle - knee)[:, [1, 2]].T))
        bend = float(np.percentile(-((bend + 180) % 360 - 180), 5))
        if bend < -MOST_BACK:
            out.append(f"the {side} knee bends forward by {-bend:.0f} degrees")
    return out


# ---------------------------------------------------------------- the floor


def _level(
    joints: np.ndarray,
    fps: float,
    skeleton: Skeleton,
    stretches: list[Stretch],
    backwards: bool,
    prints: list[tuple],
    repairs: dict,
    doubts: list[str],
) -> np.ndarray:
    """Put the floor level: where the standing feet say that it slopes, or where they are too few the hips on their way, the
    camera is tilted, or the person walks on a slope."""
    slope, error = _slope(prints)
    angle, by = _steepness(slope), "the standing feet"
    if max(angle, RISE) <= 3 * error:
        slope = _hips_slope(joints, fps, skeleton, max(stretches, key=lambda s: s.stop - s.start))
        angle, error, by = _steepness(slope), RISE / 3, "the way of the hips"
    if angle <= MIN_TILT or angle <= 3 * error:
        return joints
    body = track(joints, skeleton, "hip") - track(joints, skeleton, "ankle")
    lean = np.mean(np.concatenate([body[s.start : s.stop] for s in stretches]), axis=0)
    across = np.append(slope / np.linalg.norm(slope), 0)
    way = np.mean([np.array([np.cos(a), np.sin(a)]) for a in np.radians([s.heading for s in stretches])], axis=0)
    ahead = (way @ across[:2]) * (-1 if backwards else 1)  # 1: the person faces uphill
    leans = np.degrees(np.arctan2(lean @ across, lean[2]))  # against the rise of the floor negative
    either = leans + angle, leans  # how far the legs lean before a tilted camera, and on a slope
    likely = [LEANS[0] < np.sign(ahead) * legs < LEANS[1] for legs in either]
    sure = likely[0] != likely[1]
    tilted = likely[0] if sure else abs(either[0] - LEAN * ahead) < abs(either[1] - LEAN * ahead)
    if angle < 4 or tilted:
        joints = joints @ _rotation(slope).T
        repairs["floor_levelled_degrees"] = round(angle, 2)
        if angle > TOLD_TILT:
            cause = ", as under a tilted camera" if sure else ": a slope or a tilted camera"
            doubts.append(f"the floor sloped by {angle:.1f} degrees{cause}; levelled by {by}")
    else:
        joints = joints.copy()
        joints[..., 2] -= joints[..., :2] @ slope
        cause = "" if sure else ", or the camera is tilted and leans of the trunk hold its tilt"
        doubts.append(f"the person walks on a slope of {angle:.1f} degrees{cause}: heights are taken from the slope")
    return joints


def _steepness(slope: np.ndarray) -> float:
    """Degrees of a slope (2,), metre a metre."""
    return float(np.degrees(np.arctan(np.linalg.norm(slope))))


def _hips_slope(joints: np.ndarray, fps: float, skeleton: Skeleton, stretch: Stretch) -> np.ndarray:
    """Slope (2,), metre a metre along x and y, of the hips' way over the whole steps of a stretch; 0 where it is short."""
    hips, step = track(joints, skeleton, "hip")[stretch.start : stretch.stop], stride_frames(joints, fps, skeleton) / 2
    frames = int(len(hips) // step * step)
    first, way = (len(hips) - frames) // 2, np.array([np.cos(np.radians(stretch.heading)), np.sin(np.radians(stretch.heading))])
    hips = hips[first : first + frames]
    along = hips[:, :2] @ way
    if frames < 2 * step or np.ptp(along) < LEAST_WAY:
        return np.zeros(2)
    along -= along.mean()
    return (along @ hips[:, 2]) / (along @ along) * way


def _level_across(
    joints: np.ndarray,
    fps: float,
    skeleton: Skeleton,
    stretches: list[Stretch],
    longest: Stretch,
    flat: list[tuple[int, int, int]],
    repairs: dict,
    doubts: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Undo a camera's roll on a walk in one direction: legs lean to the side as much as one foot stands above the other.

    Returns: joints, and those of the longest stretch along +y, in whose frames `flat` counts.
    """
    straight = straightened(joints, fps, skeleton, longest)
    ways = np.radians([s.heading - longest.heading for s in stretches])
    if (np.cos(ways) < 0.9).any() or any(s.curved for s in stretches):
        return joints, straight
    body = (track(straight, skeleton, "hip") - track(straight, skeleton, "ankle")).mean(0)
    lean = np.degrees(np.arctan2(body[0], body[2]))  # to the right
    prints = _prints(straight, fps, skeleton, flat)
    feet = [np.array([p[1:4] for p in prints if p[0] == n]) for n in (0, 1)]
    if abs(lean) < MIN_TILT or min(map(len, feet)) < 2:
        return joints, straight
    across = feet[1].mean(0) - feet[0].mean(0)  # from left to right
    rise = -np.degrees(np.arctan2(across[2], across[0]))
    if across[0] > 0.05 and abs(rise - lean) < max(1.0, 0.3 * abs(lean)):
        way = heading(joints[longest.start : longest.stop], skeleton)
        joints = joints @ _rotation(-np.tan(np.radians(lean)) * np.array([way[1], -way[0]])).T
        straight = straightened(joints, fps, skeleton, longest)
        repairs["floor_levelled_degrees"] = round(float(np.hypot(repairs["floor_levelled_degrees"], lean)), 2)
        if abs(lean) > TOLD_TILT:
            doubts.append(
                f"the floor sloped sideways by {abs(lean):.1f} degrees, as under a rolled camera; levelled by the feet"
            )
    elif abs(lean) > 2 * TOLD_TILT:
        doubts.append(f"the legs lean sideways by {abs(lean):.1f} degrees: the person does, or the camera is rolled")
    return joints, straight


def _slope(prints: list[tuple]) -> tuple[np.ndarray, float]:
    """Slope (2,) of the floor, metre a metre along x and y, and its standard error [degrees], by least squares through the
    prints of each foot; across a straight walk the feet cannot tell it, and it is 0."""
    if len(prints) < 4:
        return np.zeros(2), 90.0
    side, places = np.array([p[0] for p in prints]), np.array([p[1:4] for p in prints])
    for n in (0, 1):
        if (side == n).any():
            places[side == n] -= places[side == n].mean(0)
    size, axes = np.linalg.eigh(places[:, :2].T @ places[:, :2])
    use = axes[:, np.sqrt(np.maximum(size, 0) / len(prints)) > 0.25]
    if not use.shape[1]:
        return np.zeros(2), 90.0
    x = places[:, :2] @ use
    found, *_ = np.linalg.lstsq(x, places[:, 2], rcond=None)
    rest = places[:, 2] - x @ found
    free = max(1, len(prints) - use.shape[1] - 2)
    error = np.sqrt((rest**2).sum() / free / (x**2).sum(0).min())
    return use @ found, float(np.degrees(error))


def _rotation(slope: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) about a horizontal axis that takes the normal of the sloping floor to +z."""
    normal = np.array([-slope[0], -slope[1], 1.0])
    normal /= np.linalg.norm(normal)
    v, c = np.cross(normal, [0.0, 0.0, 1.0]), normal[2]
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)
