"""Reference gait curves: joint angles of a leg over its gait cycle as key points, and their Fourier series.

In: gait_curves.yaml. Out: its tables (`NORMAL`, `SLOW`, `WAYS`, ...: key points) and `fourier` (key points -> complex
coefficients (HARMONICS + 1,)).

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

from pathlib import Path

import numpy as np
import yaml
from scipy.interpolate import PchipInterpolator

HARMONICS = 10
SPREAD, HABITS = 0.4, 0.25  # SD of the degrees between people: of those with a pathology, of healthy ones (`domain`)
_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
CURVES, NORMAL, SLOW, SHUFFLE = (_TABLES[name] for name in ("CURVES", "NORMAL", "SLOW", "SHUFFLE"))
WAYS, TEXTBOOK, DEGREES, NORM_ANGLES = (_TABLES[name] for name in ("WAYS", "TEXTBOOK", "DEGREES", "NORM_ANGLES"))


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
