from interlock.skills.sdk import SkillError, Task


def run(task: Task) -> dict[str, object]:
    text = task.input["text"]
    if not text.strip():
        raise SkillError("there is no text to count")
    return {"words": len(text.split())}
