"""nats-server as a child (BUS-09): where its program is, its configuration and users, one alone or three as a cluster."""
