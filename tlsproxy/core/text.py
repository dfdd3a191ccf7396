"""Text that is safe to be looked at; must not decide what is shown."""


def printable(text: str) -> str:
    """The same with everything escaped that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
