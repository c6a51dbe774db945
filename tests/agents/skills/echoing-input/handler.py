def run(task):
    return {"got": task.input, "files": sorted(task.files)}
