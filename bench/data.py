"""The content of SMTP mail on its way: how fast it is re-framed and rid of forged fields, kind by kind.

Nothing but the two classes runs, without sockets and TLS, so that the figure is a ceiling for one core. Run as a
program, it measures with the interpreter that runs it.
"""

import base64
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench.peers import Peer
from bench.processes import BenchError, pinned
from bench.runs import Say
from tlsproxy.core.kinds import BareNewline
from tlsproxy.protocols.smtp.content import HeaderFilter
from tlsproxy.protocols.smtp.data import Reframer

_SOURCE: Final = Path(__file__).parent.parent
_CHUNK_BYTES: Final = 65536
_MAIL_BYTES: Final = 4 << 20
_REPEATS: Final = 7
_MEGA: Final = 1e6
_PATIENCE_S: Final = 120
_HEADER: Final = (
    b"Received: from a.example (a.example [192.0.2.1]) by b.example\r\n\twith ESMTPS id 7F3A9C; Thu, 1 Jan 2026\r\n"
    b"Authentication-Results: b.example; spf=pass smtp.mailfrom=a.example\r\n" + b"X-Field: value\r\n" * 30 + b"\r\n"
)


def data(
    ours: Sequence[Peer], cores: Sequence[int], say: Say, mail_bytes: int = _MAIL_BYTES
) -> dict[str, dict[str, float]]:
    """MB a second of CPU for each kind of content, by column; the event loop makes no difference and has no column.

    Args:
        ours: Our columns.
        cores: Where to run.
        say: Tells a person.
        mail_bytes: How long each mail is.

    Raises:
        BenchError: An interpreter could not run it.
    """
    found = {}
    for peer in ours:
        if peer.loop != "auto":
            continue
        say(f"data: {peer.name}")
        answer = subprocess.run(
            pinned([peer.program, "-m", "bench.data", str(mail_bytes)], cores),
            env={**os.environ, "PYTHONPATH": os.environ.get("BENCH_SOURCE", str(_SOURCE))},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if answer.returncode:
            raise BenchError(f"data: {peer.name}: {answer.stderr.strip()}")
        found[peer.name] = json.loads(answer.stdout)
    return found


def mails(size: int) -> dict[str, bytes]:
    """Mails by what they are, each of about so many octets and with its end."""
    chance = random.Random(5321)  # noqa: S311 - the same mail each time, and no secret
    words = [b"lorem", b"ipsum", b"dolor", b"sit", b"amet.", b"at", b"vero"]
    text = _filled(size, lambda: b" ".join(chance.choices(words, k=chance.randrange(14))) + b"\r\n")
    kinds = {
        "text": text,
        "text, a line with a dot every 100 KB": b"\r\n..\r\n".join(part.strip() for part in _cut(text, 100_000)),
        "base64 in 76 columns": _filled(size, lambda: base64.b64encode(chance.randbytes(57)) + b"\r\n"),
        "text, every fourth line with a dot": _repeated(size, b"a line of text, not long\r\n" * 3 + b"..more\r\n"),
        "text with one bare LF in each chunk": b"\n".join(_cut(text, _CHUNK_BYTES - 1)),
        "text with LF alone": text.replace(b"\r\n", b"\n"),
        "nothing but LF": _repeated(size, b"\n"),
        "nothing but CR": _repeated(size, b"\r"),
        "nothing but LF.LF": _repeated(size, b"\n.\n"),
    }
    found = {kind: _HEADER + body + b"\r\n.\r\n" for kind, body in kinds.items()}
    found["nothing but header"] = _repeated(size, b"A: b\r\n") + b".\r\n"
    found["nothing but forged fields"] = _repeated(size, b"X-Tlsproxy: a\r\n") + b".\r\n"
    return found


def measure(mail: bytes) -> float:
    """MB a second of CPU for one mail, in chunks as they come from a socket.

    Raises:
        BenchError: The mail has not come to its end.
    """
    chunks = _cut(mail, _CHUNK_BYTES)
    times = []
    for _ in range(_REPEATS):
        reframer, fields = Reframer(BareNewline.NORMALIZE), HeaderFilter(b"mx.example")
        start = time.process_time()
        for chunk in chunks:
            fields.feed(reframer.feed(chunk))
        fields.finish()
        times.append(time.process_time() - start)
        if not reframer.is_over or reframer.rest:
            raise BenchError("a mail ended too early or not at all")
    return len(mail) / median(times) / _MEGA


def _filled(size: int, piece: Callable[[], bytes]) -> bytes:
    pieces: list[bytes] = []
    while size > 0:
        pieces.append(piece())
        size -= len(pieces[-1])
    return b"".join(pieces)


def _repeated(size: int, piece: bytes) -> bytes:
    return piece * (size // len(piece))


def _cut(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


if __name__ == "__main__":
    json.dump({kind: round(measure(mail), 1) for kind, mail in mails(int(sys.argv[1])).items()}, sys.stdout)
