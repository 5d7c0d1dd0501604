"""Command lines: what they refuse and how they say it."""

import argparse
import io
import sys

import pytest
import torch

import bestpapers
from bestpapers.lab import cli
from bestpapers.lab.files import FormatError, Skips


def typed(kind, word):
    parser = argparse.ArgumentParser()
    parser.add_argument("value", type=kind)
    return parser.parse_args([word]).value


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (cli.positive_int, "7", 7),
        (cli.integer(0), "0", 0),
        (cli.integer(16), "16", 16),
        (cli.integer(16, step=8), "24", 24),
        (cli.positive_float, "1e-3", 1e-3),
        (cli.share, "0", 0),
        (cli.share, "1.0", 1),
        (cli.integer(16, 64), "64", 64),
        (cli.number(100), "100", 100.0),
        (cli.number(100, 0.1), "0.1", 0.1),
        (cli.number(least=0), "0", 0.0),
        (cli.number(100, -1), "-1", -1.0),
    ],
)
def test_numbers(kind, word, value):
    assert typed(kind, word) == value


@pytest.mark.parametrize(
    ("kind", "word"),
    [(cli.positive_int, w) for w in ("0", "1.5", "one", "", "²", "٣", "+1")]
    + [(cli.integer(16), "15"), (cli.integer(16, step=8), "20")]
    + [(cli.positive_float, w) for w in ("0", "nan", "inf", "x", "")]
    + [(cli.share, w) for w in ("-0.1", "1.1", "nan", "half", "")]
    + [(cli.integer(16, 64), w) for w in ("65", "1" + 30 * "0")]
    + [(cli.number(100), w) for w in ("0", "100.5", "1e308")]
    + [(cli.number(100, -1), w) for w in ("-1.5", "nan", "inf", "x")]
    + [(cli.number(least=0), w) for w in ("-1", "nan", "inf")],
)
def test_what_is_no_such_number_is_refused(kind, word, capsys):
    with pytest.raises(SystemExit) as stop:
        typed(kind, word)
    assert stop.value.code == 2
    assert f"not {word!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        (cli.positive_int, "a whole number, at least 1, not '-'"),
        (cli.integer(16, 64), "a whole number, at least 16 and at most 64, not '-'"),
        (cli.integer(0, step=8), "a whole number, at least 0, a multiple of 8, not '-'"),
        (cli.positive_float, "a number above 0, not '-'"),
        (cli.number(100), "a number above 0, at most 100, not '-'"),
        (cli.number(100, -1), "a number from -1 on, at most 100, not '-'"),
    ],
)
def test_a_refusal_says_the_limits(kind, limits):
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        kind("-")
    assert str(refusal.value) == limits


def made(run):
    parser, command = cli.program("python -m thing", "Does things.", "that is all")
    sub = command("do", "do a thing", run, "and no more")
    sub.add_argument("--times", type=cli.positive_int, default=1)
    command("other", "do nothing of the kind", lambda options: None)
    return parser


def test_a_command_gets_its_options_and_gives_the_status(capsys):
    seen = []
    assert cli.main(made(seen.append), ["do", "--times", "3"]) == 0
    assert (seen[0].times, seen[0].command, seen[0].words) == (3, "do", ["do", "--times", "3"])
    assert cli.main(made(lambda options: options.times), ["do"]) == 1
    assert capsys.readouterr() == ("", "")


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(made(print), ["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"bestpapers {bestpapers.__version__}\n"


def test_out_comes_utf8_whatever_the_console_writes(monkeypatch):
    """Windows writes to files and pipes in cp1252, and names of files may hold what is no letter at all."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="\n")
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(made(lambda options: cli.write("\u6a39 \u017d.jpg\n", None)), ["do"]) == 0
    assert cli.main(made(lambda options: cli.write("caf\udce9.jpg\n", None)), ["do"]) == 0
    assert cli.main(made(lambda options: print("\udce9")), ["do"]) == 0
    out.flush()
    assert out.buffer.getvalue().decode() == "\u6a39 \u017d.jpg\ncaf\\udce9.jpg\n\\udce9\n"


@pytest.mark.parametrize("error", [cli.Refused("there is none"), ValueError("there is none"), OSError("there is none")])
def test_what_cannot_be_done_is_said_in_a_line(error, capsys):
    def run(options):
        raise error

    assert cli.main(made(run), ["do"]) == 2
    assert capsys.readouterr() == ("", "python -m thing do: there is none\n")


def test_what_a_command_holds_is_let_go_before_its_failure_is_said(capsys):
    """A progress bar ends its line when it is closed."""

    class Bar:
        def __del__(self):
            cli.say("the bar", sys.stderr)

    def run(_):
        bar = Bar()
        raise ValueError(f"no {type(bar).__name__}")

    parser, command = cli.program("prog", "about")
    command("do", "words", run)
    assert cli.main(parser, ["do"]) == 2
    assert capsys.readouterr().err == "the bar\nprog do: no Bar\n"


def test_other_errors_are_the_programs_own_and_show_where():
    def run(options):
        return {}["key"]

    with pytest.raises(KeyError):
        cli.main(made(run), ["do"])


@pytest.mark.parametrize("words", [[], ["none"], ["do", "--times", "0"]])
def test_wrong_words_are_refused(words):
    with pytest.raises(SystemExit) as stop:
        cli.main(made(lambda options: None), words)
    assert stop.value.code == 2


def test_help_lists_the_commands(capsys):
    for words, shown in (
        (["--help"], ("Does things.", "do a thing", "do nothing of the kind", "that is all")),
        (["do", "--help"], ("python -m thing do", "Do a thing.", "--times", "and no more")),
    ):
        with pytest.raises(SystemExit):
            cli.main(made(lambda options: None), words)
        out = capsys.readouterr().out
        assert all(part in out for part in shown)


def test_what_is_slow_is_loaded_for_its_own_command_only(capsys):
    loaded = []

    def later():
        loaded.append("it")
        return (
            lambda parser: parser.add_argument("--steps", type=cli.positive_int, required=True),
            lambda options: options.steps,
        )

    parser, command = cli.program("python -m thing", "Does things.")
    command("late", "take a while", later=later)
    command("other", "do nothing", lambda options: None)
    assert cli.main(parser, ["other"]) == 0
    assert loaded == []
    assert cli.main(parser, ["late", "--steps", "3"]) == 3
    assert cli.main(parser, ["late", "--steps", "4"]) == 4
    assert loaded == ["it"]
    with pytest.raises(SystemExit):
        cli.main(parser, ["late", "--help"])
    assert "--steps" in capsys.readouterr().out


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert cli.device("auto") == "mps"
    assert cli.device("auto", ("cuda", "cpu")) == "cpu"
    assert cli.device("cpu") == "cpu"
    with pytest.raises(cli.Refused, match="--device cuda: torch finds no CUDA device here; use --device cpu"):
        cli.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cli.device("auto") == cli.device("cuda") == "cuda"
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert cli.device("cuda:1") == "cuda:1"
    assert chosen == [1]  # the one that kernels run on which ask for no number
    with pytest.raises(cli.Refused, match="--device cuda:2: torch finds 2 GPUs here, and counts from cuda:0"):
        cli.device("cuda:2")


def test_the_argument_of_the_device(capsys):
    parser = argparse.ArgumentParser()
    cli.add_device(parser, ("cuda", "cpu"))
    assert parser.parse_args([]).device == "auto"
    assert [parser.parse_args(["--device", word]).device for word in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]
    for word in ("mps", "cuda:", "cuda:x", "mps:0"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--device", word])
        assert "auto or cpu or cuda, or one GPU by its number" in capsys.readouterr().err


def test_what_was_left_out_is_told(capsys):
    assert cli.told(None) == cli.told(Skips()) == 0
    skips = Skips(keep=2)
    for number in range(3):
        skips.add(FormatError("a.csv", f"line {number}", "a number", "none"))
    assert cli.told(skips) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [*(f"left out: {message}" for message in skips.messages), "left out: 1 more"]
    assert len(skips.messages) == 2


def test_what_steers_a_terminal_is_escaped(capsys):
    cli.say("a\x1b[2Jb\x9b\nc \u202egnp.exe é 🦊")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\x9b\nc \\u202egnp.exe é 🦊\n"
    assert cli.main(made(lambda options: cli.write("a\udcff\n", None)), ["do"]) == 0
    assert capsys.readouterr().out == "a\\udcff\n"


def test_how_many():
    assert [cli.counted(n, "picture") for n in (0, 1, 2000)] == ["0 pictures", "1 picture", "2,000 pictures"]
    assert [cli.counted(n, "person", "people") for n in (1, 2)] == ["1 person", "2 people"]


def test_targets(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "in" / "a.csv")
    cli.check_target("--out", tmp_path / "new" / "x.CSV", (".csv",), [tmp_path / "in", None, tmp_path / "none"])
    cli.check_target("--out", tmp_path / "in" / "b.csv", reads=[tmp_path / "in"])  # where nothing is
    cli.check_target("--out", tmp_path / "in" / "a.csv", reads=[tmp_path / "b.csv"])
    cli.check_target("--out", tmp_path / "out", reads=[tmp_path / "in"], folder=True)
    for path, more, why in (
        ("a.txt", dict(endings=(".csv", ".json")), "must end with .csv or .json"),
        ("in", {}, "is a folder"),
        ("in/a.csv/b/c.csv", {}, "a.csv is a file"),
        ("in/a.csv", dict(reads=["in/a.csv"]), "is read"),
        ("link.csv", dict(reads=["in"]), "lies in"),
        ("in/a.csv", dict(folder=True), "something else"),
        ("in/b", dict(folder=True, reads=["in"]), "lies in it"),
        ("in", dict(folder=True, reads=["in/a.csv"]), "lies there too"),
        ("", dict(folder=True, reads=["in"]), "lies there too"),
    ):
        more |= {"reads": [tmp_path / p for p in more.get("reads", ())]}
        with pytest.raises(cli.Refused, match=f"--out .*{why}"):
            cli.check_target("--out", tmp_path / path, **more)
    closed = tmp_path / "in"  # what lies deeper would have to be made in it
    monkeypatch.setattr("os.access", lambda path, how: path != closed)
    with pytest.raises(cli.Refused, match="protected"):
        cli.check_target("--out", closed / "new" / "deep" / "a.csv")
    monkeypatch.setattr("os.access", lambda path, how: False)
    with pytest.raises(cli.Refused, match="protected"):
        cli.check_target("--out", tmp_path / "new" / "x.csv")


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    def fail():
        with cli.whole_folder(tmp_path / "a" / "b") as made:
            (made / "x").touch()
            raise cli.Refused("half done")

    with pytest.raises(cli.Refused, match="half done"):
        fail()
    assert list(tmp_path.iterdir()) == []
    for name in ("x", "y"):
        with cli.whole_folder(tmp_path / "a" / "b") as made:
            (made / name).mkdir()
            (made / name / "z").touch()
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["x", "y"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_written_to_a_file_or_the_screen(tmp_path, capsys):
    cli.write("a\nß\n", None)
    assert capsys.readouterr().out == "a\nß\n"
    cli.write("a\nß\n", tmp_path / "folder" / "a.txt")
    assert (tmp_path / "folder" / "a.txt").read_bytes() == "a\nß\n".encode()
    assert capsys.readouterr().out == ""


def test_no_file_of_a_folder_is_replaced_where_one_cannot_be(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("old")

    def write():
        with cli.whole_folder(tmp_path) as made:
            (made / "a").write_text("new")
            (made / "b").write_text("new")

    with pytest.raises(cli.Refused, match="b: this is a folder"):
        write()
    assert (tmp_path / "a").read_text() == "old"
