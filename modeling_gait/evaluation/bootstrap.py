"""Bootstrap intervals over whole units, people or walks (Efron 1979, percentiles).

In: values, one a unit; or rows that belong to units, all of which are drawn together, and a function of rows. Out: the ends of
a 95 % interval.
"""

from collections.abc import Callable

import numpy as np

ENDS = (2.5, 97.5)


def bootstrap(values: np.ndarray, draws: int = 10000) -> tuple[float, float]:
    """95 % interval of the mean of values (N,), one a held-out person or group."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    return tuple(map(float, np.percentile(means, ENDS)))


def bootstrap_units(
    measure: Callable[[np.ndarray], float | np.ndarray],
    units: np.ndarray,
    strata: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """95 % interval (2,) or (2, K) of `measure`, which gets the indices of the drawn rows and returns a number or (K,).

    Args:
        units: (N,) whose each row is.
        strata: (N,); as many units of each stratum are drawn as there are. None: all are of one.
    """
    rng, units = np.random.default_rng(seed), np.asarray(units)
    strata = np.zeros(len(units), int) if strata is None else np.asarray(strata)
    rows = [[np.flatnonzero((units == u) & (strata == s)) for u in np.unique(units[strata == s])] for s in np.unique(strata)]
    chosen = lambda: np.concatenate([group[i] for group in rows for i in rng.integers(0, len(group), len(group))])  # noqa: E731
    return np.nanpercentile([measure(chosen()) for _ in range(draws)], ENDS, axis=0)


__all__ = ["bootstrap", "bootstrap_units"]
