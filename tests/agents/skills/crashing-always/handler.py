def run(task):
    raise RuntimeError("it crashes")
