import time
from pathlib import Path


def run(task):
    time.sleep(task.input.get("pause_ms", 0) / 1000)
    with (Path(task.input["place"]) / "lines.txt").open("a") as file:
        file.write(task.input["line"] + "\n")
    return {"written": task.input["line"]}


def check(task):
    path = Path(task.input["place"]) / "lines.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return {"written": task.input["line"]} if task.input["line"] in lines else None
