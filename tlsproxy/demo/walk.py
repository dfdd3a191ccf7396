"""What ``tlsproxy demo`` does: start a mail world, walk through the proxy's job by really doing it, stay up."""

import secrets
import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Final, NoReturn

from tlsproxy.core.events import Event
from tlsproxy.demo.certificates import DemoCertificates, make_certificates
from tlsproxy.demo.dialogue import StepError
from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver import Account, HostedMailServer, Mailbox
from tlsproxy.demo.proxy import ProxyProcess, ProxyStartError
from tlsproxy.demo.screen import Screen
from tlsproxy.demo.setting import Ports, choose_ports, configuration
from tlsproxy.demo.steps import STEPS, Stage, Step

# Small, so that the walk reaches it soon; large enough for a mail program to be tried afterwards.
_CAP: Final = 8
_USER: Final = b"demo"
# A port that was free may be taken by the time the proxy wants it.
_START_ATTEMPTS: Final = 3
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_OK: Final = 0
_EXIT_FAILED: Final = 1


def run(once: bool = False) -> int:  # noqa: FBT001, FBT002 - the command line's flag
    """Show tlsproxy at work.

    Args:
        once: End after the walk; else stay up until Ctrl-C or SIGTERM.

    Returns:
        Exit code: 0 if every step came out as it should, 1 if not or if the proxy did not come up.
    """
    screen = Screen()
    is_good = False
    with _interruptible():
        try:
            with TemporaryDirectory(prefix="tlsproxy-demo-") as folder, _old_server() as (account, hosted):
                is_good = _show(screen, Path(folder), account, hosted, once=once)
        except ProxyStartError as error:
            screen.block(str(error))
            screen.verdict("the proxy did not come up", is_good=False)
        except KeyboardInterrupt:
            is_good = not once
        if not once:
            screen.title("Everything is stopped, and nothing is left behind.")
    return _EXIT_OK if is_good else _EXIT_FAILED


def _show(screen: Screen, folder: Path, account: Account, hosted: HostedMailServer, *, once: bool) -> bool:
    """The whole show inside a folder that will be gone; whether every step came out as it should."""
    screen.title("tlsproxy: TLS in front of a mail server that cannot be changed")
    server = hosted.server
    screen.say(
        "An old mail server without TLS listens here: "
        f"IMAP on port {server.imap_port}, POP3 on {server.pop3_port}, SMTP on {server.smtp_port}."
    )
    files = make_certificates(folder)
    with _proxy(screen, folder / "tlsproxy.toml", files, hosted) as (proxy, ports):
        _show_log(screen, proxy)
        trusted = ssl.create_default_context(cafile=files.ca)
        stage = Stage(
            screen=screen,
            proxy=proxy,
            ports=ports,
            trusted=trusted,
            account=account,
            old=server,
            cap=_CAP,
        )
        failed = [number for number, step in enumerate(STEPS, start=1) if not _walk(stage, number, step)]
        screen.title("The walk is over.")
        text = (
            f"step {', '.join(map(str, failed))} failed"
            if failed
            else f"all {len(STEPS)} steps came out as they should"
        )
        screen.verdict(text, is_good=not failed)
        if once:
            return not failed
        _offer(screen, ports, files, account)
        return _stay(screen, proxy) and not failed


def _walk(stage: Stage, number: int, step: Step) -> bool:
    """Do one step and show it, the proxy's log lines below; whether it came out as it should."""
    stage.screen.title(f"{number}. {step.title}")
    stage.screen.say(step.reason)
    stage.client_ports.clear()
    failure = ""
    try:
        step.act(stage)
        for port in stage.client_ports:
            stage.must_be_logged(Event.SESSION_CLOSED, port)
    except StepError as error:
        failure = str(error)
    _show_log(stage.screen, stage.proxy)
    stage.screen.verdict(failure or step.proof, is_good=not failure)
    return not failure


def _show_log(screen: Screen, proxy: ProxyProcess) -> None:
    for line in proxy.take_new():
        screen.log(line.for_people(is_coloured=screen.is_coloured))


def _offer(screen: Screen, ports: Ports, files: DemoCertificates, account: Account) -> None:
    """Lines to copy into another terminal."""
    user = f"-u {account.user.decode()}:{account.password.decode()}"
    curl, openssl = f"curl --cacert {files.ca}", f"openssl s_client -CAfile {files.ca} -crlf -quiet"
    screen.title("Try it yourself, from another terminal:")
    screen.block(
        f"{curl} {user} 'imaps://127.0.0.1:{ports.imaps}/INBOX;UID=1'\n"
        f"{curl} {user} --ssl-reqd 'imap://127.0.0.1:{ports.imap}/INBOX;UID=2'\n"
        f"{curl} {user} 'pop3s://127.0.0.1:{ports.pop3s}/3'\n"
        f"{curl} {user} --ssl-reqd 'pop3://127.0.0.1:{ports.pop3}/4'\n"
        f"echo 'Subject: Hello' | {curl} {user} --url smtps://127.0.0.1:{ports.submissions}"
        " --mail-from demo@old.example --mail-rcpt friend@elsewhere.example --upload-file -\n"
        f"{openssl} -connect 127.0.0.1:{ports.imaps}\n"
        f"{openssl} -connect 127.0.0.1:{ports.imap} -starttls imap\n"
        f"{openssl} -connect 127.0.0.1:{ports.pop3} -starttls pop3\n"
        f"{openssl} -connect 127.0.0.1:{ports.submission} -starttls smtp\n"
        f"{openssl} -connect 127.0.0.1:{ports.smtp} -starttls smtp"
    )
    screen.say(f"A mail program: user {account.user.decode()}, password {account.password.decode()}, the ports above.")
    screen.say("Whatever is sent, and to whom, comes to this mailbox and to nobody else.")
    screen.title("The proxy's log; Ctrl-C stops everything.")


def _stay(screen: Screen, proxy: ProxyProcess) -> bool:
    """Show the log until somebody stops us; False if the proxy ended by itself."""
    try:
        proxy.follow(lambda line: screen.log(line.for_people(is_coloured=screen.is_coloured)))
    except KeyboardInterrupt:
        return True
    screen.verdict("the proxy ended by itself", is_good=False)
    return False


@contextmanager
def _old_server() -> Iterator[tuple[Account, HostedMailServer]]:
    """The old server, its user's password made up anew each time."""
    account = Account(_USER, secrets.token_hex(8).encode())
    with HostedMailServer(account, Mailbox(letters())) as hosted:
        yield account, hosted


@contextmanager
def _proxy(
    screen: Screen, file: Path, files: DemoCertificates, hosted: HostedMailServer
) -> Iterator[tuple[ProxyProcess, Ports]]:
    """The proxy, up and serving."""
    with ExitStack() as stack:
        for attempt in range(1, _START_ATTEMPTS + 1):
            ports = choose_ports(is_preferring=attempt == 1)
            text = configuration(ports, files, hosted.server, cap=_CAP)
            file.write_text(text)
            try:
                proxy = stack.enter_context(ProxyProcess(file))
            except ProxyStartError:
                if attempt == _START_ATTEMPTS:
                    raise
            else:
                screen.say(f"tlsproxy run -c {file}, with this as the whole configuration:")
                screen.block(text)
                yield proxy, ports
                return


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have the first Ctrl-C, SIGTERM or SIGHUP raise KeyboardInterrupt; later ones do not disturb the cleaning up.

    Set explicitly, because a shell starts background programs with SIGINT ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
