"""How fast walks are encoded and searched: walks a second, and milliseconds a query among 100,000 walks.

    python -m experiments.search_speed --num_threads 2
    python -m experiments.search_speed --model outputs/gist/text

Without --model a model of the default size with untrained weights is timed (the time does not depend on the weights).
Writes `model_cards/results/search_speed.json`. Encoding: simulated walks of 128 frames, already clean, from joints to vectors;
`cleaned` counts the cleaning of raw joints as well. A query: text -> tokens -> sentence encoder -> vector -> the ten nearest
of exact search; each text is new, so nothing comes out of the cache. Medians.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

ROOT = Path(__file__).resolve().parents[1]

from modeling_gait.configuration_gait_dual_encoder import GaitDualEncoderConfig  # noqa: E402
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor  # noqa: E402
from modeling_gait.gait_search import GaitSearch, encode_walks  # noqa: E402
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel  # noqa: E402
from modeling_gait.simulation import simulate_walks  # noqa: E402
from modeling_gait.training.results import write_result  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a trained model")
    parser.add_argument("--walks", type=int, default=1024, help="walks to encode (default %(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="walks to search (default %(default)s)")
    parser.add_argument("--queries", type=int, default=30, help="texts and walks to look for (default %(default)s)")
    parser.add_argument("--num_threads", type=int, default=2)
    args = parser.parse_args()
    import faiss

    torch.set_num_threads(args.num_threads)
    faiss.omp_set_num_threads(args.num_threads)
    model = (
        GaitDualEncoderModel.from_pretrained(args.model) if args.model else GaitDualEncoderModel(GaitDualEncoderConfig())
    ).eval()
    extractor = GaitFeatureExtractor.from_pretrained(args.model) if args.model else GaitFeatureExtractor(num_frames=128)
    joints = list(simulate_walks(min(args.walks, 256), frames=128, seed=0).joints)
    joints = (joints * -(-args.walks // len(joints)))[: args.walks]

    def seconds(run, repeats: int = 3) -> float:
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        return float(np.median(times))

    encode_walks(model, joints[:64], extractor, clean=False)
    metrics = {
        "walks_per_second": args.walks / seconds(lambda: encode_walks(model, joints, extractor, clean=False)),
        "cleaned_walks_per_second": 64 / seconds(lambda: encode_walks(model, joints[:64], extractor, fps=30)),
    }
    vectors = np.random.default_rng(0).standard_normal((args.rows, model.config.projection_size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    search = GaitSearch(model, Dataset.from_dict({"walk_id": np.arange(args.rows)}), vectors, extractor)
    search.by_text("warm up")
    texts = [
        f"steppage gait, right side, speed {0.4 + i / 50:.2f} m/s, cadence {80 + i} steps/min." for i in range(args.queries)
    ]
    each = [seconds(lambda t=t: search.by_text(t), 1) for t in texts]
    metrics |= {"text_query_ms": 1e3 * float(np.median(each)), "text_query_ms_slowest": 1e3 * max(each)}
    metrics["vector_query_ms"] = 1e3 * float(
        np.median([seconds(lambda v=v: search.by_vector(v), 1) for v in vectors[: args.queries]])
    )
    metrics["walk_query_ms"] = 1e3 * float(
        np.median([seconds(lambda j=j: search.by_walk(j, fps=30), 1) for j in joints[: args.queries]])
    )
    protocol = (
        f"{args.walks} walks of 128 frames; {args.rows:,} rows, exact search; {args.num_threads} threads on {os.cpu_count()} "
        f"processors, load average {os.getloadavg()[0]:.1f}; {'trained' if args.model else 'untrained'} model"
    )
    print(protocol, metrics)
    write_result("search_speed", "simulated", protocol, metrics, [{"seed": 0}])


if __name__ == "__main__":
    main()
