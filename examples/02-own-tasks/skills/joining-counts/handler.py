from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, object]:
    total = sum(count["words"] for count in task.input["counts"])
    (task.out / "total.txt").write_text(f"{total} words in {len(task.input['counts'])} texts\n")
    return {"total": total}
