"""One module per command: `add_arguments(parser)` and `main(args) -> int`."""


class CommandError(RuntimeError):
    """The command cannot do what it was asked; the text tells a person why and what to do."""


class ArgumentsError(ValueError):
    """The arguments cannot be used; one line per mistake, all of them at once."""
