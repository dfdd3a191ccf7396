"""The commands; the only module that prints. Must not hold a decision of its own."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import orjson
import typer

from tlsproxy import __version__
from tlsproxy.config.describe import describe, reference
from tlsproxy.config.load import load_config, quick_config
from tlsproxy.config.model import Config
from tlsproxy.core.errors import ConfigError, Mistake, TlsProxyError, UnavailableError
from tlsproxy.senders.passwords.book import password_line

if TYPE_CHECKING:
    from tlsproxy.operate.findings import Finding

DEFAULT_CONFIG: Final = Path("/etc/tlsproxy/tlsproxy.toml")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_PROBLEMS: Final = 3

_EXIT_CODES: Final = (
    "Exit codes: 0 all is well; 1 failed while running, or an address cannot be had now; 2 wrong usage, or the "
    "configuration cannot be used: the reasons are told on standard error, one a line; 3 `check` found a problem."
)
_WAYS_TO_START: Final = f"""\
tlsproxy: there is no {DEFAULT_CONFIG}. Three ways to start:
  tlsproxy run -c FILE     with a configuration file; `tlsproxy config` prints one with every key explained
  tlsproxy run --imap 127.0.0.1:1143 --cert FILE --key FILE     without a file, in front of one old server
  tlsproxy demo            to see it work on this machine without any of these"""
_COLOURS: Final = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}

# Pretty tracebacks show local variables, and one of them may be a password.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
    help="Put TLS, refusals and limits in front of an IMAP, POP3 and SMTP server that cannot be changed.",
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration file.", show_default=str(DEFAULT_CONFIG)),
]


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    """Answer --version."""
    if is_wanted:
        typer.echo(f"tlsproxy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Take the options that belong to no command."""


@app.command(epilog=_EXIT_CODES)
def run(
    config: ConfigOption = None,
    imap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Quick form: the old IMAP server.")] = None,
    pop3: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Quick form: the old POP3 server.")] = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Quick form: certificate chain, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Quick form: its private key, PEM.")] = None,
    *,
    rehearse: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve until SIGTERM (says goodbye) or SIGINT (at once); SIGHUP reloads, SIGUSR2 upgrades.

    With a file (-c), or in the quick form on the well-known ports:

    tlsproxy run --imap 127.0.0.1:1143 --pop3 127.0.0.1:1110 --cert FILE --key FILE
    """
    if not any((imap, pop3, cert, key)):
        path = _config_path(config)
        _serve(str(path), lambda: load_config(path, os.environ), rehearse)
    if config:
        raise typer.BadParameter("a file and the quick form exclude each other", param_hint="--config")
    _serve("the options", lambda: quick_config(imap, pop3, cert, key, os.environ), rehearse)


@app.command(hidden=True)
def worker(line: Annotated[int, typer.Argument(help="Descriptor of the line to the supervisor.")]) -> None:
    """Serve connections; `tlsproxy run` starts as many of these as are configured."""
    from tlsproxy.operate.logs import Logs  # noqa: PLC0415 - the other commands need no event loop
    from tlsproxy.process.worker import workplace  # noqa: PLC0415 - same

    try:
        raise typer.Exit(workplace.work(line, Logs.start))
    except TlsProxyError as error:
        typer.echo(f"tlsproxy worker: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


@app.command(epilog=_EXIT_CODES)
def check(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Examine configuration, certificates, addresses, backends and limits of this machine; change nothing."""
    from tlsproxy.operate.check import examine  # noqa: PLC0415 - sockets and cryptography for this command alone

    path = _config_path(config)
    try:
        findings = examine(load_config(path, os.environ), datetime.now(UTC))
    except ConfigError as error:
        if as_json:
            _print_json(error.mistakes, [])
        else:
            _tell(str(path), error)
        raise typer.Exit(EXIT_USAGE) from None
    if as_json:
        _print_json([], findings)
    else:
        _print_findings(findings)
    raise typer.Exit(EXIT_PROBLEMS if any(finding.level == "problem" for finding in findings) else 0)


@app.command("check-sender", epilog=_EXIT_CODES)
def check_sender(
    ip: Annotated[str, typer.Argument(metavar="IP", help="Address of the server that delivers.")],
    helo: Annotated[str, typer.Argument(metavar="HELO", help="What it says in HELO or EHLO.")],
    mail_from: Annotated[str, typer.Argument(metavar="MAILFROM", help='Sender; "" or "<>" for the null sender.')],
    *,
    config: ConfigOption = None,
    dns: Annotated[list[str] | None, typer.Option(metavar="SERVER", help="Ask this name server; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Tell what the checks of an MX listener find of a sender, and what each profile would do. Sends no mail.

    Exit code 0 if the configuration, or without one the standard profile, would accept; 1 if it would not.
    """
    from tlsproxy.operate.check_sender import examine_sender, read_sender, told  # noqa: PLC0415 - DNS for this command alone

    path = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    where = "the arguments"
    try:
        sender = read_sender(ip, helo, mail_from)
        if path is not None:
            where = str(path)
        loaded = load_config(path, os.environ) if path is not None else None
        where = "the name servers"
        report = examine_sender(sender, loaded, dns or ())
    except ConfigError as error:
        _tell(where, error)
        raise typer.Exit(EXIT_USAGE) from None
    if as_json:
        typer.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    else:
        typer.echo("\n".join(told(report)))
    raise typer.Exit(0 if report.is_accepted else EXIT_FAILED)


@app.command("config", epilog=_EXIT_CODES)
def config_command(config: ConfigOption = None) -> None:
    """Print the commented reference: every key, its default and the reason for it.

    With -c the same with the values of that file, as tlsproxy understands them.
    """
    if config is None:
        typer.echo(reference(), nl=False)
        return
    try:
        typer.echo(describe(load_config(config, os.environ)), nl=False)
    except ConfigError as error:
        _tell(str(config), error)
        raise typer.Exit(EXIT_USAGE) from None


@app.command("hash-password", epilog=_EXIT_CODES)
def hash_password_command(
    user: Annotated[str | None, typer.Option(metavar="USER", help="Print a whole line of the password file.")] = None,
    argon2: Annotated[bool, typer.Option("--argon2", help="Argon2id instead of scrypt.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Print the salted hash of a password, for the file that [smtp.submission] password_file names.

    The password is asked for twice on a terminal; else it is the first line of standard input.
    """
    # Never an argument: those stand in the list of processes and in the shell's history.
    password = (
        os.fsencode(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        if sys.stdin.isatty()
        else sys.stdin.buffer.readline().rstrip(b"\r\n")
    )
    try:
        line = password_line(None if user is None else os.fsencode(user), password, is_argon2=argon2)
    except ValueError as error:
        typer.echo(f"tlsproxy: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    typer.echo(line)


@app.command(epilog=_EXIT_CODES)
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the walk instead of staying up.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Show the whole job on this machine: an old mail server, tlsproxy in front of it, and mail programs."""
    from tlsproxy.demo import walk  # noqa: PLC0415 - a mail server for this command alone

    raise typer.Exit(walk.run(once=once))


def _serve(where: str, source: Callable[[], Config], form: str | None) -> NoReturn:
    """Run to the end, or only rehearse; what keeps tlsproxy from starting is told on standard error."""
    from tlsproxy.operate.logs import Logs  # noqa: PLC0415 - the other commands need no event loop
    from tlsproxy.process import supervisor  # noqa: PLC0415 - same
    from tlsproxy.process.rehearsal import rehearse  # noqa: PLC0415 - same

    try:
        raise typer.Exit(rehearse(source, Logs.start, form) if form else supervisor.run(source, Logs.start))
    except ConfigError as error:
        _tell(where, error)
        raise typer.Exit(EXIT_FAILED if isinstance(error, UnavailableError) else EXIT_USAGE) from None
    except TlsProxyError as error:
        typer.echo(f"tlsproxy: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


def _config_path(given: Path | None) -> Path:
    """The file to read; a word on the ways to start where there is none."""
    if given:
        return given
    if DEFAULT_CONFIG.exists():
        return DEFAULT_CONFIG
    typer.echo(_WAYS_TO_START, err=True)
    raise typer.Exit(EXIT_USAGE)


def _tell(where: str, error: ConfigError) -> None:
    """Every mistake, one a line."""
    count = len(error.mistakes)
    typer.echo(f"tlsproxy: {count} {'mistake' if count == 1 else 'mistakes'} in {where}:", err=True)
    for mistake in error.mistakes:
        typer.echo(f"  {mistake}", err=True)


def _print_findings(findings: Sequence["Finding"]) -> None:
    """One line a finding, then what they come to."""
    for finding in findings:
        level = typer.style(f"{finding.level:<8}", fg=_COLOURS[finding.level])
        typer.echo(f"{level} {finding.subject}: {finding.text}")
    problems, warnings = (sum(finding.level == level for finding in findings) for level in ("problem", "warning"))
    verdict = "tlsproxy would not serve everything" if problems else "tlsproxy is ready to run"
    typer.echo(f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}: {verdict}")


def _counted(number: int, noun: str) -> str:
    """``1 problem`` or ``2 problems``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_json(mistakes: Sequence[Mistake], findings: Sequence["Finding"]) -> None:
    """The same as one object; one of the two lists is empty."""
    typer.echo(orjson.dumps({"mistakes": mistakes, "findings": findings}, option=orjson.OPT_INDENT_2))
