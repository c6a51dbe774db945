"""The loop that runs services by their blueprints: watch, decide, let goals act, verify, write down."""
