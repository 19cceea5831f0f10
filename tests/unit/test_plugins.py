"""Discovery, isolation, resolution, options: with real distributions in a temporary folder."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from roadworthy.codehash import code_hash
from roadworthy.errors import PluginError
from roadworthy.plugins import Entry, FactorySpec, PluginWarning, Registry, registry
from roadworthy.plugins.localfile import kebab, split_path_spec
from roadworthy.plugins.options import check_options, describe_options

Install = Callable[..., None]
IMPORTS = "from roadworthy import hookimpl\n"
HELLO = IMPORTS + "@hookimpl\ndef roadworthy_planners(): return {'hello': 'hello_stuff:Hello'}\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a distribution with one plugin module into a folder on `sys.path`."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def lay(name: str, plugin: str, version: str = "1.0", **modules: str) -> None:
        module = name.replace("-", "_") + "_plugin"
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[roadworthy]\n{name} = {module}\n")
        for file, text in {module: plugin, **modules}.items():
            (tmp_path / f"{file}.py").write_text(textwrap.dedent(text))

    yield lay
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def discover() -> Registry:
    return Registry(metadata.entry_points(group="roadworthy"))


def test_the_bundled_plugins_are_found_without_complaint() -> None:
    found = registry()
    assert {"idm", "log-replay", "constant-velocity"} <= set(found.names("planners"))
    assert not [b for b in found.broken if b.distribution == "roadworthy"]
    assert found.find("planners", "idm").distribution == "roadworthy"


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from roadworthy.plugins import registry; registry(); "
        "print([m for m in ('torch', 'numba', 'pandas', 'shapely', 'gsplat', 'numpy', 'rich') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plugin_is_found_named_and_made(install: Install) -> None:
    install("hello", HELLO, hello_stuff="class Hello:\n    def __init__(self, n: int = 1):\n"
            "        self.n = n\n")  # fmt: skip
    found = discover()
    assert found.find("planners", "hello") == Entry(
        "planners", "hello", "hello_stuff:Hello", "hello", "hello", "1.0"
    )
    assert "hello_stuff" not in sys.modules
    assert found.create("planners", "hello", {"n": 3}).n == 3


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        ("import nothing_of_the_kind", "nothing_of_the_kind"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        (IMPORTS + "@hookimpl\ndef roadworthy_planners(): 1 / 0", "ZeroDivisionError"),
        (IMPORTS + "@hookimpl\ndef roadworthy_planners(): return ['x']", "returned list"),
        (IMPORTS + "@hookimpl\ndef roadworthy_planners(): return {'A_B': 'a:b'}", "kebab"),
        (IMPORTS + "@hookimpl\ndef roadworthy_planners(): return {'a': 'no address'}", "address"),
        (IMPORTS + "@hookimpl\ndef roadworthy_planners(wrong): return {}", "wrong"),
    ],
)
def test_a_broken_plugin_takes_nothing_else_down(
    install: Install, plugin: str, reason: str
) -> None:
    install("awful", plugin)
    install("hello", HELLO)
    found = discover()
    (broken,) = [b for b in found.broken if b.distribution == "awful"]
    assert reason in broken.traceback
    assert {"hello", "idm"} <= set(found.names("planners"))
    with pytest.raises(PluginError) as caught:
        found.find("planners", "wonderful")
    assert reason in str(caught.value)
    assert "awful 1.0" in str(caught.value)
    found.hooks.roadworthy_case_end(run=None, record=None)


def test_the_traceback_of_a_broken_plugin_shows_its_own_lines_alone(install: Install) -> None:
    install("awful", "def f():\n    return {}['gone']\nf()\n")
    (broken,) = discover().broken
    assert "awful_plugin.py" in broken.traceback
    assert "importlib" not in broken.traceback
    assert "roadworthy/plugins/" not in broken.traceback
    assert broken.reason == "KeyError: 'gone'"


def test_a_name_offered_twice_is_refused_when_used(install: Install) -> None:
    install("one", HELLO)
    install("two", HELLO.replace("hello_stuff", "two_stuff"), version="2.0")
    found = discover()
    assert any("one 1.0 and two 2.0" in sentence for sentence in found.warnings)
    with pytest.raises(PluginError, match=r"(?s)'hello' is offered by one 1\.0 and two 2\.0"):
        found.find("planners", "hello")
    assert found.find("planners", "idm").name == "idm"


@pytest.mark.parametrize(
    ("plugin", "sentence"),
    [
        (IMPORTS + "@hookimpl\ndef roadworthy_planer(): return {}", "'roadworthy_planners'"),
        ("def roadworthy_planners(): return {}", "Decorate it"),
        ("x = 1", "implements no hook"),
    ],
)
def test_slips_are_pointed_out(install: Install, plugin: str, sentence: str) -> None:
    install("slip", plugin)
    assert [w for w in discover().warnings if w.startswith("slip 1.0") and sentence in w]


def test_an_unknown_name_has_near_ones() -> None:
    with pytest.raises(PluginError, match="Did you mean 'log-replay'"):
        registry().resolve("planners", "log-repaly")


def test_a_factory_that_cannot_be_imported_shows_why(install: Install) -> None:
    install("hello", HELLO, hello_stuff="import acme_of_nowhere")
    with pytest.raises(PluginError, match=r"(?s)of hello 1\.0.*hello_stuff.*acme_of_nowhere"):
        discover().create("planners", "hello")
    install("other", HELLO.replace("hello", "other"), other_stuff="class Helo: pass")
    with pytest.raises(PluginError, match="Did you mean 'Helo'"):
        discover().create("planners", "other")


def test_a_raising_observer_is_a_warning(install: Install) -> None:
    text = IMPORTS + textwrap.dedent(
        """
        seen = []
        @hookimpl
        def roadworthy_case_end(record):
            seen.append(record)
            raise KeyError("oh")
        @hookimpl
        def roadworthy_report_sections(runs):
            return [("Title", "<p>text</p>")] * runs
        """
    )
    install("watcher", text)
    found = discover()
    with pytest.warns(PluginWarning, match="watcher 1.0.*case_end raised KeyError"):
        found.hooks.roadworthy_case_end(run="run", record="record")
    assert sys.modules["watcher_plugin"].seen == ["record"]
    assert found.hooks.roadworthy_report_sections(runs=2) == [("Title", "<p>text</p>")] * 2
    with pytest.warns(PluginWarning, match="TypeError"):
        assert found.hooks.roadworthy_report_sections(runs=None) == []


PLANNER = """
import colorsys
from pathlib import Path
from helper import VALUE
class MyPlanner:
    def __init__(self, *, speed: float = 1.0, path: Path = Path("x")):
        self.speed, self.path, self.value = speed, path, VALUE
"""


def test_a_planner_in_a_file_needs_no_packaging(tmp_path: Path) -> None:
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(PLANNER)
        (tmp_path / folder / "helper.py").write_text(f"VALUE = {value}\n")
    entries = [registry().resolve("planners", f"{f}/mine.py:MyPlanner", tmp_path) for f in "ab"]
    assert [e.name for e in entries] == ["my-planner@mine.py"] * 2
    made = [FactorySpec("planners", e.spec, {"speed": 2}).build() for e in entries]
    assert [m.value for m in made] == [1, 2]
    assert made[0].speed == 2.0
    assert "helper" not in sys.modules
    assert "colorsys" in sys.modules
    assert str(tmp_path / "a") not in sys.path
    one, two = (e.content_hash for e in entries)
    assert one != two


def test_the_hash_of_a_file_follows_it_and_its_siblings(tmp_path: Path) -> None:
    file, helper = tmp_path / "mine.py", tmp_path / "helper.py"
    file.write_text(PLANNER)
    helper.write_text("VALUE = 1\n")
    entry = registry().resolve("planners", f"{file}:MyPlanner")
    first = entry.content_hash
    assert first == entry.content_hash
    helper.write_text("VALUE = 2\n")
    second = entry.content_hash
    file.write_text(PLANNER + "\n# changed\n")
    assert len({first, second, entry.content_hash}) == 3
    assert registry().find("planners", "idm").content_hash == ""


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("kit/__init__.py", True),
        ("kit/made/__init__.py", True),
        ("kit/made/table.csv", True),
        ("kit/made/model/weights.bin", True),
        ("kit/made/later.py", True),  # imported in a function
        ("kit/beside.py", True),
        ("kit/__pycache__/beside.pyc", False),
        ("kit/unused.py", False),
        ("kit/data/unused.csv", True),  # whatever is no code may be read
        ("kit/apart/__init__.py", False),
        ("kit/apart/table.csv", False),
        ("other_kit/part.py", True),  # of another plugin
        ("library/part.py", False),  # of no plugin: its version would have to tell
    ],
)
def test_the_hash_of_code_follows_what_a_factory_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, counts: bool
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "kit/__init__.py": "",
        "kit/made/__init__.py": "from ..beside import thing\nimport other_kit.part\nimport numpy\n"
        "from library import part\n\ndef make():\n    from kit.made import later\n",
        "kit/made/later.py": "",
        "kit/beside.py": "thing = 1\n",
        "other_kit/__init__.py": "",
        "other_kit/part.py": "from kit import made\n",  # round in a circle
        "library/__init__.py": "",
        "kit/apart/__init__.py": "",
    }
    for name, text in ({file: ""} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = code_hash(["kit.made"], {"kit", "other_kit"})
    with (tmp_path / file).open("a") as changed:
        changed.write("# changed\n")
    assert (code_hash(["kit.made"], {"kit", "other_kit"}) != before) is counts


def test_bundled_and_local_factories_have_a_hash_of_its_code(tmp_path: Path) -> None:
    found = {(e.kind, e.name): e.code_hash for e in registry().entries
             if e.kind in ("planners", "trainers")}  # fmt: skip
    assert found["planners", "idm"] != found["planners", "pdm-closed"]
    nothing = code_hash([], ())
    assert nothing not in found.values()
    (tmp_path / "mine.py").write_text("from roadworthy_planners.idm import IDM\n")
    mine = registry().resolve("planners", f"{tmp_path}/mine.py:IDM").code_hash
    (tmp_path / "mine.py").write_text("from roadworthy_planners.idm import IDM  # changed\n")
    assert registry().resolve("planners", f"{tmp_path}/mine.py:IDM").code_hash != mine


def test_bad_specs_say_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no file"):
        registry().resolve("planners", "gone.py:X", tmp_path)
    with pytest.raises(PluginError, match=r"\./file\.py:Attribute"):
        registry().resolve("planners", "not an:address")
    (tmp_path / "empty.py").write_text("Planner = 3\n")
    with pytest.raises(PluginError, match="Did you mean 'Planner'"):
        registry().create("planners", f"{tmp_path}/empty.py:Planer")
    with pytest.raises(PluginError, match="not a factory"):
        registry().create("planners", f"{tmp_path}/empty.py:Planner")
    with pytest.raises(ValueError, match="kind 'planner'"):
        registry().resolve("planner", "idm")


def test_a_factory_spec_travels(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class P:\n    def __init__(self, xs: list[int]): self.xs = xs\n")
    spec = FactorySpec("planners", f"{file}:P", {"xs": [1]}, "suite: planners[0]")
    assert spec.entry.name == "p@mine.py"
    again = pickle.loads(pickle.dumps(spec))
    one, two = again.build(), again()
    one.xs.append(2)
    assert two.xs == [1]
    assert type(one) is type(two) is type(spec.build())


def test_errors_of_a_factory_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def refuse(n: int): raise ValueError(f'n = {n} is too much')\ndef fail(): return [][1]\n"
    )
    with pytest.raises(PluginError, match=r"s\.toml: planners\[0\]: .*n = 3 is too much") as caught:
        registry().create("planners", f"{file}:refuse", {"n": 3}, "s.toml: planners[0]")
    assert "Traceback" not in str(caught.value)
    with pytest.raises(PluginError, match=r"(?s)mine\.py.*IndexError"):
        registry().create("planners", f"{file}:fail")


def factory(
    plain,  # type: ignore[no-untyped-def]
    speed: float,
    count: int = 3,
    mode: Literal["fast", "slow"] = "fast",
    pair: tuple[float, float] = (0.0, 1.0),
    path: Path = Path(),
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.5,
    maybe: int | None = None,
    unresolved: Nowhere = None,  # type: ignore[name-defined]  # noqa: F821
) -> None: ...


GOOD: dict[str, Any] = {"plain": "anything", "speed": 1}


def test_options_are_converted() -> None:
    given = {**GOOD, "pair": [1, 2], "path": "a/b", "mode": "slow", "unresolved": {"x": 1}}
    assert check_options(factory, given, "here") == {
        "plain": "anything",
        "speed": 1.0,
        "pair": (1.0, 2.0),
        "path": Path("a/b"),
        "mode": "slow",
        "unresolved": {"x": 1},
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": "fast"}, "s.toml: planners[0].speed = 'fast': expected float, got str"),
        ({"count": 1.5}, "s.toml: planners[0].count = 1.5: expected int, got float"),
        ({"count": True}, "s.toml: planners[0].count = True: expected int, got bool"),
        ({"mode": "fats"}, "s.toml: planners[0].mode = 'fats': invalid enum value 'fats'"),
        ({"pair": [1.0, "x"]}, "s.toml: planners[0].pair[1] = [1.0, 'x']: expected float"),
        ({"path": 3}, "s.toml: planners[0].path = 3: expected Path, got int"),
        ({"share": 1.5}, "s.toml: planners[0].share = 1.5: expected float <= 1.0"),
        ({"sped": 1.0}, "s.toml: planners[0].sped = 1.0: there is no such option\n"
                        "  Did you mean 'speed'?"),
    ],
)  # fmt: skip
def test_wrong_options_name_the_place_and_the_type(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        check_options(factory, {**GOOD, **options}, "s.toml: planners[0]")
    assert str(caught.value).startswith(message)


def test_missing_options_are_named_with_their_type() -> None:
    with pytest.raises(PluginError, match=r"here: the option 'speed' must be given\n.*float"):
        check_options(factory, {"plain": 1}, "here")


def test_options_of_classes_and_open_factories() -> None:
    class Plain:
        pass

    class Open:
        def __init__(self, a: int = 1, **rest: object) -> None: ...

    with pytest.raises(PluginError, match="It takes no options"):
        check_options(Plain, {"x": 1}, "here")
    assert check_options(Open, {"a": 2, "b": "c"}, "here") == {"a": 2, "b": "c"}
    assert describe_options(Open) == {"a": "int = 1"}


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("MyPlanner", "my-planner"),
        ("IDM", "idm"),
        ("PDMClosed", "pdm-closed"),
        ("make_it", "make-it"),
        ("Outer.make2", "outer-make2"),
    ],
)
def test_kebab(attribute: str, name: str) -> None:
    assert kebab(attribute) == name


def test_path_specs_are_told_from_addresses() -> None:
    assert split_path_spec("./a.py:B") == (Path("a.py"), "B")
    assert split_path_spec("/x y/a.py:B.c") == (Path("/x y/a.py"), "B.c")
    assert split_path_spec("a.b:C") is None
    assert split_path_spec("idm") is None
    assert split_path_spec("a.py") is None
