"""``python -m tlsproxy`` and the ``tlsproxy`` program; must not hold a command."""

from tlsproxy.cli import app


def main() -> None:
    """Run one command and leave with its exit code."""
    app(prog_name="tlsproxy")


if __name__ == "__main__":
    main()
