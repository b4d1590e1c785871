"""How requests with large bodies take turns."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.webhook.bodies import LargeBodies, rest
from app.webhook.responses import Disconnected, RequestRejected

MEBIBYTE = 1024**2


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


def test_a_review_is_followed_by_a_pause_for_other_requests_and_then_by_the_next() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=2, seconds=60)
        async with large:
            assert await large.read(arriving(part(b"a", more=True), part(b"b")), 10) == b"ab"
            await asyncio.sleep(0.05)
        assert large._turn.locked()
        async with large:
            pass
        assert large._count == 0

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
        with pytest.raises(RequestRejected, match="is over"):
            async with large:
                await large.read(arriving(part(bytes(MEBIBYTE), more=True)), 10)
        assert large._turn.locked()
        async with large:
            pass

    asyncio.run(scenario())


def test_a_body_that_never_comes_is_followed_by_no_pause() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=1, seconds=0.01)
        with pytest.raises(RequestRejected, match="did not arrive within"):
            async with large:
                await large.read(arriving(part(b"a", more=True)), 10)
        with pytest.raises(Disconnected):
            async with large:
                await large.read(arriving({"type": "http.disconnect"}), 10)
        async with large:
            with pytest.raises(RequestRejected, match="too many concurrent"):
                await large.__aenter__()
        assert large._count == 0

    asyncio.run(scenario())


def test_a_request_that_is_given_up_while_it_waits_leaves_its_place() -> None:
    async def scenario() -> None:
        large = LargeBodies(most=2, seconds=60)
        async with large:
            waiting = asyncio.create_task(large.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert large._count == 1

    asyncio.run(scenario())
