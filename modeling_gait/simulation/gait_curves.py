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
    shoulder, elbow    flexion of the own side's arm

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
CURVES = ("hip", "knee", "ankle", "pelvis_up", "rotation", "lean_side", "lean_forward", "lateral", "sway", "shoulder", "elbow")

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

# Severity 1: curves of the affected leg, curves of the other leg; what is missing stays as in the unimpaired walk.
PATHOLOGICAL: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "normal": ({}, {}),
    "antalgic": (  # short painful stance, knee kept bent, hip not extended, no push-off, trunk shifted over the painful side
        {
            "hip": "0:29 12:27 20:23 31:16 40:11 48:8 54:11 62:18 70:25 78:29 85:30 90:30 95:29",
            "knee": "0:10 6:14 13:17 20:17 30:15 39:14 45:15 50:17 56:23 62:32 67:43 72:49 77:47 84:34 90:20 96:11",
            "ankle": "0:-2 6:-4 12:0 20:4 31:7 40:9 46:9 50:8 55:5 60:0 63:-3 68:-3 75:-1 82:0 88:1 94:0",
            "lean_side": "0:2 12:7 35:7 62:1 80:0",
            "sway": "0:0 25:3 62:0 80:0",
        },
        {},
    ),
    "stiff_legged": (  # knee hardly bends; hip hike and circumduction clear the foot
        {
            "hip": "0:24 12:21 20:15 31:5 40:-3 50:-8 55:-6 62:0 70:10 78:19 85:24 90:26 95:25",
            "knee": "0:3 13:5 30:4 40:3 50:4 56:7 62:13 68:18 74:20 82:14 90:7 96:4",
            "ankle": "0:0 6:-4 12:-1 20:3 31:7 40:9 46:9 50:8 55:4 60:1 63:0 68:2 75:5 82:6 88:4 94:2",
            "pelvis_up": "0:0 13:3 25:2 48:1 56:6 64:11 80:11 90:4",
            "lateral": "0:0 50:0 58:2 70:11 80:12 90:5",
            "lean_side": "0:0 30:2 62:-3 75:-6 90:-2",
        },
        {},
    ),
    "lurch": (  # weak hip extensors: the trunk is thrown back in the affected stance
        {
            "knee": "0:9 6:13 13:17 20:15 30:9 39:5 45:7 50:11 56:20 62:35 67:49 72:56 77:53 84:37 90:20 96:9",
            "hip": "0:27 12:22 20:14 31:3 40:-5 50:-10 55:-8 62:1 70:15 78:26 85:31 90:31 95:29",
            "lean_forward": "0:-7 8:-16 20:-18 35:-12 50:-3 62:2 75:3 90:0",
        },
        {},
    ),
    "steppage": (  # drop foot: hangs in swing, lifted by hip and knee, lands on the forefoot or flat
        {
            "hip": "0:31 5:31 12:28 20:20 31:8 40:-2 50:-9 55:-3 62:16 70:39 78:53 85:54 90:47 95:36",
            "knee": "0:14 6:17 13:18 20:15 30:9 39:6 45:8 50:14 56:32 62:56 67:75 72:85 77:83 84:68 90:45 96:22",
            "ankle": "0:-12 6:-7 12:-3 20:3 31:7 40:9 46:9 50:6 55:-3 60:-14 63:-19 68:-22 75:-23 82:-22 88:-19 94:-15",
            "lean_side": "0:0 30:1.5 62:-1 75:-2 90:0",
        },
        {},
    ),
    "trendelenburg": (  # weak hip abductors: the pelvis drops to the swing side, the trunk leans over the stance leg
        {
            "pelvis_up": "0:1 13:9 28:11 40:8 50:1 62:0 75:0 90:0",
            "lean_side": "0:1 12:9 30:13 45:9 62:0 80:-1",
            "sway": "0:0 31:4 62:0 80:0",
        },
        {},
    ),
    "parkinsonian": ({}, {}),
}
_SHUFFLE = {  # UPDRS gait score 3: small ranges, flexed knees, flat foot contact, hardly any arm swing, bent elbows
    "hip": "0:28 12:25 20:21 31:15 40:9 50:4 55:5 62:10 70:18 78:25 85:29 90:30 95:29",
    "knee": "0:13 6:15 13:16 20:15 30:13 39:12 45:13 50:16 56:22 62:29 67:34 72:36 77:34 84:26 90:18 96:13",
    "ankle": "0:-3 6:-3 12:0 20:4 31:8 40:11 46:11 50:10 55:6 60:1 63:-1 68:1 75:4 82:3 88:0 94:-2",
    "pelvis_up": "0:0 13:1.5 25:1 50:0 75:0 90:0",
    "rotation": "0:0.7 25:0 50:-0.7 75:0",
    "shoulder": "0:-2 25:1 50:4 75:1",
    "elbow": "0:42 25:43 50:45 75:43",
}
PATHOLOGICAL["parkinsonian"] = (_SHUFFLE, _SHUFFLE)


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
