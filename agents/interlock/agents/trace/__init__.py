"""The causal tree of a goal, from its hops."""
