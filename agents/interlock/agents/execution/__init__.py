"""The executor: runs skills isolated, journals their effects, attests and prices every run."""
