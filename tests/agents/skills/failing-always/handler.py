from interlock.skills.sdk import SkillError


def run(task):
    raise SkillError("it never works")
