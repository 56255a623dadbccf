"""The frame of ``make soak``: it resumes, it does not hide what is broken, it survives a case that throws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from tests.provenance import modules_in
from tests.soak import __main__ as frame
from tests.soak.job import Job
from tests.soak.keep import broken, play, report


class Counting:
    """Cases that know how often they were played; those in *bad* are broken, those in *fatal* throw."""

    def __init__(self, *, bad: tuple[int, ...] = (), fatal: tuple[int, ...] = ()) -> None:
        self.played: list[int] = []
        self.bad = bad
        self.fatal = fatal
        self.job = Job("counting", "Counting", 5, self._one, lambda cases: [f"{len(cases)} told"])

    def _one(self, seed: int) -> Mapping[str, object]:
        self.played.append(seed)
        if seed in self.fatal:
            raise KeyboardInterrupt if seed == 3 else ZeroDivisionError("of nothing")
        return {"square": seed * seed, "broken": f"{seed} is bad" if seed in self.bad else None}


def test_a_run_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Counting(fatal=(3,))
    with pytest.raises(KeyboardInterrupt):
        play(first.job, tmp_path)
    notes = tmp_path / "counting.jsonl"
    notes.write_text(notes.read_text()[:-9])  # the last line was cut off too
    second = Counting()

    cases = play(second.job, tmp_path)

    assert second.played == [2, 3, 4]
    assert [case["square"] for case in cases] == [0, 1, 4, 9, 16]
    assert [case["seed"] for case in cases] == [0, 1, 2, 3, 4]


def test_what_is_there_is_not_played_again_unless_asked(tmp_path: Path) -> None:
    play(Counting().job, tmp_path)
    again, fresh = Counting(), Counting()

    play(again.job, tmp_path)
    play(fresh.job, tmp_path, fresh=True)

    assert again.played == []
    assert fresh.played == [0, 1, 2, 3, 4]


def test_a_broken_case_is_played_again_once_the_code_has_changed(tmp_path: Path) -> None:
    play(Counting(bad=(1,)).job, tmp_path)
    notes = tmp_path / "counting.jsonl"
    lines = [json.loads(line) | {"commit": "0000000"} for line in notes.read_text().splitlines()]
    notes.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mended = Counting()

    cases = play(mended.job, tmp_path)

    assert mended.played == [1]
    assert broken(cases) == []
    assert "played at 0000000, " in report(mended.job, cases), "the report names every commit that was played"


def test_a_case_that_throws_is_broken_and_the_others_are_played(tmp_path: Path) -> None:
    job = Counting(fatal=(2,), bad=(4,)).job

    cases = play(job, tmp_path)

    assert [case["seed"] for case in broken(cases)] == [2, 4]
    page = report(job, cases)
    assert "seed 2: ZeroDivisionError: of nothing" in page
    assert "seed 4: 4 is bad" in page
    assert "3 told" in page


@pytest.mark.parametrize(("bad", "code"), [((), 0), ((3,), 1)])
def test_it_exits_1_if_a_case_is_broken(
    bad: tuple[int, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type("Module", (), {"JOB": Counting(bad=bad).job})
    monkeypatch.setattr(frame, "modules_in", lambda _: ["counting"])
    monkeypatch.setattr(frame, "import_module", lambda _: module)
    monkeypatch.setattr(frame, "ROOT", tmp_path)
    monkeypatch.setattr(frame, "DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()

    assert frame.main(["counting"]) == code
    assert f"**{code} broken**" in (tmp_path / "docs" / "soak" / "counting.md").read_text()


def test_it_exits_1_if_the_cases_do_not_hold_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(Counting().job, holds=lambda cases: f"{len(cases)} are too few")
    monkeypatch.setattr(frame, "modules_in", lambda _: ["counting"])
    monkeypatch.setattr(frame, "import_module", lambda _: type("Module", (), {"JOB": job}))
    monkeypatch.setattr(frame, "ROOT", tmp_path)
    monkeypatch.setattr(frame, "DOCS", tmp_path)

    assert frame.main(["counting"]) == 1
    assert "all together: 5 are too few" in (tmp_path / "soak" / "counting.md").read_text()


def test_a_job_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["nonsense"]) == 2
    assert "no job nonsense" in capsys.readouterr().err


def test_every_job_has_the_name_of_its_module() -> None:
    for name in modules_in("soak/jobs"):
        assert import_module(f"tests.soak.jobs.{name}").JOB.name == name
