"""`python -m roadworthy_generators.behaviour.figures`"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from roadworthy.errors import DataError
from roadworthy.recognition import scenes_named
from roadworthy.scenario import Scenario
from roadworthy.seeding import derive_seed

from roadworthy_generators.behaviour.figures.baseline import baseline
from roadworthy_generators.behaviour.figures.measure import dial, measure
from roadworthy_generators.behaviour.figures.prediction import prediction
from roadworthy_generators.behaviour.figures.realism import realism
from roadworthy_generators.behaviour.figures.report import DIAL, dial_svg, summary, table
from roadworthy_generators.behaviour.generator import Behaviour
from roadworthy_generators.behaviour.parents import require_usable
from roadworthy_generators.behaviour.replanning import ROUNDS

SEEDS = (0, 1, 2)


def main() -> None:
    """Measure, a line of JSON at a time, and write the figures; what is in DIR already is kept.

    DIR gets `figures.jsonl` (one line a scene and seed), `figures.json` (`report.summary`),
    `figures.md` and `severity.svg`.
    """
    parser = argparse.ArgumentParser(description="Figures of the generator 'behaviour'.")
    parser.add_argument("store", nargs="+", help="scenes that the model was not trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--replans", type=int, default=ROUNDS)
    parser.add_argument("--dial-scenes", type=int, default=40)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = list(scenes_named(given.store, None))[: given.scenes]
    scenes = [scene for scene in found if _usable(scene)]
    maker = Behaviour(draws=given.draws, replans=given.replans)
    log = given.out / "figures.jsonl"
    known = [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []
    done = [row for row in known if "severity" not in row]
    dials = [row for row in known if "severity" in row]
    have = {(row["scene"], row["seed"]) for row in done}
    between = max(1, len(scenes) // max(1, given.dial_scenes))
    with log.open("a") as file:
        for seed in given.seeds:
            for i, scene in enumerate(scenes):
                if (scene.id, seed) in have:
                    continue
                row = {"scene": scene.id, "seed": seed, **measure(maker, scene, seed)}
                if seed == given.seeds[0]:
                    row |= prediction(maker, scene, seed)
                    row |= baseline(maker, scene, seed)
                    row |= realism(maker, scene, derive_seed(seed, "realism", scene.hash))
                new = []
                if given.dial_scenes and i % between == 0:
                    new = [dial(scene, s, seed, given.draws // 2) for s in DIAL]
                done.append(row)
                dials += new
                file.writelines(json.dumps(one) + "\n" for one in (row, *new))
                file.flush()
    told = summary(done, dials) | {"left_out": len(found) - len(scenes)}
    (given.out / "figures.json").write_text(json.dumps(told, indent=1) + "\n")
    (given.out / "figures.md").write_text(table(told))
    if dials:
        (given.out / "severity.svg").write_text(dial_svg(told))


def _usable(scene: Scenario) -> bool:
    try:
        require_usable(scene)
    except DataError:
        return False
    return True


if __name__ == "__main__":
    main()
