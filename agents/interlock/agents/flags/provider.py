"""The file of flags as an OpenFeature provider, so that another provider may take its place without a change elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from interlock.agents.flags.file import Flag, resolve

if TYPE_CHECKING:
    from interlock.agents.parts import Parts

NAME = "interlock-file"
T = TypeVar("T")
_REASONS = {"rule": Reason.TARGETING_MATCH, "schedule": Reason.TARGETING_MATCH, "default": Reason.STATIC}


class FileProvider(AbstractProvider):
    """flags: by name; clock: ms since 1970 UTC."""

    def __init__(self, flags: Mapping[str, Flag], clock: Callable[[], int]) -> None:
        super().__init__()
        self._flags = flags
        self._clock = clock

    def get_metadata(self) -> Metadata:
        return Metadata(name=NAME)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolved(flag_key, bool, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolved(flag_key, str, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolved(flag_key, int, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolved(flag_key, float, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Any]:
        return self._resolved(flag_key, dict, evaluation_context)

    def _resolved(self, name: str, wanted: type[T], context: EvaluationContext | None) -> FlagResolutionDetails[T]:
        flag = self._flags.get(name)
        if flag is None:
            raise FlagNotFoundError(f"there is no flag {name}")
        found = resolve(flag, context.attributes if context is not None else {}, self._clock())
        if type(found.value) is not wanted:
            raise TypeMismatchError(f"flag {name} is {type(found.value).__name__}, not {wanted.__name__}")
        return FlagResolutionDetails(found.value, variant=found.variant, reason=_REASONS[found.why])


class Ask(Protocol):
    """Whether a boolean flag is on; `default` where it cannot be resolved. said: further attributes of the asker."""

    def __call__(self, name: str, default: bool, **said: str) -> bool: ...


def flag_asker(flags: Mapping[str, Flag], parts: Parts) -> Ask:
    """For a role: by the clock of its transport, in its workspace and environment."""
    client = flag_client(flags, parts.transport.clock.now_ms, workspace=parts.workspace, environment=parts.environment)

    def ask(name: str, default: bool, **said: str) -> bool:
        return client.get_boolean_value(name, default, EvaluationContext(attributes=dict(said)))

    return ask


def flag_client(
    flags: Mapping[str, Flag], clock: Callable[[], int], *, workspace: str, environment: str
) -> OpenFeatureClient:
    """A client of OpenFeature that says which workspace and environment ask. One provider for each workspace."""
    api.set_provider(FileProvider(flags, clock), domain=workspace)
    client = api.get_client(workspace)
    client.context = EvaluationContext(attributes={"workspace": workspace, "environment": environment})
    return client
