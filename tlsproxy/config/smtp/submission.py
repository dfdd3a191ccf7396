"""[smtp.submission]: users who send, and who judges their passwords; must not judge one."""

from typing import Self

from pydantic import Field, model_validator

from tlsproxy.config.sections import Section
from tlsproxy.config.smtp.values import CacheSeconds
from tlsproxy.config.values import Count, FilePath, Name
from tlsproxy.core.kinds import SaslMechanism, SenderLogin, SubmissionAuth


class SubmissionConfig(Section):
    """Users who send. Nobody does so before TLS and a login; none of the checks of [smtp.mx] is made of them."""

    auth: SubmissionAuth = Field(
        default=SubmissionAuth.IMAP,
        description=(
            "Who judges passwords. imap or pop3: the old server, by a login over that protocol, which leaves mail "
            "untouched. replay: the old SMTP server itself, by AUTH. file: password_file."
        ),
    )
    auth_backend: Name | None = Field(
        default=None,
        description=(
            "With auth imap or pop3: the [backend.NAME] that is asked. By default the backend with that protocol's "
            "name."
        ),
        examples=["imap"],
    )
    password_file: FilePath | None = Field(
        default=None,
        description="With auth file: users and their salted password hashes, readable by tlsproxy alone.",
        examples=["/etc/tlsproxy/users"],
    )
    mechanisms: tuple[SaslMechanism, ...] = Field(
        default=(SaslMechanism.PLAIN, SaslMechanism.LOGIN),
        min_length=1,
        description=(
            "What AUTH offers, under TLS alone. PLAIN is the standard; old Outlook and many devices know only LOGIN."
        ),
    )
    sender_login: SenderLogin = Field(
        default=SenderLogin.OFF,
        description=(
            "What becomes of a message whose envelope sender is not the user's login name: off, log or reject. A name "
            "without a domain stands for that user of any domain in [smtp.mx] local_domains, if they are written. "
            "reject stops a stolen password from sending under any name, and aliases as well."
        ),
    )
    max_auth_failures: Count = Field(
        default=3,
        description="Wrong passwords in one connection; then it ends, and connection_rate slows a guesser down.",
    )
    cache: CacheSeconds = Field(
        default=60.0,
        description=(
            "How long a password that was right is taken as right without asking again; at most 60s. A user who sends "
            'ten messages in a row is then judged once. "0s" asks each time.'
        ),
    )

    @property
    def auth_backend_name(self) -> str:
        """The backend that is asked about passwords over IMAP or POP3; empty where none is."""
        if self.auth not in {SubmissionAuth.IMAP, SubmissionAuth.POP3}:
            return ""
        return self.auth_backend or str(self.auth)

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """Each way to judge needs its key, and no other."""
        problems: list[str] = []
        if self.auth is SubmissionAuth.FILE and not self.password_file:
            problems.append('auth = "file" needs the file; write password_file = "/etc/tlsproxy/users"')
        if self.auth is not SubmissionAuth.FILE and self.password_file:
            problems.append(f'password_file has no effect while auth is "{self.auth}"; write auth = "file"')
        if self.auth_backend and not self.auth_backend_name:
            problems.append(f'auth_backend has no effect while auth is "{self.auth}"; write auth = "imap" or "pop3"')
        if problems:
            raise ValueError("; ".join(problems))
        return self
