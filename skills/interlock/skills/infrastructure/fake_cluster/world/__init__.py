"""What lives in the fake cluster: controllers, pods that take time to become ready, load that heats them."""
