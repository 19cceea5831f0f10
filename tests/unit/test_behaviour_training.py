"""The behaviour model as a file: what is loaded, what ships, and how one is trained."""

from __future__ import annotations

import json
import signal
from functools import cache
from pathlib import Path

import pytest
import torch
from roadworthy.errors import DataError, SuiteError
from roadworthy.plugins import FactorySpec, registry
from roadworthy.scenario import Scenario
from roadworthy_generators.behaviour.examples import pack
from roadworthy_generators.behaviour.network import Denoiser, Shape
from roadworthy_generators.behaviour.training import Behaviours, BehaviourTrainer, train
from roadworthy_generators.behaviour.weights import DEFAULT, Card, load_model, save_model
from roadworthy_sources.towns import Towns


@cache
def parents() -> tuple[Scenario, ...]:
    scenes = Towns(seed=5, count=4, split="validation", towns=3).scenarios()
    return tuple(scene for scene in scenes if isinstance(scene, Scenario))


def test_models_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(DataError, match="cannot be read"):
        load_model(path)
    small = Shape(width=16, layers=1, heads=2, edge=4)
    save_model(path, Denoiser(small), Card(shape={}))
    card = json.loads(path.with_suffix(".json").read_text())
    assert load_model(path).card.shape["width"] == 16

    def with_card(**changes: object) -> None:
        path.with_suffix(".json").write_text(json.dumps(card | changes))

    for changes, words in (
        ({"format": 99}, "format 99"), ({"shape": card["shape"] | {"width": 32}}, "do not fit"),
        ({"shape": {"depth": 1}}, "do not fit"),
        ({"shape": card["shape"] | {"heads": 3}}, "no network"),
        ({"shape": card["shape"] | {"layers": 1000}}, "no network"),
        ({"shape": card["shape"] | {"width": 1024}}, "do not fit"),
        ({"sha256": "0" * 64}, "other hash"), ({"surprises": {}}, "surprises"),
    ):  # fmt: skip
        with_card(**changes)
        with pytest.raises(DataError, match=words):
            load_model(path)
    with_card()
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="other hash"):
        load_model(path)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "nonsense", ""])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    make = FactorySpec("generators", registry().resolve("generators", "behaviour").spec,
                       {"device": device}, "-o")  # fmt: skip
    with pytest.raises(SuiteError, match=f"behaviour: device is '{device}'"):
        make.build()


def test_the_bundled_model_is_small_and_says_where_it_comes_from() -> None:
    card = load_model().card
    assert DEFAULT.stat().st_size < 4 * 2**20
    assert set(card.data["sources"]) == {"towns"}
    assert card.command.startswith("roadworthy")
    assert card.figures["min_ade6_m"] < card.figures["min_ade6_idm_m"]
    assert card.training["seed"] >= 0
    assert set(card.surprise) >= {"vehicle", "pedestrian"}


def test_a_tiny_model_learns_and_does_so_the_same_way_twice(tmp_path: Path) -> None:
    shape = Shape(width=32, layers=1, heads=2, edge=8)
    scenes = parents()[:2]
    paths = [
        train(scenes, tmp_path / name, 7, shape=shape, steps=40, batch=4, moments=4)
        for name in ("a", "b")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    made = pack(scenes, 4, 7)
    batch = {name: torch.from_numpy(value) for name, value in vars(made).items()}
    level = torch.full(batch["there"].shape, 500)
    noise = torch.randn(batch["actions"].shape, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    module = Behaviours(shape, 1)
    with torch.no_grad():
        before = float(module.loss(batch, level, noise))
        module.network = load_model(paths[0]).network
        after = float(module.loss(batch, level, noise))
    assert after < 0.75 * before


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    scenes = parents()[:2]
    small = {"steps": 20, "batch": 4, "moments": 1}
    BehaviourTrainer(**small, stop=8).train(None, scenes, tmp_path / "a", 7)
    last = tmp_path / "a" / "last.ckpt"
    path = BehaviourTrainer(**small).train(last, scenes, tmp_path / "b", 7)
    steps = [
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["global_step"]
        for name in ("a", "b")
    ]
    assert steps == [8, 20]
    assert path.read_bytes() != (tmp_path / "a" / path.name).read_bytes()
    with pytest.raises(DataError, match="no such checkpoint"):
        BehaviourTrainer(**small).train(tmp_path / "none.ckpt", scenes, tmp_path / "c", 7)


def test_ctrl_c_keeps_the_step_that_was_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = Shape(width=16, layers=1, heads=2, edge=4)
    step = Behaviours.training_step
    last = tmp_path / "last.ckpt"

    def trained(steps: int, pressed_at: int) -> Path:
        def pressed(self: Behaviours, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
            if self.trainer.global_step == pressed_at - 1:
                signal.raise_signal(signal.SIGINT)
            return step(self, batch, index)

        monkeypatch.setattr(Behaviours, "training_step", pressed)
        return train(
            parents()[:2], tmp_path, 7, shape=shape, steps=20, batch=1, moments=1, stop=steps,
            resume=last if last.exists() else None,
        )  # fmt: skip

    for at in (4, 7):
        with pytest.raises(KeyboardInterrupt):
            trained(20, at)
        assert torch.load(last, weights_only=True)["global_step"] == at
        assert not (tmp_path / "behaviour.safetensors").exists()
    load_model(trained(9, 0))
