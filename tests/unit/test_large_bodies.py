"""How requests with large bodies take turns."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.webhook.bodies import LargeBodies, rest
from app.webhook.responses import Disconnected, RequestRejected

MEBIBYTE = 1024**2
FLOODER, OTHER = "10.0.0.1", "10.0.0.2"


def arriving(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A client that sends these messages, and nothing more."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Requests:
    """Requests that note when they get their turn, and keep it until they are told to end."""

    def __init__(self, large: LargeBodies) -> None:
        self.begun: list[str] = []
        self.rejected: list[str] = []
        self._large = large
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def send(self, name: str, client: str) -> None:
        """Send one, and let it wait."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._request(name, client))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        """End one, with the pause after it."""
        self._ends[name].set()
        async with asyncio.timeout(60):
            await self.tasks[name]
        await asyncio.sleep(0.001)

    async def give_up(self, name: str) -> None:
        """Give one up."""
        self.tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.tasks[name]

    async def _request(self, name: str, client: str) -> None:
        try:
            async with self._large.turn(client):
                self.begun.append(name)
                await self._ends[name].wait()
        except RequestRejected:
            self.rejected.append(name)


async def next_turn(large: LargeBodies) -> float:
    """Return when the next request gets its turn."""
    async with large.turn(OTHER):
        return asyncio.get_running_loop().time()


def test_a_body_is_followed_by_a_pause_for_other_requests_and_then_by_the_next() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=2, seconds=60)
        async with large.turn(FLOODER):
            body = await large.read(arriving(part(bytes(MEBIBYTE), more=True), part(b"b")), 2 * MEBIBYTE)
            assert len(body) == MEBIBYTE + 1
            began = asyncio.get_running_loop().time()
        assert await next_turn(large) - began >= 0.03

    asyncio.run(scenario())


def test_a_review_is_followed_by_a_pause_of_three_times_as_long() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=2, seconds=60)
        async with large.turn(FLOODER):
            await large.read(arriving(part(b"a")), 10)
            await asyncio.sleep(0.02)
            began = asyncio.get_running_loop().time()
        assert await next_turn(large) - began >= 0.05

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("size", "spent", "pause"),
    [(70_000, 0.001, 0.003), (7 * MEBIBYTE, 0.01, 0.25), (MEBIBYTE, 0.1, 0.3), (MEBIBYTE, 0.5, 1.0)],
)
def test_a_pause_grows_with_the_body_and_with_the_time_of_its_review(size: int, spent: float, pause: float) -> None:
    assert rest(size, spent) == pytest.approx(pause)


def test_a_body_that_is_rejected_for_its_size_is_followed_by_a_pause_too() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=2, seconds=60)
        began = asyncio.get_running_loop().time()
        with pytest.raises(RequestRejected, match="is over"):
            async with large.turn(FLOODER):
                await large.read(arriving(part(bytes(MEBIBYTE), more=True)), 10)
        assert await next_turn(large) - began >= 0.03

    asyncio.run(scenario())


def test_a_body_that_never_comes_is_rejected_and_the_next_one_may_come() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=1, seconds=0.01)
        with pytest.raises(RequestRejected, match="did not arrive within"):
            async with large.turn(OTHER):
                await large.read(arriving(part(b"a", more=True)), 10)
        with pytest.raises(Disconnected):
            async with large.turn(OTHER):
                await large.read(arriving({"type": "http.disconnect"}), 10)
        async with large.turn(OTHER):
            with pytest.raises(RequestRejected, match="too many concurrent"):
                async with large.turn(OTHER):
                    pass

    asyncio.run(scenario())


def test_clients_take_turns_so_that_another_one_waits_for_one_request_at_most() -> None:
    async def scenario() -> None:
        requests = Requests(LargeBodies(most=9, seconds=60))
        for number in range(4):
            await requests.send(f"flood {number}", FLOODER)
        await requests.send("other", OTHER)
        for name in ("flood 0", "other", "flood 1", "flood 2", "flood 3"):
            await requests.end(name)
        assert requests.begun == ["flood 0", "other", "flood 1", "flood 2", "flood 3"]

    asyncio.run(scenario())


def test_where_each_client_waits_with_one_request_the_new_one_is_rejected_and_all_others_get_their_turns() -> None:
    async def scenario() -> None:
        requests = Requests(LargeBodies(most=3, seconds=60))
        for client in "abcd":
            await requests.send(client, client)
        await asyncio.sleep(0)
        assert requests.rejected == ["d"]
        for client in "abc":
            await requests.end(client)
        await requests.send("e", "e")
        await requests.end("e")
        assert requests.begun == ["a", "b", "c", "e"]

    asyncio.run(scenario())


def test_where_there_is_no_room_the_client_with_the_most_requests_has_one_rejected() -> None:
    async def scenario() -> None:
        requests = Requests(LargeBodies(most=3, seconds=60))
        for number in range(3):
            await requests.send(f"flood {number}", FLOODER)
        await requests.send("flood 3", FLOODER)
        await requests.send("other", OTHER)
        await asyncio.sleep(0)
        assert requests.rejected == ["flood 3", "flood 2"]
        for name in ("flood 0", "other", "flood 1"):
            await requests.end(name)
        assert requests.begun == ["flood 0", "other", "flood 1"]

    asyncio.run(scenario())


class Unlucky(LargeBodies):
    """Has a request given up in the moment in which it gets its turn."""

    unlucky: asyncio.Task[None] | None = None

    def _call_next(self) -> None:
        super()._call_next()
        if self.unlucky:
            self.unlucky.cancel()
            self.unlucky = None


def test_a_request_that_is_given_up_keeps_no_turn() -> None:
    async def scenario() -> None:
        large = Unlucky(most=9, seconds=60)
        requests = Requests(large)
        for name in ("first", "waiting", "called", "last"):
            await requests.send(name, OTHER)
        await requests.give_up("waiting")
        large.unlucky = requests.tasks["called"]
        for name in ("first", "last"):
            await requests.end(name)
        assert requests.begun == ["first", "last"]
        assert requests.tasks["called"].cancelled()

    asyncio.run(scenario())
