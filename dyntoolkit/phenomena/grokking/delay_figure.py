from dyntoolkit.phenomena.grokking._figure import delay_marks as delay_marks
from dyntoolkit.phenomena.grokking._figure import map_by_step as course_map  # noqa: F401
