"""The one kind of error that is meant for a person and not for a debugger."""


class SaltusError(Exception):
    """Something the user can mend.

    The message is one sentence that says what was given, what is allowed and what to do.
    The command line prints it without a traceback and exits with code 2.
    """
