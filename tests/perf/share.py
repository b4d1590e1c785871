"""What part of a figure is ours, and what part any webhook on this machine would have."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """How long the same thing takes: without a webhook, with one that does nothing, and with ours; in one unit."""

    without: float
    idle: float
    ours: float

    @property
    def added(self) -> float:
        """What ours adds to the thing itself."""
        return self.ours - self.without

    @property
    def floor(self) -> float:
        """What a webhook that does nothing adds: the least that ours can."""
        return self.idle - self.without

    @property
    def beyond(self) -> float:
        """What is ours of what it adds."""
        return self.ours - self.idle

    @property
    def ratio(self) -> float:
        """How many times as long it takes with ours."""
        return self.ours / self.without

    @property
    def idle_ratio(self) -> float:
        """How many times as long it takes with a webhook that does nothing."""
        return self.idle / self.without

    def for_create_of(self, without: float) -> float:
        """What ours would add where the thing itself takes `without`, if both grow alike."""
        return self.added / self.without * without

    def for_floor_of(self, floor: float) -> float:
        """What ours would add where a webhook that does nothing adds `floor`, if both grow alike."""
        return self.added / self.floor * floor
