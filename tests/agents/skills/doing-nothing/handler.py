def run(task):
    return {}
