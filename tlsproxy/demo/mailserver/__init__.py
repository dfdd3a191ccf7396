"""An old mail server in miniature: IMAP4rev1, POP3 and SMTP in clear, one user, one mailbox in memory."""

from tlsproxy.demo.mailserver.journal import Journal, Record
from tlsproxy.demo.mailserver.mailbox import Account, Mailbox, Message
from tlsproxy.demo.mailserver.server import HostedMailServer, MailServer

__all__ = ["Account", "HostedMailServer", "Journal", "MailServer", "Mailbox", "Message", "Record"]
