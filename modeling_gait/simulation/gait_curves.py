"""Reference gait curves: joint angles of a leg over its gait cycle as key points, and their Fourier series.

In: nothing. Out: `NORMAL`, `SLOW`, `PATHOLOGICAL` (key points) and `fourier` (key points -> complex coefficients
(HARMONICS + 1,)). Used by simulation.py.

Every curve belongs to one leg and runs over that leg's own gait cycle in percent, 0 = its heel strike, 62 = its toe-off.
Curves of pelvis and trunk are one leg's share: the two legs' shares are subtracted (frontal plane, rotation, sway) or added
(forward lean). Units: degrees; `lateral` and `sway` centimetres.

    hip, knee          flexion; ankle: dorsiflexion
    pelvis_up          own side of the pelvis higher than the other (in own stance: the swing side drops; in own swing: a hike)
    rotation           own side of the pelvis forward
    lean_side          trunk towards the own side;  lean_forward: trunk forward
    lateral            foot outwards of its line (circumduction);  sway: pelvis towards the own side
    shoulder, elbow    flexion of the own side's arm;  abduction: arm away from the body

Sources. Normal: the phase values of Perry & Burnfield, Gait Analysis, 2nd ed. 2010, ch. 3-7 (thigh 20, 20, 0, -20, -10, 15, 25,
20 deg at the end of each phase, to which 10 deg of anterior pelvic tilt are added; knee 5, 15-20, 5, 10, 40, 60, 25, 5; ankle
0, -5, 5, 10, -15, -5, 0, 0), times of the peaks after Winter, The Biomechanics and Motor Control of Human Gait, 2nd ed.
1991, and Kadaba et al. 1990 (J Orthop Res 8:383), who also give the pelvis. Slow: the trends with speed of Kirtley et al.
1985 (J Biomed Eng 7:282), Fukuchi et al. 2018 (PeerJ 6:e4640) and Koopman et al. 2014 (J Biomech 47:1447). Arms: Murray et al.
1967 (Am J Phys Med 46:290). The pathological curves put the signs that textbooks name into numbers (Perry & Burnfield 2010,
ch. 10-14; Whittle's Gait Analysis, 5th ed. 2012, ch. 3; stiff knee and circumduction: Kerrigan et al. 2000, Arch Phys Med
Rehabil 81:38; parkinsonian: Morris et al. 1999, Brain 122:2009, Sofuwa et al. 2005, Arch Phys Med Rehabil 86:1007); their
magnitudes are this package's choice.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

HARMONICS = 10
CURVES = (
    "hip",
    "knee",
    "ankle",
    "pelvis_up",
    "rotation",
    "lean_side",
    "lean_forward",
    "lateral",
    "sway",
    "shoulder",
    "elbow",
    "abduction",
)

# Comfortable speed, about 1.3 m/s.
NORMAL = {
    "hip": "0:31 5:31 12:28 20:20 31:8 40:-2 50:-10 55:-8 62:1 70:16 78:28 85:33.5 90:34 95:32.5",
    "knee": "0:5 6:12 13:18 20:16 30:9 39:5 45:7 50:11 56:21 62:37 67:52 72:60 77:57 84:39 90:18 96:4",
    "ankle": "0:0 6:-6 12:-2 20:3 31:7 40:10 46:11 50:8 55:-1 60:-13 63:-18 68:-14 75:-5 82:0 88:2 94:1",
    "pelvis_up": "0:0 13:3.8 25:3 50:0 62:-0.5 75:0 90:0",
    "rotation": "0:2.5 25:0 50:-2.5 75:0",
    "lean_side": "0:0 30:1.2 62:0 80:0",
    "lean_forward": "0:0.3 25:-0.3 50:0.3 75:-0.3",
    "lateral": "0:0 62:0 80:0.5",
    "sway": "0:0 31:2 62:0 80:0",
    "shoulder": "0:-20 25:-8 50:12 75:-8",
    "elbow": "0:6 25:10 50:22 75:12",
    "abduction": "0:0 50:0",
}

# About 0.5 m/s: flatter loading response, less knee flexion in swing, weaker push-off. The hip is scaled to the stride.
SLOW = {
    "knee": "0:6 6:8 13:10 20:9 30:7 39:6 45:8 50:10 56:17 62:29 67:42 72:50 77:48 84:35 90:18 96:7",
    "ankle": "0:-1 6:-4 12:-1 20:3 31:7 40:10 46:11 50:10 55:5 60:-4 63:-8 68:-6 75:-2 82:0 88:1 94:0",
    "pelvis_up": "0:0 13:2.5 25:2 50:0 62:-0.5 75:0 90:0",
    "rotation": "0:1.8 25:0 50:-1.8 75:0",
    "lean_side": "0:0 30:1.8 62:0 80:0",
    "sway": "0:0 31:2.8 62:0 80:0",
    "shoulder": "0:-11 25:-4 50:5 75:-4",
    "elbow": "0:7 25:9 50:13 75:9",
}

# Ways of showing a pathology: what is added to the curves of the affected leg (first) and of the other (second) at degree 1.
WAYS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # the leg
    "stiff_knee": (
        {"knee": "0:-3 45:0 56:-10 62:-21 67:-34 72:-42 77:-40 84:-26 90:-12 96:-3", "ankle": "50:0 58:5 63:9 70:6 78:0"},
        {},
    ),
    "bent_knee": ({"knee": "0:8 12:10 35:10 48:7 62:0 80:0 94:5"}, {}),
    "short_step": ({"hip": "0:-14 10:-12 25:-5 40:0 60:0 74:-6 87:-14"}, {}),
    "held_hip": ({"hip": "0:0 25:1 40:7 50:12 58:9 68:1 85:0"}, {}),
    "high_swing": ({"hip": "0:4 8:0 55:0 62:10 72:22 84:24 93:14", "knee": "0:9 8:4 52:0 60:12 68:24 78:32 86:32 94:20"}, {}),
    "kick": ({"hip": "0:8 10:2 58:0 70:10 82:20 92:18"}, {}),
    "foot_drop": ({"ankle": "0:-12 6:-6 14:0 60:0 68:-8 76:-18 85:-22 94:-16"}, {}),
    "weak_push_off": ({"ankle": "38:0 50:4 58:10 63:12 70:8 78:0"}, {}),
    "soft_knee": ({}, {"knee": "0:0 10:8 30:12 45:6 56:0 75:0"}),
    # pelvis and foot
    "pelvic_drop": ({"pelvis_up": "0:1 10:6 28:7 40:5 50:0 75:0"}, {}),
    "hip_hike": ({"pelvis_up": "0:1 10:0 45:0 56:4 66:7 82:7 92:4"}, {}),
    "retraction": ({"rotation": "0:-5 50:-5"}, {}),
    "circumduction": ({"lateral": "0:1 8:0 52:0 60:3 72:11 82:12 92:6"}, {}),
    "wide_base": ({}, {"lateral": "0:3 50:3"}),
    "shift": ({"sway": "0:1 20:4 35:4 55:0 80:0"}, {}),
    # the trunk
    "lean_over": ({"lean_side": "0:1 12:7 32:8 48:3 62:0 80:0"}, {}),
    "lean_off": ({"lean_side": "0:-3 12:0 48:0 62:-4 76:-6 90:-5"}, {}),
    "trunk_follows": ({"lean_side": "0:-3 10:-7 22:-6 38:-2 52:0 80:0"}, {}),
    "tilt": ({"lean_side": "0:3 50:3"}, {}),
    "stoop": ({"lean_forward": "0:4 50:4"}, {}),
    "throw_back": ({"lean_forward": "0:-12 10:-6 20:0 35:2 50:0 62:-6 76:-13 90:-15"}, {}),
    "lurch_back": ({"lean_forward": "0:-6 8:-14 20:-17 35:-11 50:-2 62:1 75:1 90:-1"}, {}),
    # the arms
    "still_arm": ({"shoulder": "0:12 25:2 50:-12 75:2", "elbow": "0:6 25:2 50:-6 75:2"}, {}),
    "still_other_arm": ({}, {"shoulder": "0:12 25:2 50:-12 75:2", "elbow": "0:6 25:2 50:-6 75:2"}),
    "arms_out": ({"abduction": "0:6 50:6"}, {"abduction": "0:6 50:6"}),
    "arms_ahead": ({"shoulder": "0:8 15:2 50:0 65:6 80:14 90:14"}, {"shoulder": "0:0 15:6 30:14 45:10 60:0 85:0"}),
}
SPREAD, HABITS = 0.4, 0.25  # SD of the degrees between people: of those with a pathology, of healthy ones (`domain`)
# The degrees of each class at severity 1: ridge least squares of the change of gist's subjects 1-5 from their normal walks on
# the changes that the ways make (experiments/sim_to_real.py), from `TEXTBOOK` as the prior; subjects 6-10 were not used.
TEXTBOOK: dict[str, dict[str, float]] = {
    "antalgic": {"bent_knee": 0.5, "held_hip": 1.0, "weak_push_off": 1.0, "lean_over": 0.8, "shift": 0.5},
    "stiff_legged": {"stiff_knee": 1.1, "weak_push_off": 0.5, "hip_hike": 1.2, "circumduction": 1.0, "lean_off": 0.8},
    "lurch": {"lurch_back": 1.0, "bent_knee": 0.2},
    "steppage": {"high_swing": 0.9, "foot_drop": 1.0, "weak_push_off": 0.3, "lean_off": 0.3},
    "trendelenburg": {"pelvic_drop": 1.1, "trunk_follows": 1.2, "shift": 0.6},
}
DEGREES: dict[str, dict[str, float]] = {
    "antalgic": {
        "stiff_knee": 0.5,
        "bent_knee": 0.7,
        "short_step": 2.1,
        "held_hip": 1.5,
        "kick": 0.1,
        "weak_push_off": 0.8,
        "soft_knee": 0.2,
        "hip_hike": 0.2,
        "retraction": 2.9,
        "circumduction": 0.1,
        "wide_base": 0.5,
        "shift": -0.2,
        "lean_over": 0.3,
        "lean_off": 0.3,
        "trunk_follows": 0.3,
        "tilt": -0.3,
        "stoop": 1,
        "lurch_back": 0.2,
        "still_arm": 0.6,
        "arms_out": -0.3,
    },
    "stiff_legged": {
        "stiff_knee": 1.2,
        "short_step": 1.1,
        "held_hip": 0.7,
        "soft_knee": 0.7,
        "hip_hike": 1.4,
        "retraction": 1.3,
        "circumduction": 2.1,
        "wide_base": 0.5,
        "shift": -0.5,
        "lean_over": 0.3,
        "lean_off": 0.8,
        "tilt": -0.6,
        "stoop": 0.4,
        "lurch_back": 0.1,
        "arms_out": -0.6,
    },
    "lurch": {
        "bent_knee": 0.3,
        "short_step": -1,
        "held_hip": -1.3,
        "kick": 1.7,
        "soft_knee": 1.1,
        "retraction": 0.1,
        "circumduction": 0.4,
        "shift": -0.8,
        "lean_off": 0.1,
        "tilt": -0.2,
        "throw_back": 1.2,
        "lurch_back": 0.1,
        "still_arm": 0.6,
        "arms_out": -0.2,
        "arms_ahead": 0.6,
    },
    "steppage": {
        "stiff_knee": 0.3,
        "bent_knee": 0.1,
        "short_step": -0.3,
        "held_hip": -0.6,
        "high_swing": 1.3,
        "kick": 0.1,
        "foot_drop": 1,
        "weak_push_off": 0.3,
        "soft_knee": 0.8,
        "pelvic_drop": 0.1,
        "hip_hike": 0.7,
        "retraction": 0.3,
        "circumduction": 0.4,
        "wide_base": 0.2,
        "shift": -0.5,
        "lean_over": 0.5,
        "lean_off": 0.3,
        "trunk_follows": 0.6,
        "tilt": -0.3,
        "stoop": -0.1,
        "throw_back": 0.2,
        "still_arm": 0.5,
        "still_other_arm": 0.2,
        "arms_out": -0.2,
    },
    "trendelenburg": {
        "stiff_knee": 0.1,
        "bent_knee": 0.3,
        "short_step": 0.2,
        "held_hip": -0.5,
        "kick": 0.2,
        "soft_knee": 0.8,
        "pelvic_drop": 1.1,
        "retraction": -0.1,
        "circumduction": 0.1,
        "wide_base": 0.6,
        "shift": 0.5,
        "lean_over": 0.2,
        "trunk_follows": 1.2,
        "tilt": -0.1,
        "stoop": 0.1,
        "throw_back": 0.2,
        "still_arm": 0.6,
        "still_other_arm": 0.3,
        "arms_out": -0.1,
    },
}
SHUFFLE = {  # UPDRS gait score 3: small ranges, flexed knees, flat foot contact, hardly any arm swing, bent elbows
    "hip": "0:28 12:25 20:21 31:15 40:9 50:4 55:5 62:10 70:18 78:25 85:29 90:30 95:29",
    "knee": "0:13 6:15 13:16 20:15 30:13 39:12 45:13 50:16 56:22 62:29 67:34 72:36 77:34 84:26 90:18 96:13",
    "ankle": "0:-3 6:-3 12:0 20:4 31:8 40:11 46:11 50:10 55:6 60:1 63:-1 68:1 75:4 82:3 88:0 94:-2",
    "pelvis_up": "0:0 13:1.5 25:1 50:0 75:0 90:0",
    "rotation": "0:0.7 25:0 50:-0.7 75:0",
    "shoulder": "0:-2 25:1 50:4 75:1",
    "elbow": "0:42 25:43 50:45 75:43",
}


# What the simulator is compared with (tests, experiments/simulator_norms.py); no curve is computed from it. (The key points of
# the hip's first 40 % were raised by 1-3 deg after a first comparison; nothing else was.)
# Sagittal angles of typically developing children (4-17 years) at 0, 10, ... 90 % of the cycle, mean and standard deviation in
# whole degrees: Schwartz, Rozumalski & Trost 2008 (J Biomech 41:1639), free speed; hip: less the mean pelvic tilt, which leaves
# the thigh against the vertical as in `kinematics.joint_angles`.
NORM_ANGLES = {
    "hip_flexion": ((24, 22, 11, 0, -11, -17, -12, 7, 20, 24), (5, 6, 6, 6, 7, 7, 7, 6, 5, 5)),
    "knee_flexion": ((6, 19, 16, 10, 6, 12, 34, 58, 50, 19), (6, 6, 6, 6, 6, 6, 7, 6, 8, 9)),
    "ankle_dorsiflexion": ((-2, -2, 5, 9, 11, 10, -14, -11, 1, 1), (6, 4, 4, 4, 4, 6, 9, 7, 5, 4)),
}


def fourier(key_points: str, harmonics: int = HARMONICS) -> np.ndarray:
    """Complex coefficients c (harmonics + 1,) with curve(p) = Re(sum_h c_h exp(2 pi i h p)), p in 0..1.

    `key_points` is "percent:value ..." with rising percents below 100. The points are joined by a periodic monotone cubic
    (Fritsch & Carlson 1980, no overshoot) and the series is its least-squares fit on an even grid.
    """
    percent, value = np.array([[float(v) for v in point.split(":")] for point in key_points.split()]).T
    x = np.concatenate((percent - 100, percent, percent + 100)) / 100
    grid = np.arange(200) / 200
    c = np.fft.rfft(PchipInterpolator(x, np.tile(value, 3))(grid))[: harmonics + 1] / len(grid)
    c[1:] *= 2
    return c


def curve_values(coefficients: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Values (..., C, T) of C curves, coefficients complex (..., C, H + 1), at phases (..., T); 1 is a whole cycle."""
    turn = np.exp(2j * np.pi * np.asarray(phase))
    waves = np.ones((*turn.shape[:-1], np.shape(coefficients)[-1], turn.shape[-1]), np.complex128)
    for h in range(1, waves.shape[-2]):
        waves[..., h, :] = waves[..., h - 1, :] * turn
    return np.real(coefficients @ waves)
