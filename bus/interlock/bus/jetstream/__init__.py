"""The transport in earnest: NATS JetStream through nats-py, and what its client leaves open closed here."""

from interlock.bus.jetstream import lean as lean
