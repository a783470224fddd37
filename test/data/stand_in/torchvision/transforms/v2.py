"""Only a base class."""


class Transform:
    pass
