"""Settings: the same key everywhere, a flag before the environment before the file, all mistakes at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest

from modelry_server.config import Config
from modelry_server.kernel.config import (
    Address,
    ConfigurationInvalid,
    Duration,
    Secret,
    Size,
    load,
    place,
    reference,
    sections,
    setting,
)


@dataclass(frozen=True, slots=True)
class Pump:
    """A pump."""

    level: int = setting(3, "How high.", least=1, most=9)
    pause: Duration = setting(Duration(0.5), "How long it rests.", least=0)
    tank: Size = setting(Size(1 << 20), "How much it holds.", least=1)
    colour: str = setting("red", "What it looks like.", choices=("red", "blue"))
    loud: bool = setting(False, "Whether one hears it.")
    place: str = setting("", "Where it stands.")
    code: Secret = setting(Secret(""), "What opens it.")
    gauge: Address = setting("", "Where its gauge answers.", least=0)
    valve: Address = setting("127.0.0.1:9", "Where its valve answers.", least=1)

    def mistakes(self) -> list[str]:
        """What can't be together."""
        return ["pump.loud = True: pump.level is above 5"] if self.loud and self.level > 5 else []


@dataclass(frozen=True, slots=True)
class Works:
    """The works."""

    pump: Pump = field(default_factory=Pump)


def read(
    tmp_path: Path, *, file: str = "", environment: Mapping[str, str] = MappingProxyType({}), **flags: str
) -> Pump:
    path = tmp_path / "modelry.toml"
    path.write_text(file)
    named = {f"pump.{key.replace('_', '-')}": value for key, value in flags.items()}
    return load(Works, file=path, environment=environment, flags=named).pump


def test_without_anything_said_the_defaults_hold(tmp_path: Path) -> None:
    assert read(tmp_path) == Pump()


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    file = "[pump]\nlevel = 4\npause = '2s'\nplace = 'cellar'\n"

    found = read(tmp_path, file=file, environment={"MODELRY_PUMP_LEVEL": "5", "MODELRY_PUMP_PAUSE": "3s"}, level="6")

    assert (found.level, found.pause, found.place) == (6, 3.0, "cellar")


@pytest.mark.parametrize(
    ("written", "read"),
    [("data", "{folder}/data"), ("../data", "{folder}/../data"), ("/data", "/data"), ("~/data", "~/data"), ("", "")],
)
def test_a_path_in_a_file_is_meant_from_its_folder(tmp_path: Path, written: str, read: str) -> None:
    file = tmp_path / "modelry.toml"
    file.write_text(f'[server]\ndata_folder = "{written}"\n')

    of_file = load(Config, file=file, environment={}, flags={})
    of_environment = load(Config, file=file, environment={"MODELRY_SERVER_DATA_FOLDER": written}, flags={})
    of_flag = load(Config, file=file, environment={}, flags={"server.data-folder": written})

    assert of_file.server.data_folder == read.format(folder=tmp_path)
    assert (of_environment.server.data_folder, of_flag.server.data_folder) == (written, written)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("sqlite:///a.db", "sqlite:///{folder}/a.db"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://ann@db/x", "postgresql://ann@db/x"),
    ],
)
def test_the_file_of_a_database_url_in_a_file_is_meant_from_its_folder(tmp_path: Path, written: str, read: str) -> None:
    file = tmp_path / "modelry.toml"
    file.write_text(f'[access]\ndatabase_url = "{written}"\n')

    loaded = load(Config, file=file, environment={}, flags={})

    assert loaded.access.database_url.reveal() == read.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 0.005), ("2s", 2), ("1.5m", 90), ("24h", 86_400), ("7d", 604_800), (" 1 s ", 1)]
)
def test_durations_carry_their_unit(tmp_path: Path, text: str, seconds: float) -> None:
    assert read(tmp_path, pause=text).pause == seconds


@pytest.mark.parametrize("text", ["8761h", "366d", "100000000h", "9" * 400 + "h"])
def test_a_duration_has_at_most_a_year(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, pause="365d").pause == 365 * 86_400.0
    with pytest.raises(ConfigurationInvalid, match=r"must be from 0ms to 365d$"):
        read(tmp_path, pause=text)


def test_a_bound_is_told_with_its_unit(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"must be at least 1B$"):
        read(tmp_path, tank="0B")


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("512KiB", 524_288), ("64MiB", 67_108_864), ("1.5GiB", 1_610_612_736)]
)
def test_sizes_carry_their_unit(tmp_path: Path, text: str, size: int) -> None:
    assert read(tmp_path, tank=text).tank == size


@pytest.mark.parametrize(("text", "value"), [("true", True), ("FALSE", False)])
def test_truths_are_true_or_false(tmp_path: Path, text: str, value: bool) -> None:
    assert read(tmp_path, loud=text).loud is value


def test_a_variable_that_looks_like_a_setting_and_is_none_is_a_mistake_whose_value_is_not_shown(
    tmp_path: Path,
) -> None:
    others = {"PUMP_LEVEL": "x", "MODELRY_PUMPS": "x", "MODELRY_TIMEOUT": "1s", "MODELRY_PUMP_TANK": "1B"}

    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, environment={**others, "MODELRY_PUMP_LEVLE": "hidden", "MODELRY_PUMP_XYZ_NOTHING": "hidden"})

    typo, stranger = caught.value.mistakes
    assert typo == (
        "MODELRY_PUMP_LEVLE (an environment variable): there is no such setting; did you mean MODELRY_PUMP_LEVEL?"
    )
    assert stranger == (
        "MODELRY_PUMP_XYZ_NOTHING (an environment variable): there is no such setting; "
        "`modelry server --help` lists all"
    )
    assert read(tmp_path, environment=others).tank == 1


def test_what_kubernetes_tells_of_a_service_is_no_mistake(tmp_path: Path) -> None:
    told = {
        "MODELRY_PUMP_SERVICE_HOST": "10.0.0.1",
        "MODELRY_PUMP_SERVICE_PORT": "5100",
        "MODELRY_PUMP_SERVICE_PORT_GRPC": "5100",
        "MODELRY_PUMP_PORT": "tcp://10.0.0.1:5100",
        "MODELRY_PUMP_PORT_5100_TCP": "tcp://10.0.0.1:5100",
        "MODELRY_PUMP_PORT_5100_TCP_PROTO": "tcp",
        "MODELRY_PUMP_PORT_5100_TCP_PORT": "5100",
        "MODELRY_PUMP_PORT_5100_TCP_ADDR": "10.0.0.1",
    }

    assert read(tmp_path, environment=told) == Pump()
    with pytest.raises(ConfigurationInvalid, match="MODELRY_PUMP_PORT"):
        read(tmp_path, environment={"MODELRY_PUMP_PORT": "5100"})


def test_all_mistakes_are_told_at_once_each_with_key_value_origin_and_what_would_be_right(tmp_path: Path) -> None:
    file = "stray = 1\n[pump]\nlevel = 99\nlouder = true\n[pomp]\nlevel = 1\n"
    environment = {"MODELRY_PUMP_PAUSE": "5", "MODELRY_PUMP_TANK": "5MB"}

    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, file=file, environment=environment, colour="green", loud="maybe")

    told = "\n".join(caught.value.mistakes)
    assert len(caught.value.mistakes) == 8
    for said in (
        "stray = 1",
        "pump.level = 99",
        "must be from 1 to 9",
        "pump.louder = True",
        "did you mean pump.loud?",
        "pomp.level = 1",
        "MODELRY_PUMP_PAUSE",
        "must be a duration such as '5ms'",
        "MODELRY_PUMP_TANK",
        "must be a size such as",
        "pump.colour = 'green' (the flag --pump.colour)",
        "must be one of red, blue",
        "must be true or false",
    ):
        assert said in told


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("level", "1.0"),
        ("level", "x"),
        ("level", ""),
        ("level", "0"),
        ("level", "\uff13"),  # a digit 3 of full width
        ("pause", "-1s"),
        ("pause", "s"),
        ("pause", "\uff13s"),
        ("tank", "0B"),
    ],
)
def test_a_value_that_can_not_be_read_is_refused_with_its_text(key: str, text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=f"pump.{key} = {text!r}"):
        load(Works, environment={}, flags={f"pump.{key}": text})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("example.org:65535", ("example.org", 65535)),
        ("[::1]:5100", ("::1", 5100)),
        ("unix:/run/modelry.sock", None),
        ("unix:///run/modelry.sock", None),
    ],
)
def test_an_address_has_a_host_and_a_port_or_is_a_socket(
    tmp_path: Path, text: str, found: tuple[str, int] | None
) -> None:
    assert place(read(tmp_path, gauge=text).gauge) == found


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        ":5100",
        "foo",
        "localhost:abc",
        "::1:5100",
        "http://a:1",
        "unix:",
    ],
)
def test_an_address_that_is_none_is_refused_with_its_text(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"must be `host:port`") as caught:
        read(tmp_path, gauge=text)

    assert f"pump.gauge = {text!r} (the flag --pump.gauge)" in str(caught.value)


def test_an_address_that_others_dial_has_a_port_of_its_own() -> None:
    with pytest.raises(ConfigurationInvalid, match=r"pump\.valve = '127\.0\.0\.1:0'.*from 1 to 65535"):
        load(Works, environment={}, flags={"pump.valve": "127.0.0.1:0"})


def test_what_can_not_be_together_is_told_with_the_rest_but_not_of_what_could_not_be_read() -> None:
    def told(**flags: str) -> list[str]:
        named = {f"pump.{key}": value for key, value in flags.items()}
        with pytest.raises(ConfigurationInvalid) as caught:
            load(Works, environment={}, flags=named, rules=lambda works: [f"pump.place = {works.pump.place!r}: is bad"])
        return [mistake.split()[0] for mistake in caught.value.mistakes]

    assert told(loud="true", level="6", pause="x") == ["pump.pause", "pump.loud", "pump.place"]
    assert told(loud="true", level="99") == ["pump.level", "pump.place"]


def test_what_can_not_be_together_in_a_section_is_not_told_where_nobody_needs_the_section() -> None:
    flags = {"pump.loud": "true", "pump.level": "6"}

    assert load(Works, environment={}, flags=flags, judged=["other"]).pump.loud
    with pytest.raises(ConfigurationInvalid, match=r"pump\.level is above 5"):
        load(Works, environment={}, flags=flags, judged=["pump"])


@pytest.mark.parametrize("file", ["[pump]\ncode = 1234\n", "[pump]\ncodes = '1234'\n"])
def test_a_secret_is_not_told_in_what_is_wrong_with_it(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"pump\.codes? = \(secret\) \(.*modelry.toml:2\)") as caught:
        read(tmp_path, file=file)

    assert "1234" not in str(caught.value).replace(str(tmp_path), "")


def test_a_secret_shows_itself_only_when_asked(tmp_path: Path) -> None:
    found = read(tmp_path, code="swordfish")

    assert found.code.reveal() == "swordfish"
    shown = [repr(found), str(found.code), f"{found.code}", format(found.code), repr([found.code])]
    assert [text for text in shown if "swordfish" in text] == []
    assert (found.code, bool(found.code)) == (Secret("swordfish"), True)
    assert (found.code == "swordfish", bool(Secret(""))) == (False, False)


def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = "# level = 1\n[ pump ]\nplace = 'a'\n  level = 99\n[other]\nlevel = 1\n"

    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, file=file)

    origins = [mistake.split("modelry.toml")[1].split(")")[0] for mistake in caught.value.mistakes]
    assert origins == [":4", ":6"]


@pytest.mark.parametrize("file", ["pump.level = 99", "pump = {level = 99}", '[pump]\n"level" = 99'])
def test_a_mistake_on_a_line_that_is_written_in_another_way_is_told_with_the_file(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"pump\.level = 99 \([^)]*modelry\.toml\)"):
        read(tmp_path, file=file)


@pytest.mark.parametrize("content", ["[pump", "level = = 1", "\0"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"modelry\.toml: can't be read as TOML"):
        read(tmp_path, file=content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"there is no file .*nowhere\.toml"):
        load(Works, file=tmp_path / "nowhere.toml", environment={}, flags={})


def test_the_reference_names_every_setting_with_its_default() -> None:
    page = reference(Config)

    for section, kind in sections(Config):
        assert f"## [{section}]" in page
        for name in kind.__dataclass_fields__:  # type: ignore[attr-defined]
            assert f"| `{name}` |" in page


def test_the_reference_says_which_numbers_a_setting_takes_as_its_refusal_does() -> None:
    rows = {line.split("`")[1]: line for line in reference(Config).splitlines() if line.startswith("| `")}

    assert rows["workers"].endswith(" From `2` to `256`. |")
    assert rows["call_limit"].endswith(" From `1s` to `365d`. |")
    assert rows["group_points"].endswith(" At least `1`. |")
    assert rows["data_folder"].endswith("`~/.local/share/modelry`. |")
    with pytest.raises(ConfigurationInvalid, match=r"server\.workers = '1' .*: must be from 2 to 256$"):
        load(Config, environment={}, flags={"server.workers": "1"})
