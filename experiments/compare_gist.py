"""Does `gait compare` tell a change from chance? Real walks of gist: one person and class twice, and normal beside a class.

    python -m experiments.compare_gist --dataset data/gist           # a minute of one core

In: eight walks of each person and class as sensor 3 saw them. Out: model_cards/results/compare_gist.json. `false_alarms_1`,
`_3`: share of the changes called beyond chance between walks of one person and class, one beside one and three beside three;
`found_1`, `_3`: of those between a person's normal walk and a class, at least one beyond chance but for speed;
`changes_1`, `_3`: how many. Of people 6 to 10: `comparison.WALK_TO_WALK` comes from people 1 to 5 (`walk_to_walk`, a row each).
"""

import argparse
from pathlib import Path

import numpy as np

from experiments.film_accuracy import walks
from experiments.runner import rounded, write_result
from modeling_gait.comparison import _values, compare_walks


def between_walks(groups: dict, people: range) -> dict[str, float]:
    """Parameter -> SD between walks of a person and class beyond that of the mean of their strides."""
    found: dict[str, list] = {}
    for (person, _), each in groups.items():
        if person in people:
            values = [_values([w]) for w in each]
            for name in set().union(*values):
                known = np.array([v[name][:2] for v in values if name in v and np.isfinite(v[name][1])])
                if len(known) > 2:
                    found.setdefault(name, []).append((known[:, 0].var(ddof=1), np.mean(known[:, 1] ** 2)))
    return {n: float(np.sqrt(max(0.0, np.subtract(*np.mean(v, axis=0))))) for n, v in sorted(found.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", type=Path, required=True)
    dataset, groups = parser.parse_args().dataset, {}
    for person, walk in walks(dataset, 8):
        groups.setdefault((int(person), walk.name.split("_", 1)[1].rstrip("0123456789")), []).append(walk)
    metrics = {}
    for size in (1, 3):
        same, other = [], []
        for (person, name), each in groups.items():
            if person > 5:
                starts = range(0, len(each) - 2 * size + 1, 2 * size)
                same += [compare_walks(each[n : n + size], each[n + size : n + 2 * size]) for n in starts]
                if name != "normal":
                    other.append(compare_walks(groups[person, "normal"][:size], each[:size]))
        known = [c.beyond for found in same for c in found.changes if np.isfinite(c.error)]
        beyond = [sum(c.beyond for c in found.changes if c.name != "speed") for found in other]
        metrics |= {f"false_alarms_{size}": float(np.mean(known)), f"changes_told_{size}": len(known)}
        metrics |= {f"found_{size}": float(np.mean(np.array(beyond) > 0)), f"changes_{size}": float(np.mean(beyond))}
        speed = [c.beyond for found in same for c in found.changes if c.name == "speed"]
        metrics[f"false_alarms_speed_{size}"] = float(np.mean(speed))
    first, second = (between_walks(groups, people) for people in (range(1, 6), range(6, 11)))
    rows = [{"parameter": n, "walk_to_walk": v, "people_6_to_10": second.get(n)} for n, v in first.items()]
    protocol = " ".join(__doc__.split("\n\n")[-1].split())
    write_result("compare_gist", str(dataset), protocol, rounded(metrics), [rounded(r) for r in rows], ("numpy", "scipy"))
    print(metrics)


if __name__ == "__main__":
    main()
