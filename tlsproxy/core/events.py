"""Every log event's name; an interface to administrators, changed only with the schema version."""

from enum import StrEnum


class Event(StrEnum):
    """A log event, ``noun.past_verb``."""

    SERVER_STARTED = "server.started"
    SERVER_DRAINING = "server.draining"
    SERVER_STOPPED = "server.stopped"
    WORKER_STARTED = "worker.started"
    WORKER_STUCK = "worker.stuck"
    WORKER_ENDED = "worker.ended"
    WORKER_BROKEN = "worker.broken"
    UPGRADE_STARTED = "upgrade.started"
    UPGRADE_REJECTED = "upgrade.rejected"
    CONNECTIONS_SHED = "connections.shed"
    LISTENER_STARTED = "listener.started"
    LISTENER_PAUSED = "listener.paused"
    LISTENER_SKIPPED = "listener.skipped"
    LISTENER_STOPPED = "listener.stopped"
    CONFIG_LOADED = "config.loaded"
    CONFIG_REJECTED = "config.rejected"
    CERTIFICATE_LOADED = "certificate.loaded"
    CERTIFICATE_EXPIRING = "certificate.expiring"
    BACKEND_LOST = "backend.lost"
    BACKEND_RECOVERED = "backend.recovered"
    SESSION_OPENED = "session.opened"
    SESSION_CLOSED = "session.closed"
    SESSION_BROKEN = "session.broken"
    LOGIN_FAILED = "login.failed"
    LOGIN_SUCCEEDED = "login.succeeded"
    PASSWORD_EXPOSED = "password.exposed"  # noqa: S105 - an event, not a password
    STARTTLS_INJECTION = "starttls.injection"
    LOG_DROPPED = "log.dropped"
