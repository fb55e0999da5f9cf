"""One module per command: `add_arguments(parser)` and `main(args) -> int`."""


class CommandError(RuntimeError):
    """The command cannot do what it was asked; the text tells a person why and what to do."""
