"""A setting is right, or refused with the nearest name; a child process sees what its parent saw; secrets are never printed."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell import settings
from groundswell.errors import BadSetting
from groundswell.settings import Settings

SECRET = "correct-horse-battery"


def test_nothing_set_gives_the_defaults():
    assert settings.load({}) == Settings()


def test_the_environment_beats_the_file(tmp_path):
    file = tmp_path / "groundswell.toml"
    file.write_text('kafka = "file:1"\nport = 9\ncatalogues = ["a.json", "b.json"]\n', encoding="utf-8")
    found = settings.load({"GROUNDSWELL_KAFKA": "environment:2", "PATH": "/bin"}, file)
    assert (found.kafka, found.port, found.catalogues) == ("environment:2", 9, ["a.json", "b.json"])


def test_text_becomes_each_field_s_type():
    found = settings.load(
        {
            "GROUNDSWELL_PORT": "9000",
            "GROUNDSWELL_DRAIN_S": "2.5",
            "GROUNDSWELL_SINGLE_PARTITION": "true",
            "GROUNDSWELL_DELIVER_ALLOW": "127.0.0.1:9000, 10.2.0.0/16:443,",
        }
    )
    assert (found.port, found.drain_s, found.single_partition) == (9000, 2.5, True)
    assert found.deliver_allow == ["127.0.0.1:9000", "10.2.0.0/16:443"]


def test_a_name_that_is_nearly_right_is_named():
    with pytest.raises(BadSetting, match="Did you mean kafka_user"):
        settings.load({"GROUNDSWELL_KAFKA_USR": "ann"})


def test_a_name_that_is_nowhere_near_gets_no_guess():
    with pytest.raises(BadSetting) as caught:
        settings.load({"GROUNDSWELL_XYZZY": "1"})
    assert "Did you mean" not in caught.value.line
    assert "groundswell settings" in caught.value.line


@pytest.mark.parametrize("name", ["GROUNDSWELL_CONFIG", "GROUNDSWELL_RUN", "GROUNDSWELL_TEST_KAFKA"])
def test_variables_that_are_no_settings_are_left_alone(name):
    assert settings.load({name: "anything"}) == Settings()


OUT_OF_BOUNDS = {
    "port": ["-1", "65536", "http", "", "1.5"],
    "drain_s": ["0", "-3", "nan", "inf", "86401"],
    "step_s": ["59", "3601"],
    "sensitivity": ["loud", "Balanced"],
    "log": ["xml"],
    "clock": ["sundial"],
    "kafka_security": ["ssl"],
    "prefix": ["", "Big", "a b", "*", "-x", "x" * 65, "a\n"],
    "single_partition": ["perhaps", "2"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OUT_OF_BOUNDS.items() for value in values]
)
def test_a_value_out_of_bounds_is_refused_in_one_line_that_names_it(name, value):
    with pytest.raises(BadSetting) as caught:
        settings.from_values({name: value})
    assert f"$.{name}" in caught.value.line
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"kafka = ", "is not TOML"),
        (b'kafka = "\xff"', "is not TOML"),
        (b'kafka = ["a"]', r"\$\.kafka"),
        (b'[kafka]\nhost = "a"', r"\$\.kafka"),
        (b'kafak = "a"', "Did you mean kafka"),
        (b"catalogues = [1]", r"\$\.catalogues"),
    ],
)
def test_a_broken_file_is_told_in_one_line(tmp_path, content, words):
    file = tmp_path / "groundswell.toml"
    file.write_bytes(content)
    with pytest.raises(BadSetting, match=words) as caught:
        settings.load({}, file)
    assert "\n" not in caught.value.line


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(BadSetting, match=re.escape(str(tmp_path / "none.toml"))):
        settings.load({}, tmp_path / "none.toml")
    with pytest.raises(BadSetting, match="cannot be read"):
        settings.load({}, tmp_path)


def test_no_secret_is_ever_shown():
    found = Settings(
        secret_key=SECRET, kafka_password=SECRET, redis=f"rediss://user:{SECRET}@host:6379/0", author_pepper=SECRET
    )
    shown = settings.masked(found)
    assert SECRET not in str(shown)
    assert shown["redis"] == "rediss://(set)@host:6379/0"
    assert shown["secret_key"] == shown["kafka_password"] == "(set)"


def test_a_secret_that_is_not_set_looks_unset():
    shown = settings.masked(Settings(redis="redis://host:6379/0"))
    assert (shown["secret_key"], shown["redis"]) == ("", "redis://host:6379/0")


@pytest.mark.parametrize("name", sorted(settings.SECRETS))
def test_a_wrong_secret_is_not_repeated(name):
    with pytest.raises(BadSetting) as caught:
        settings.from_values({name: [SECRET]})
    assert SECRET not in caught.value.line


def test_every_field_says_what_it_is_in_schema_and_default():
    schema = msgspec.json.schema(Settings)["$defs"]["Settings"]
    assert schema["properties"].keys() == set(Settings.__struct_fields__)
    assert schema.get("required", []) == []


words = st.text("abcxyz0189.:/_-", min_size=1, max_size=12)
changed = st.fixed_dictionaries(
    {},
    optional={
        "kafka": words,
        "port": st.integers(0, 65_535),
        "drain_s": st.floats(0.001, 86_400),
        "step_s": st.integers(60, 3_600),
        "single_partition": st.booleans(),
        "deliver_http": st.booleans(),
        "deliver_allow": st.lists(words, max_size=3),
        "catalogues": st.lists(words, max_size=3),
        "sensitivity": st.sampled_from(["fewer", "balanced", "more"]),
    },
)


@given(changed)
def test_a_child_process_sees_the_same_settings(values):
    found = settings.from_values(values)
    assert settings.load(settings.environment(found)) == found


def test_only_what_differs_is_handed_to_a_child():
    assert settings.environment(Settings(port=9)) == {"GROUNDSWELL_PORT": "9"}
