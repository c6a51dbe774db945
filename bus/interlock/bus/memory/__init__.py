"""The transport in memory (BUS-10): a broker of one process at the time of an injected clock."""
