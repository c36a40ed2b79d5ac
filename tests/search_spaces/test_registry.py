"""The registry: decorator, lazy targets, plugins, and the errors that say what was wrong."""

import sys
import types
import warnings
from types import SimpleNamespace

import pytest

from supertau.search_spaces import registry as registry_module
from supertau.search_spaces.errors import SupertauError, UnknownName
from supertau.search_spaces.registry import PluginWarning, Registry

GROUP = "supertau.tests"


class Animal:
    pass


class Dog(Animal):
    pass


class Cat(Animal):
    pass


class Stone:
    pass


def make(builtin=None):
    return Registry(kind="animal", base=Animal, group=GROUP, builtin=builtin)


@pytest.fixture
def zoo(monkeypatch):
    """An importable module ``zoo`` with Dog, Cat, Stone, and an instance."""
    module = types.ModuleType("zoo")
    module.Dog, module.Cat, module.Stone, module.rex = Dog, Cat, Stone, Dog()
    monkeypatch.setitem(sys.modules, "zoo", module)
    return module


@pytest.fixture
def plugins(monkeypatch):
    """Install entry points: name -> object, or an exception that loading raises."""

    def install(points, dist="petshop"):
        def entry_points(group):
            assert group == GROUP
            return [Point(name, value, dist) for name, value in points.items()]

        monkeypatch.setattr(registry_module, "entry_points", entry_points)

    return install


class Point:
    def __init__(self, name, value, dist):
        self.name, self.target = name, value
        self.value = f"{name}:Class"
        self.dist = SimpleNamespace(name=dist) if dist else None
        self.loads = 0

    def load(self):
        self.loads += 1
        if isinstance(self.target, Exception):
            raise self.target
        return self.target


# --- decorator ------------------------------------------------------------------------------------------------------


def test_decorator_registers_and_returns_the_class():
    animals = make()
    assert animals.register("dog")(Dog) is Dog
    assert animals.get("dog") is Dog
    assert animals.resolve("dog") is Dog
    assert animals.origin("dog") == f"{Dog.__module__}:Dog"


def test_names_come_in_order_of_registration(zoo):
    animals = make({"stray": "zoo:Cat"})
    animals.register("dog")(Dog)
    animals.register("cat")(Cat)
    assert animals.names() == list(animals) == ["stray", "dog", "cat"]


def test_a_taken_name_is_refused_with_its_holder():
    animals = make()
    animals.register("dog")(Dog)
    with pytest.raises(SupertauError, match=r"animal 'dog' is already registered by .*:Dog"):
        animals.register("dog")(Cat)
    assert animals.get("dog") is Dog


def test_a_name_of_the_tree_is_taken_too(zoo):
    animals = make({"dog": "zoo:Dog"})
    with pytest.raises(SupertauError, match=r"animal 'dog' is already registered by supertau \(zoo:Dog\)"):
        animals.register("dog")(Cat)


def test_registering_the_same_class_again_changes_nothing():
    animals = make()
    animals.register("dog")(Dog)
    animals.register("dog")(Dog)
    assert animals.names() == ["dog"]


def test_the_decorator_of_a_class_that_the_tree_lists_lazily_changes_nothing():
    animals = make({"dog": f"{Dog.__module__}:Dog"})
    assert animals.register("dog")(Dog) is Dog
    assert animals.origin("dog") == "supertau"


@pytest.mark.parametrize("target", [Stone, Dog(), "Dog", None, len])
def test_wrong_base_class(target):
    animals = make()
    with pytest.raises(SupertauError, match=r"animal 'x' must be a subclass of .*\.Animal, got"):
        animals.register("x")(target)
    assert animals.names() == []


# --- names and paths ------------------------------------------------------------------------------------------------


def test_unknown_name_with_the_nearest_match_and_what_is_available():
    animals = make()
    animals.register("labrador")(Dog)
    animals.register("siamese")(Cat)
    with pytest.raises(UnknownName) as error:
        animals.get("Labradr")
    expected = "unknown animal 'Labradr'. Did you mean 'labrador'? Available: labrador, siamese."
    assert str(error.value) == expected


def test_unknown_name_without_anything_near():
    animals = make()
    with pytest.raises(UnknownName, match=r"^unknown animal 'dog'\. Available: none\.$"):
        animals.get("dog")
    animals.register("siamese")(Cat)
    with pytest.raises(UnknownName, match=r"^unknown animal 'dog'\. Available: siamese\.$"):
        animals.resolve("dog")


def test_lazy_target_is_loaded_when_asked_for(zoo):
    animals = make({"dog": "zoo:Dog", "ghost": "no_such_module:Ghost"})
    assert animals.names() == ["dog", "ghost"]
    assert animals.get("dog") is Dog
    with pytest.raises(UnknownName, match="there is no module 'no_such_module'"):
        animals.get("ghost")


def test_path_of_a_class_that_is_not_registered(zoo):
    animals = make()
    assert animals.resolve("zoo:Cat") is Cat
    assert animals.names() == []


def test_path_whose_module_is_missing():
    with pytest.raises(UnknownName, match=r"animal 'no_such:Dog': there is no module 'no_such'\. Is it installed\?"):
        make().resolve("no_such:Dog")


def test_path_whose_module_misses_another_names_that_one(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import not_there_either\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownName, match="there is no module 'not_there_either'"):
        make().resolve("needs_more:Dog")


def test_path_whose_class_is_missing_lists_those_of_the_module(zoo):
    with pytest.raises(UnknownName, match=r"unknown animal in zoo 'Dogg'. Did you mean 'Dog'\? Available: Cat, Dog\."):
        make().resolve("zoo:Dogg")


@pytest.mark.parametrize("name", ["Stone", "rex"])
def test_path_of_something_else(zoo, name):
    with pytest.raises(SupertauError, match=rf"animal 'zoo:{name}' must be a subclass of .*\.Animal, got"):
        make().resolve(f"zoo:{name}")


@pytest.mark.parametrize("path", ["zoo:", ":", ":Dog", ".zoo:Dog"])
def test_half_a_path(zoo, path):
    with pytest.raises(UnknownName, match=rf"'{path}' is not a animal: expected 'package.module:ClassName'"):
        make().resolve(path)


@pytest.mark.parametrize("content", ["def broken(:", "from zoo import Unicorn", "1 / 0"])
def test_path_whose_module_fails_to_import(tmp_path, monkeypatch, zoo, content):
    (tmp_path / "falls_over.py").write_text(content + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SupertauError, match="animal 'falls_over:Dog'"):
        make().resolve("falls_over:Dog")


# --- a base class that is named, not imported -----------------------------------------------------------------------


@pytest.fixture
def farm(tmp_path, monkeypatch):
    """A registry whose base and targets are in modules of their own, none of them imported."""
    monkeypatch.syspath_prepend(tmp_path)
    texts = {
        "farm_base": "class Animal: ...\n",
        "farm_cow": "from farm_base import Animal\nclass Cow(Animal): ...\n",
        "farm_pig": "from farm_base import Animal\nclass Pig(Animal): ...\n",
        "farm_barn": "class Barn: ...\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    yield Registry(
        kind="animal",
        base="farm_base:Animal",
        group=GROUP,
        builtin={"cow": "farm_cow:Cow", "pig": "farm_pig:Pig", "barn": "farm_barn:Barn"},
    )
    for name in texts:
        sys.modules.pop(name, None)


def imported():
    return {name for name in sys.modules if name.startswith("farm_")}


def test_names_are_listed_without_any_import(farm):
    assert farm.names() == list(farm) == ["cow", "pig", "barn"]
    assert farm.origin("cow") == "supertau"
    with pytest.raises(UnknownName, match="Did you mean 'cow'"):
        farm.get("cows")
    assert imported() == set()


@pytest.mark.parametrize("name", ["cow", "farm_cow:Cow"])
def test_only_what_is_asked_for_and_the_base_are_imported(farm, name):
    assert farm.resolve(name).__name__ == "Cow"
    assert imported() == {"farm_base", "farm_cow"}


def test_a_named_base_is_checked_as_well(farm):
    with pytest.raises(SupertauError, match=r"animal 'farm_barn:Barn' must be a subclass of farm_base\.Animal, got"):
        farm.get("barn")
    with pytest.raises(SupertauError, match=r"animal 'dog' must be a subclass of farm_base\.Animal, got"):
        farm.register("dog")(Dog)
    with pytest.raises(UnknownName, match=r"unknown animal in farm_cow 'Cowl'. Did you mean 'Cow'\?"):
        farm.resolve("farm_cow:Cowl")


def test_plugins_are_checked_against_a_named_base(farm, plugins):
    plugins({"dog": Dog})
    with pytest.warns(PluginWarning, match=r"'dog' of petshop left out: .*must be a subclass of farm_base\.Animal"):
        assert farm.names() == ["cow", "pig", "barn"]


def test_a_named_base_that_is_no_class():
    with pytest.raises(TypeError, match="the base of each animal, 'sys:path', is not a class"):
        Registry(kind="animal", base="sys:path", group=GROUP).register("dog")(Dog)


# --- plugins --------------------------------------------------------------------------------------------------------


def test_installed_plugins_are_found_with_their_origin(plugins):
    plugins({"dog": Dog, "cat": Cat})
    animals = make()
    assert animals.names() == ["dog", "cat"]
    assert animals.get("cat") is Cat
    assert animals.origin("dog") == "petshop"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ImportError("no fur"), "ImportError: no fur"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (Stone, r"SupertauError: animal 'bad' must be a subclass of .*Animal"),
    ],
)
def test_a_plugin_that_fails_is_a_warning_and_the_others_go_on(plugins, value, reason):
    plugins({"bad": value, "dog": Dog})
    animals = make()
    with pytest.warns(PluginWarning, match=f"animal plugin 'bad' of petshop left out: {reason}"):
        assert animals.names() == ["dog"]
    with pytest.raises(SupertauError, match=f"animal plugin 'bad' is installed but cannot be used: {reason}"):
        animals.get("bad")
    assert animals.get("dog") is Dog


def test_a_plugin_cannot_take_a_name_of_the_tree(plugins, zoo):
    plugins({"dog": Cat})
    animals = make({"dog": "zoo:Dog"})
    with pytest.warns(PluginWarning, match="'dog' of petshop left out: .*already taken by supertau"):
        assert animals.get("dog") is Dog


def test_plugins_are_read_once(plugins):
    plugins({"bad": ImportError("no fur")}, dist=None)
    animals = make()
    with pytest.warns(PluginWarning, match="'bad' of bad:Class left out"):
        animals.names()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert animals.names() == []
        with pytest.raises(SupertauError, match="cannot be used: ImportError: no fur"):
            animals.get("bad")
