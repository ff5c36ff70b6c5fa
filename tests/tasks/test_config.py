"""Settings are checked when they are made, and what is wrong with them is said in one sentence."""

import pytest
from pydantic import Field

from ostinato.errors import ConfigError
from ostinato.tasks.config import Config


class Recorder(Config):
    tracks: int = Field(default=4, ge=1)
    tempo: float = 120.0


def test_a_misspelt_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"^unknown setting 'track'; did you mean 'tracks'\?$"):
        Recorder(track=2)


def test_a_setting_like_no_other_is_refused_with_all_there_are():
    with pytest.raises(ConfigError, match="unknown setting 'colour'; known are tracks, tempo"):
        Recorder(colour="red")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tracks": 0}, "tracks = 0: input should be greater than or equal to 1"),
        ({"tracks": "many"}, "tracks = 'many': input should be a valid integer"),
        ({"tempo": None}, "tempo = None: input should be a valid number"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_was_expected(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        Recorder(**settings)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_settings_do_not_change():
    recorder = Recorder(tracks=2)
    with pytest.raises(ValueError, match="frozen"):
        recorder.tracks = 3
