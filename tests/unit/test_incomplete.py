"""Connections on which no complete request has come: beyond a limit one is closed, at a cost that does not grow."""

import pytest

from app.serving.incomplete import Incomplete


class Connection:
    """A connection that counts how often it is looked at."""

    def __init__(self, address: str) -> None:
        self.aborted = False
        self.looks = 0
        self._address = address

    @property
    def address(self) -> str:
        self.looks += 1
        return self._address

    def abort(self) -> None:
        self.aborted = True


class Connections:
    """Some of them, and what awaits their requests."""

    def __init__(self, limit: int) -> None:
        self.incomplete = Incomplete(limit)
        self.all: list[Connection] = []

    def open(self, address: str, count: int = 1) -> None:
        for _ in range(count):
            self.all.append(Connection(address))
            self.incomplete.add(self.all[-1])

    @property
    def aborted(self) -> list[int]:
        return [number for number, each in enumerate(self.all) if each.aborted]


@pytest.fixture
def connections() -> Connections:
    return Connections(limit=4)


def test_beyond_the_limit_the_oldest_of_the_address_with_the_most_is_closed(connections: Connections) -> None:
    connections.open("10.0.0.1")
    connections.open("10.0.0.2", 3)
    assert connections.aborted == []
    connections.open("10.0.0.3")
    assert connections.aborted == [1]
    connections.open("10.0.0.3", 2)
    assert connections.aborted == [1, 2, 4]


def test_a_connection_whose_request_is_complete_counts_no_longer(connections: Connections) -> None:
    connections.open("10.0.0.1", 4)
    connections.incomplete.discard(connections.all[0])
    connections.incomplete.discard(connections.all[0])
    connections.open("10.0.0.1")
    assert connections.aborted == []
    connections.open("10.0.0.1")
    assert connections.aborted == [1]


def test_a_connection_counts_once(connections: Connections) -> None:
    connections.open("10.0.0.1", 4)
    connections.incomplete.add(connections.all[0])
    assert connections.aborted == []


def test_closing_one_looks_at_no_other(connections: Connections) -> None:
    connections.open("10.0.0.1", 4)
    before = [each.looks for each in connections.all]
    connections.open("10.0.0.1")
    assert connections.aborted == [0]
    assert [each.looks for each in connections.all[1:4]] == before[1:]


def test_an_address_that_has_more_than_half_of_them_is_crowded(connections: Connections) -> None:
    connections.open("10.0.0.1")
    connections.open("10.0.0.2", 2)
    assert not connections.incomplete.crowded_by("10.0.0.2")
    connections.open("10.0.0.2")
    assert connections.incomplete.crowded_by("10.0.0.2")
    assert not connections.incomplete.crowded_by("10.0.0.1")
    assert not connections.incomplete.crowded_by("10.0.0.3")
    connections.incomplete.discard(connections.all[-1])
    assert not connections.incomplete.crowded_by("10.0.0.2")
