"""A real cluster: what is seen of it, what is done to it, and the way back. Needs the extra `interlock[kubernetes]`."""
