"""How messages name what their reader gives."""

from ostinato.wording import either, naming_flags, option


def test_settings_are_named_as_their_reader_gives_them():
    def said():
        return (
            option("skip_bad_rows", True),
            option("label"),
            option("encoder", "byte"),
            either("python", "shell"),
        )

    assert said() == ("skip_bad_rows=True", "label=", "encoder='byte'", "python")
    with naming_flags():
        assert said() == ("--skip-bad-rows", "--label", "--encoder byte", "shell")
    assert said()[0] == "skip_bad_rows=True"
