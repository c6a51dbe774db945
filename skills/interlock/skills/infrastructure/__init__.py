"""Blueprints that drive Kubernetes (seed 001): what is wanted, what is seen, what is decided, what is done."""
