"""check"""


def check(e): ...
