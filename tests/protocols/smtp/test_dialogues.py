"""Plays every SMTP transcript: whole, byte by byte, and with bytes behind its end."""

from collections.abc import Callable

import pytest
from protocols.smtp.dialogues import Dialogue, Player, load_all, parse
from protocols.transcripts import TranscriptError

from tlsproxy.core.outcome import Reason

TRAILING = b"\x00\xff\r\nRSET\r\n"
DIALOGUES = load_all()


def each(applies: Callable[[Dialogue], bool]) -> pytest.MarkDecorator:
    chosen = [pytest.param(dialogue, id=dialogue.name) for dialogue in DIALOGUES if applies(dialogue)]
    return pytest.mark.parametrize("dialogue", chosen)


@each(lambda _: True)
def test_whole(dialogue: Dialogue) -> None:
    player = Player(dialogue)
    first, *turns = dialogue.turns
    assert player.conversation.greeting() == first.said
    for turn in turns:
        assert player.play([turn.heard], turn.answers) == (turn.steps, turn.said)


@each(lambda dialogue: dialogue.may_be_split)
def test_byte_by_byte(dialogue: Dialogue) -> None:
    player = Player(dialogue)
    for turn in dialogue.turns[1:]:
        assert player.play([bytes([byte]) for byte in turn.heard], turn.answers) == (turn.steps, turn.said)


@each(lambda dialogue: dialogue.outcome != "open")
def test_bytes_behind_the_end(dialogue: Dialogue) -> None:
    player = Player(dialogue)
    *turns, last = dialogue.turns[1:]
    for turn in turns:
        player.play([turn.heard], turn.answers)
    player._answers.extend(last.answers)
    player.conversation.feed(last.heard + TRAILING)
    steps = list(player._steps())
    match dialogue.outcome:
        case "starttls":
            assert steps == ["injection", f"hangup {Reason.STARTTLS_INJECTION}"]
        case Reason.LOGGED_OUT | Reason.LOGIN_FAILURES | Reason.PASSWORDS_EXPOSED | Reason.BAD_COMMANDS:
            assert steps[-1] == f"hangup {Reason.NOT_SYNCHRONIZED}"
        case _:
            assert steps == last.steps


@each(lambda dialogue: dialogue.outcome not in {"open", "starttls"})
def test_nothing_comes_after_the_end(dialogue: Dialogue) -> None:
    player = Player(dialogue)
    for turn in dialogue.turns[1:]:
        player.play([turn.heard], turn.answers)
    assert player.play([TRAILING, TRAILING], []) == ([], b"")


HEADER = "# title: t\n# rfc: RFC 5321\n# room: mx\n# outcome: open\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# title: t\n", "x.txt: header is missing: outcome, rfc, room"),
        (HEADER + "hello\n", "x.txt:5: not a line of a dialogue: 'hello'"),
        (HEADER + "C: STARTTLS\n!: starttls\n", "x.txt: outcome is open in the header and starttls in the dialogue"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(TranscriptError) as caught:
        parse("x.txt", text)
    assert str(caught.value) == message
