"""One registry class for everything that can be plugged in: spaces, estimators, image sets."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from supertau.search_spaces.errors import SupertauError, UnknownName, unknown

T = TypeVar("T")


class PluginWarning(UserWarning):
    """A plugin that could not be used, with the reason."""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered name: a lazy target (``module:attribute``) or the object itself, and where it came from."""

    name: str
    target: str | T
    origin: str


class Registry(Generic[T]):
    """Names to classes, by decorator inside the tree and by entry point outside it.

    kind: a noun for messages; base: the class that each target must be a subclass of, or where it is, as
    ``"module:attribute"``; group: the entry-point group that installed packages use; builtin: lazy targets of the
    tree, ``{name: "module:attribute"}``.

    A base or target given as text is imported when a target is asked for; names are listed without it. Entry points
    are the exception: they are loaded, and checked, when a name is first listed or asked for.
    """

    def __init__(self, kind: str, base: type | str, group: str, builtin: dict[str, str] | None = None) -> None:
        self.kind = kind
        self._base = base
        self.group = group
        self._entries: dict[str, Entry[T]] = {n: Entry(n, t, "supertau") for n, t in (builtin or {}).items()}
        self._plugins_read = False
        self.broken: dict[str, str] = {}

    @cached_property
    def base(self) -> type:
        """The class that each target must be a subclass of."""
        if isinstance(self._base, type):
            return self._base
        module, _, attribute = self._base.partition(":")
        base = getattr(importlib.import_module(module), attribute)
        if not isinstance(base, type):
            raise TypeError(f"the base of each {self.kind}, '{self._base}', is not a class")
        return base

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a class under a name; a name that is taken raises."""

        def decorate(target: T) -> T:
            self._check(name, target)
            path = f"{getattr(target, '__module__', '')}:{getattr(target, '__qualname__', '')}"
            known = self._entries.get(name)
            if known is not None and known.target not in (path, target):
                raise SupertauError(f"{self.kind} '{name}' is already registered by {known.origin} ({known.target}).")
            if known is None:
                self._entries[name] = Entry(name, target, path)
            return target

        return decorate

    def names(self) -> list[str]:
        """Return every usable name, plugins included, in order of registration."""
        self._read_plugins()
        return list(self._entries)

    def origin(self, name: str) -> str:
        """Return where a name came from: 'supertau', or the distribution that provides it."""
        self._read_plugins()
        return self._entries[name].origin

    def get(self, name: str) -> T:
        """Return the object of a name; raise UnknownName with the nearest match, or why a plugin is broken."""
        self._read_plugins()
        if name not in self._entries:
            if name in self.broken:
                raise SupertauError(f"{self.kind} plugin '{name}' is installed but cannot be used: {self.broken[name]}")
            raise unknown(self.kind, name, self._entries)
        entry = self._entries[name]
        if not isinstance(entry.target, str):
            return entry.target
        return self._load(entry.target)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _check(self, name: str, target: object) -> None:
        if not (isinstance(target, type) and issubclass(target, self.base)):
            raise SupertauError(
                f"{self.kind} '{name}' must be a subclass of {self.base.__module__}.{self.base.__qualname__}, "
                f"got {target!r}."
            )

    def _load(self, path: str) -> T:
        """Load ``module:attribute``, with an error that says which of the two is missing."""
        module_name, _, attribute = path.partition(":")
        if not attribute or not module_name or module_name.startswith("."):
            raise UnknownName(f"'{path}' is not a {self.kind}: expected 'package.module:ClassName'.")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise UnknownName(f"{self.kind} '{path}': there is no module '{error.name}'. Is it installed?") from error
        except Exception as error:  # a module may fail in any way while it is imported
            raise SupertauError(
                f"{self.kind} '{path}': importing '{module_name}' failed with {type(error).__name__}: {error}"
            ) from error
        try:
            target = getattr(module, attribute)
        except AttributeError as error:
            available = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, self.base)]
            raise unknown(f"{self.kind} in {module_name}", attribute, available) from error
        self._check(path, target)
        return target

    def resolve(self, name: str) -> T:
        """Return the object of a registered name or of a ``module:Class`` path."""
        return self._load(name) if ":" in name else self.get(name)

    def _read_plugins(self) -> None:
        """Load entry points, once. A plugin that fails is a warning with its reason, never silence."""
        if self._plugins_read:
            return
        self._plugins_read = True
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist is not None else point.value
            try:
                target = point.load()
                self._check(point.name, target)
                if point.name in self._entries:
                    raise SupertauError(f"the name is already taken by {self._entries[point.name].origin}")
            except Exception as error:  # a plugin may fail in any way: warn, and go on with the others
                self.broken[point.name] = f"{type(error).__name__}: {error}"
                warnings.warn(
                    f"{self.kind} plugin '{point.name}' of {origin} left out: {self.broken[point.name]}",
                    PluginWarning,
                    stacklevel=3,
                )
                continue
            self._entries[point.name] = Entry(point.name, target, origin)
