"""AutoGen core's gRPC runtime in the shape of the other peers. Apart, because its handlers are found by real annotations."""

from dataclasses import dataclass

from autogen_core import AgentId, MessageContext, RoutedAgent, message_handler
from autogen_core._serialization import try_get_known_serializers_for_type
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost

from scripts.bench import mandates
from scripts.bench.pump import Tally, pump


@dataclass
class Text:
    content: str


class Sink(RoutedAgent):
    @message_handler
    async def handle(self, message: Text, ctx: MessageContext) -> Text:
        return Text("")


async def autogen(_: str, count: int) -> float:
    """Messages per second, each answered."""
    host = GrpcWorkerAgentRuntimeHost(address="127.0.0.1:50251")
    host.start()
    runtime = GrpcWorkerAgentRuntime(host_address="127.0.0.1:50251")
    await runtime.start()
    runtime.add_message_serializer(try_get_known_serializers_for_type(Text))
    await Sink.register(runtime, "sink", lambda: Sink("sink"))
    tally, data = Tally(), Text("x" * mandates.BYTES)

    async def ask(_: int) -> None:
        await runtime.send_message(data, AgentId("sink", "default"))
        tally.one_more()

    try:
        return await pump(count, ask, tally)
    finally:
        await runtime.stop()
        await host.stop()
