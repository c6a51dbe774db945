"""Task groups whose failures come out as themselves: an error of the bus is one error, not a group around one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background() -> AsyncIterator[TaskGroup]:
    """A task group for the helpers of a context: cancelled when the body ends. What the body raises comes out as it
    is; if a helper fails, the body is cancelled and the helper's error comes out.
    """
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            try:
                yield group
            except BaseException as error:
                failure = error
                raise
            finally:
                group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise _the_one(errors, failure) from None


async def together(calls: Iterable[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    """Runs all concurrently; the first failure cancels the others and comes out."""
    try:
        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(call)
    except BaseExceptionGroup as errors:
        raise _the_one(errors, None) from None


def _the_one(errors: BaseExceptionGroup[BaseException], failure: BaseException | None) -> BaseException:
    flat = list(_leaves(errors))
    if failure is not None and any(error is failure for error in flat):
        return failure
    return flat[0] if len(flat) == 1 or all(type(error) is type(flat[0]) for error in flat) else errors


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
