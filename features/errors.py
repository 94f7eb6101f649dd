"""The one exception that users meet."""


class BottleneckError(Exception):
    """A fault that the user can mend: what was given, what was expected and what to do, in one sentence."""
