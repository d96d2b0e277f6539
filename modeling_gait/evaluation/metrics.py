"""Metrics of generated and reconstructed walks.

In: joints (..., T, J, 3) in metres (leading axes are walks), fps, or one feature vector a walk (N, D) from `gait_features`.
Out: one float, in the unit that each docstring names. What is given at once is averaged (all but `dtw`).
Values that are not finite are refused (ValueError), but where a mask leaves them out: they would hide what is bad.
"""

import numpy as np
from scipy.spatial.distance import cdist, pdist
from sklearn.covariance import LedoitWolf

from ..gait_events import smooth_positions
from ..kinematics import JOINT_ANGLES, bone_lengths, joint_angles, joint_track, pelvis_track
from ..skeletons import KINECT_V2, Skeleton, check_metres

# Degrees. Norkin & White 2016, Measurement of Joint Motion, app. B (AAOS ranges of adults), widened by at least 10 degrees for
# the error of joint centres. Knee flexion is signed here (hyperextended is negative), hip flexion is against the vertical.
JOINT_LIMITS = {
    "hip_flexion": (-40.0, 130.0),
    "knee_flexion": (-15.0, 160.0),
    "ankle_dorsiflexion": (-60.0, 35.0),
    "hip_adduction": (-55.0, 40.0),
}


def mpjpe(
    prediction: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None, root_relative: bool = True, root: int = 0
) -> float:
    """Mean per-joint position error [mm] (Ionescu et al. 2014, Human3.6M, eq. 8).

    Args:
        prediction, reference: (..., T, J, 3) [m].
        mask: (..., T) frames or (..., T, J) joints that count (non-zero); all if None.
        root_relative: put joint `root` of both at the origin in every frame first.

    Raises:
        ValueError: shapes differ, nothing is left by the mask, or what is left is not finite.
    """
    prediction, reference = _pair(prediction, reference)
    if root_relative:
        prediction = prediction - prediction[..., root : root + 1, :]
        reference = reference - reference[..., root : root + 1, :]
    return 1000 * _masked_mean(np.linalg.norm(prediction - reference, axis=-1), mask)


def pa_mpjpe(prediction: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> float:
    """MPJPE [mm] after the best similarity (rotation, scale, shift) of each frame of the prediction on the reference.

    Procrustes analysis (Gower 1975) frame by frame, without reflections. Shapes, mask and errors as `mpjpe`;
    of a frame that counts all joints must be finite.
    """
    prediction, reference = _pair(prediction, reference)
    whole = np.isfinite(prediction + reference).all((-1, -2))
    prediction, reference = (np.where(whole[..., None, None], x, 0.0) for x in (prediction, reference))
    centre = reference.mean(axis=-2, keepdims=True)
    x, y = prediction - prediction.mean(axis=-2, keepdims=True), reference - centre
    u, s, vt = np.linalg.svd(np.swapaxes(y, -1, -2) @ x)
    sign = np.ones_like(s)
    sign[..., 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt
    scale = (s * sign).sum(-1) / np.maximum((x**2).sum((-1, -2)), 1e-12)
    aligned = scale[..., None, None] * (x @ np.swapaxes(rotation, -1, -2))
    return 1000 * _masked_mean(np.where(whole[..., None], np.linalg.norm(aligned - y, axis=-1), np.nan), mask)


def acceleration_error(prediction: np.ndarray, reference: np.ndarray, fps: float = 30.0) -> float:
    """Mean distance [m/s^2] of the joints' accelerations, second differences times fps^2 (Kanazawa et al. 2019, HMMR).

    Raises ValueError if the shapes (..., T, J, 3) differ or T < 3.
    """
    prediction, reference = _pair(prediction, reference)
    if prediction.shape[-3] < 3:
        raise ValueError(f"acceleration needs at least 3 frames, got {prediction.shape[-3]}")
    error = np.diff(_finite(prediction - reference), n=2, axis=-3)
    return float(np.linalg.norm(error, axis=-1).mean() * fps**2)


def bone_length_variation(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> float:
    """Standard deviation over time of a bone's length over its mean, averaged over bones and walks; 0 for rigid bones.

    joints (..., T, J, 3) [m]; ValueError if J does not fit.
    """
    joints = _joints(joints, skeleton)
    lengths = np.delete(bone_lengths(joints, skeleton), skeleton.root, axis=-1)
    return float((lengths.std(axis=-2) / np.maximum(lengths.mean(axis=-2), 1e-9)).mean())


def foot_skate(joints: np.ndarray, fps: float = 30.0, skeleton: Skeleton = KINECT_V2, height: float = 0.03) -> float:
    """Horizontal speed [m/s] of the feet while they touch the floor: the median over those frames, meant over feet and walks.

    A foot touches while its ankle and its foot joint (the ankle alone where there is none) are less than `height` [m]
    above their own 5th percentile of the walk, in two successive frames; measured walks have no common floor. The median,
    since a low swing foot passes within the noise of a depth camera: half of Kinect's "touching" frames say < 0.1 m/s, but
    their mean is 0.5. joints (..., T, J, 3) [m]; nan if no foot ever touches, ValueError if J does not fit or T < 2.
    """
    joints = _joints(joints, skeleton)
    if joints.shape[-3] < 2:
        raise ValueError("speed needs at least 2 frames, got 1")
    speeds = []
    for walk in joints.reshape(-1, *joints.shape[-3:]):
        for side in ("left", "right"):
            names = [n for n in (f"{side}_ankle", f"{side}_foot") if skeleton.has(n)]
            tracks = walk[:, [skeleton.index(n) for n in names]]
            down = (tracks[..., 2] - np.percentile(tracks[..., 2], 5, axis=0) < height).all(axis=-1)
            speed = np.linalg.norm(np.diff(tracks[:, -1, :2], axis=0), axis=-1) * fps
            touching = speed[down[1:] & down[:-1]]
            speeds += [np.median(touching)] if len(touching) else []
    return float(np.mean(speeds)) if speeds else float("nan")


def joint_limit_violations(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> float:
    """Share of frames (0 to 1) in which any angle of a leg is outside `JOINT_LIMITS`.

    joints (..., T, J, 3) [m], walking along +y; angles that the skeleton lacks do not count. Measured walks are not free of
    violations (Kinect's foot joint), so compare with theirs. ValueError if J does not fit.
    """
    joints = _joints(joints, skeleton)
    joints = joints.reshape(-1, *joints.shape[-2:])
    angles = joint_angles(joints, skeleton)
    outside = np.zeros(len(joints), bool)
    for side in ("left", "right"):
        for name, (low, high) in JOINT_LIMITS.items():
            angle = angles[f"{name}_{side}"]
            if name == "knee_flexion":
                angle = np.where(_bends_forward(joints, skeleton, side), -angle, angle)
            outside |= (angle < low) | (angle > high)
    return float(outside.mean())


def _bends_forward(joints: np.ndarray, skeleton: Skeleton, side: str) -> np.ndarray:
    """(T,) whether the knee lies behind the line from hip to ankle (a hyperextended knee), walking along +y."""
    hip, knee, ankle = (joint_track(joints, skeleton, f"{side}_{n}") for n in ("hip", "knee", "ankle"))
    thigh, shank = knee - hip, ankle - knee
    return thigh[:, 1] * shank[:, 2] - thigh[:, 2] * shank[:, 1] > 0


def gait_features(joints: np.ndarray, fps: float = 30.0, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """A fixed description (82,) of one walk (T, J, 3), T >= 3, for `frechet_gait_distance` and `diversity`. Nothing is learned.

    After a 6 Hz low-pass: of each of the 12 joint angles the mean, standard deviation, 5th and 95th percentile [deg] and
    the root mean square rate [deg/s]; forward and vertical speed and their spread [m/s]; the standard deviations of
    ankles, wrists and head about the pelvis (x, y, z) [m]; and the correlation of left with right hip, of left with right
    knee, and of hip with knee of each side. What the skeleton lacks is 0. ValueError on a wrong shape or non-finite values.
    """
    joints = _joints(joints, skeleton)
    if joints.ndim != 3 or len(joints) < 3:
        raise ValueError(f"expected one walk (T >= 3, {len(skeleton)}, 3), got shape {joints.shape}")
    joints = smooth_positions(joints, fps)
    angles = joint_angles(joints, skeleton)
    curves = np.stack([angles[name] for name in JOINT_ANGLES])
    rate = np.sqrt((np.gradient(curves, 1 / fps, axis=-1) ** 2).mean(-1))
    statistics = np.stack([curves.mean(-1), curves.std(-1), *np.percentile(curves, [5, 95], axis=-1), rate])
    pelvis = pelvis_track(joints, skeleton)
    velocity = np.gradient(pelvis[:, 1:], 1 / fps, axis=0)
    head = next((n for n in ("head", "nose") if skeleton.has(n)), "head")
    ends = [joint_track(joints, skeleton, n) - pelvis for n in ("left_ankle", "right_ankle", "left_wrist", "right_wrist", head)]
    pairs = (
        ("hip_flexion_left", "hip_flexion_right"),
        ("knee_flexion_left", "knee_flexion_right"),
        ("hip_flexion_left", "knee_flexion_left"),
        ("hip_flexion_right", "knee_flexion_right"),
    )
    together = [_correlation(angles[a], angles[b]) for a, b in pairs]
    spread = np.stack(ends).std(axis=1)
    parts = (statistics.ravel(), velocity.mean(0)[:1], velocity.std(0)[:1], velocity.std(0)[1:], spread.ravel(), together)
    return np.nan_to_num(np.concatenate(parts))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(np.sqrt((a**2).sum() * (b**2).sum()), 1e-9))


def frechet_gait_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Frechet distance of two sets of walks in the feature space of `gait_features`; 0 for equal sets.

    |m - m'|^2 + tr(S + S' - 2 (S S')^1/2) of the normal distributions fitted to each set (Heusel et al. 2017,
    arXiv 1706.08500, eq. 6), features standardised by the reference, covariances shrunk (Ledoit and Wolf 2004), since a
    person's walks are few. The distance falls with the number of walks: compare sets of equal size, and quote the distance
    of two halves of the reference beside it.

    Args:
        features, reference: (N, D) and (M, D), N, M >= 2.

    Raises:
        ValueError: other shapes or non-finite values.
    """
    features, reference = _standardised(features, reference), _standardised(reference, reference)
    a, b = LedoitWolf().fit(features), LedoitWolf().fit(reference)
    values, vectors = np.linalg.eigh(a.covariance_)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b.covariance_ @ root), 0)).sum()
    shift = ((a.location_ - b.location_) ** 2).sum()
    return float(max(shift + np.trace(a.covariance_) + np.trace(b.covariance_) - 2 * cross, 0.0))


def diversity(features: np.ndarray, reference: np.ndarray | None = None) -> float:
    """Mean distance of all pairs of walks (N, D) in feature space, standardised by `reference` (M, D), itself if None.

    Compare with the diversity of the reference itself. ValueError on other shapes or non-finite values.
    """
    return float(pdist(_standardised(features, features if reference is None else reference)).mean())


def _standardised(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    features, reference = np.asarray(features, np.float64), np.asarray(reference, np.float64)
    for name, x in (("features", features), ("reference", reference)):
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != features.shape[1] or not np.isfinite(x).all():
            raise ValueError(f"{name}: expected finite (N >= 2, {features.shape[-1]}), got shape {x.shape}")
    deviation = reference.std(axis=0)
    constant = deviation < 1e-9 * np.maximum(1, np.abs(reference).max(axis=0))
    return (features - reference.mean(axis=0)) / np.where(constant, 1, deviation)


def dtw(a: np.ndarray, b: np.ndarray) -> np.ndarray | float:
    """Dynamic time warping distance (Sakoe and Chiba 1978): the least sum of Euclidean distances along a warping path.

    Steps (1,0), (0,1), (1,1), no window, no normalisation; the unit is that of the series. Anti-diagonals are computed at
    once, and so are batches.

    Args:
        a, b: (..., T, D) and (..., S, D) with equal leading axes; flatten joints to D = J * 3.

    Returns: a float, or (...) distances of a batch.

    Raises:
        ValueError: shapes do not fit, or a series is empty or not finite.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-1] or 0 in a.shape or 0 in b.shape:
        raise ValueError(f"expected series (..., T, D) and (..., S, D), got {a.shape} and {b.shape}")
    lead, (n, m) = a.shape[:-2], (a.shape[-2], b.shape[-2])
    a, b = _finite(a).reshape(-1, *a.shape[-2:]), _finite(b).reshape(-1, *b.shape[-2:])
    cost = np.stack([cdist(x, y) for x, y in zip(a, b, strict=True)])
    total = np.full((len(cost), n + 1, m + 1), np.inf)
    total[:, 0, 0] = 0
    for k in range(2, n + m + 1):
        i = np.arange(max(1, k - m), min(n, k - 1) + 1)
        j = k - i
        before = np.minimum(np.minimum(total[:, i - 1, j], total[:, i, j - 1]), total[:, i - 1, j - 1])
        total[:, i, j] = cost[:, i - 1, j - 1] + before
    return total[:, n, m].reshape(lead) if lead else float(total[0, n, m])


def _joints(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    joints = np.asarray(joints, np.float64)
    if joints.ndim < 3 or joints.shape[-2:] != (len(skeleton), 3) or not joints.size:
        raise ValueError(f"expected joints (..., T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, got {joints.shape}")
    check_metres(joints.reshape(-1, *joints.shape[-2:]))
    return _finite(joints)


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("the joints hold values that are not finite: clean the walk first (modeling_gait.cleaning.clean_walk)")
    return values


def _pair(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, reference = np.asarray(prediction, np.float64), np.asarray(reference, np.float64)
    if prediction.shape != reference.shape or prediction.ndim < 3 or prediction.shape[-1] != 3 or not prediction.size:
        raise ValueError(f"expected two arrays of one shape (..., T, J, 3), got {prediction.shape} and {reference.shape}")
    for name, joints in (("prediction", prediction), ("reference", reference)):
        check_metres(joints.reshape(-1, *joints.shape[-2:]), name)
    return prediction, reference


def _masked_mean(error: np.ndarray, mask: np.ndarray | None) -> float:
    """Mean of errors (..., T, J) where the mask (..., T) or (..., T, J) is non-zero."""
    if mask is None:
        return float(_finite(error).mean())
    mask = np.asarray(mask).astype(bool)
    if mask.shape == error.shape[:-1]:
        mask = np.broadcast_to(mask[..., None], error.shape)
    if mask.shape != error.shape:
        raise ValueError(f"mask of shape {mask.shape} fits neither frames {error.shape[:-1]} nor joints {error.shape}")
    if not mask.any():
        raise ValueError("the mask leaves no joint to measure")
    return float(_finite(error[mask]).mean())
