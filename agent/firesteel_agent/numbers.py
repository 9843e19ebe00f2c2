"""What runs is known by its number: statements count up from 0, jobs down from -1. Calls nobody."""


def is_job(number: int) -> bool:
    """Whether it is a job's."""
    return number < 0


def name_of(number: int) -> str:
    """Its name for people: jobs count from 1."""
    return f"job {-number}" if is_job(number) else f"statement {number}"


def group_of(number: int) -> str:
    """The name of its Spark job group."""
    return "firesteel-" + name_of(number).replace(" ", "-")
