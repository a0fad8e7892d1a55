"""Whatever others raise, it is told in words, and nothing of theirs runs beyond that."""

import pytest

from tenantcollect.telling import place, told, words


class Mute(Exception):
    """Its message is a mistake of its own."""

    def __init__(self, instead: BaseException) -> None:
        self.instead = instead

    def __str__(self) -> str:
        raise self.instead


def raised(error: BaseException) -> BaseException:
    """``error``, with a place."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_an_error_is_told_with_its_class_message_and_place() -> None:
    """What a person needs to mend it, in one sentence."""
    error = raised(ValueError("no such thing"))
    assert told(error) == f"ValueError: no such thing at {place(error)}"
    assert str(place(error)).startswith(f"{__file__}:")
    assert told(ValueError()) == "ValueError"


@pytest.mark.parametrize("instead", [ValueError(), SystemExit(0), GeneratorExit()])
def test_a_message_that_cannot_be_written_is_told_as_such(instead: BaseException) -> None:
    """Neither an error nor the end of the process comes of asking for it."""
    assert told(Mute(instead)) == "Mute: (its message cannot be written)"


def test_a_message_that_is_interrupted_stays_interrupted() -> None:
    """The user's own wish is nobody's mistake."""
    with pytest.raises(KeyboardInterrupt):
        words(Mute(KeyboardInterrupt()))


def test_the_place_is_not_in_a_file_that_nobody_can_mend() -> None:
    """Frames of those who called are passed over; of a syntax error the line is told that is wrong."""
    error = raised(ValueError())
    assert place(error, [__file__]) is None
    with pytest.raises(SyntaxError) as wrong:
        compile("def run(:", "plugin.py", "exec")
    assert told(wrong.value) == "SyntaxError: invalid syntax at plugin.py:1"
