"""The settings of a policy's namespaces in CEL: the variable `layer` says which of them apply."""

from collections.abc import Callable, Collection, Iterator
from typing import Self, TypeVar

from app.core.cel.expressions import FALSE, TRUE, array, both, either, globbed
from app.core.policy.model import GuardPolicy, Mode, Settings

T = TypeVar("T")

NAMESPACE = "request.namespace"
BASE = -1
"""The layer of namespaces that no item of `namespaces` matches: the result of indexOf without a match."""


class Layers:
    """The layers of one mode, on one day. All expressions are valid under the condition `within`."""

    def __init__(self, settings: dict[int, Settings], variable: str, within: str, today: str) -> None:
        self._settings = settings
        self.variable = variable
        self.within = within
        self.today = today

    @property
    def several(self) -> bool:
        """Whether the policy has settings for some namespaces, so that `variable` is to be defined."""
        return self.variable != str(BASE)

    @classmethod
    def of(cls, policy: GuardPolicy, mode: Mode) -> Self:
        """Choose the layers of a mode; `variable` is the expression of the variable `layer`."""
        every = {index: settings for index, (_, _, settings) in enumerate(policy.layers(), BASE)}
        matched = [globbed(NAMESPACE, override.match) for override in policy.namespaces]
        variable = f"[{', '.join(matched)}].indexOf(true)" if matched else str(BASE)
        chosen = {index: settings for index, settings in every.items() if settings.mode is mode}
        return cls(chosen, variable, _among(chosen, every), policy.today)

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self._settings)

    def where(self, holds: Callable[[Settings], bool]) -> str:
        """Return the condition that the layer has this property."""
        return _among({index for index, settings in self._settings.items() if holds(settings)}, self._settings)

    def values(self, get: Callable[[Settings], T]) -> list[T]:
        """Return the value of a setting in each layer."""
        return [get(settings) for settings in self._settings.values()]

    def pick(self, get: Callable[[Settings], str | None]) -> str:
        """Return an expression that looks up the value of the layer."""
        found = {index: value for index, settings in self._settings.items() if (value := get(settings)) is not None}
        if len(set(found.values())) == 1:
            return next(iter(found.values()))
        return f"{{{', '.join(f'{index}: {value}' for index, value in found.items())}}}[variables.layer]"

    def each(self, get: Callable[[Settings], T]) -> Iterator[tuple[T, str]]:
        """Yield each value of a setting, with the condition that the layer has it."""
        seen = list[T]()
        for value in self.values(get):
            if value not in seen:
                seen.append(value)
                yield value, self._having(get, value)

    def _having(self, get: Callable[[Settings], T], value: T) -> str:
        return self.where(lambda settings: get(settings) == value)

    def choose(self, get: Callable[[Settings], T], express: Callable[[T], str]) -> str:
        """Return an expression that depends on the layer's value of a setting."""
        *others, (last, _) = self.each(get)
        chosen = express(last)
        for value, layer in reversed(others):
            chosen = f"({layer} ? {express(value)} : {chosen})"
        return chosen

    def by(self, get: Callable[[Settings], T], express: Callable[[T], str]) -> str:
        """Return a condition that depends on the layer's value of a setting."""
        return either(*(both(layer, express(value)) for value, layer in self.each(get)))


def _among(chosen: Collection[int], every: Collection[int]) -> str:
    if len(chosen) == len(every):
        return TRUE
    return f"variables.layer in {array(sorted(chosen))}" if chosen else FALSE
