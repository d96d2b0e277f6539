"""Show what a model family does: walks of prompts as pictures and files, and a table of what was asked and what came out.

    python train/show.py --model gait-small --output_dir shown --trained_on "simulated walks"
    python train/show.py --model gait-small --output_dir outputs/shown --prompts "severe steppage gait, right side, 0.6 m/s"

In: a family folder or Hub id; prompts (default: one for each class that the model knows).
Out, in `output_dir`: walks.gif (all walks side by side), angles.png (joint angles over the gait cycle, with the band of
unimpaired adults), of each walk walks/NAME.bvh, .csv, .png (pose strip) and NAME_angles.png; table.md and table.json.
The numbers are measured on the generated joints; the class is read from them by the tokeniser (its pathological codes).
"""

from pathlib import Path

from transformers import HfArgumentParser

from modeling_gait.schema import errors_told
from modeling_gait.training.showing import ShowArguments, make_walks, write_pictures, write_table


def main() -> None:
    args = HfArgumentParser(ShowArguments).parse_args_into_dataclasses()[0]
    walks, rows = make_walks(args)
    print(write_table(rows, args))
    for r in rows:
        print(f"{r.name}, in the model's words: {r.described}")
    folder = Path(args.output_dir)
    write_pictures(walks, [r.name for r in rows], folder)
    pictures = ", ".join(str(folder / name) for name in ("walks.gif", "angles.png", "table.md"))
    print(f"\nLook at {pictures} and the files of each walk in {folder / 'walks'}.")


if __name__ == "__main__":
    with errors_told():
        main()
