"""A prior that arrives late makes the later studies be looked at again: once, and also after a crash."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.domain.decision import Outcome
from airouter.domain.study import Instance
from airouter.pipelines import Extent
from tests.headers import SR, instance
from tests.unit.test_intake import ArchiveLog, House, Queue
from tests.unit.test_routing_extents import pipeline, route_to

PIPELINES = {"trend": pipeline("trend", Extent.HISTORY), "whole": pipeline("whole", Extent.STUDY)}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr("airouter.services.routing.PIPELINES", PIPELINES)
    journal = DatabaseJournal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    yield House(ArchiveLog(), journal, Queue(), routes=(route_to("trend"),))
    journal.close()


def image(study: str, year: int, side: str = "R", uid: str = "1") -> Instance:
    values = {"PatientID": "P", "ImageLaterality": side, "StudyDate": f"{year}0105"}
    return replace(instance(f"{study}.{uid}", series=f"{study}.2", **values), study_uid=f"1.{study}")


def told(house: House) -> dict[str, list[list[str]]]:
    """Of each study the sources of its jobs, oldest job first."""
    found: dict[str, list[list[str]]] = {}
    for record in reversed(house.journal.jobs()):
        found.setdefault(record.job.study_id, []).append([s.uid for s in record.job.sources])
    return found


def test_a_late_prior_makes_another_job_of_the_later_study_and_of_no_other(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("30", image("30", 2026))
    house.archive.arrive("31", image("31", 2026, "L"))
    intake.step()
    house.archive.arrive("20", image("20", 2025))
    intake.step()
    house.now += 1
    intake.step()
    assert told(house) == {"30": [["30.1"], ["30.1", "20.1"]], "31": [["31.1"]], "20": [["20.1"]]}
    assert house.journal.cursor() == 3
    assert house.journal.settled("30") == "1"


def test_it_is_looked_at_again_once(house: House) -> None:
    intake = house.intake()
    house.archive.arrive("30", image("30", 2026))
    house.archive.arrive("20", image("20", 2025))
    for _ in range(5):
        intake.step()
        house.now += 10
    looks = house.archive.looks
    for _ in range(20):
        intake.step()
        house.now += 10
    assert house.archive.looks == looks
    assert len(house.queue.keys) == house.queue.calls == 2


def test_all_later_studies_are_looked_at_again(house: House) -> None:
    intake = house.intake()
    for year in (26, 25):
        house.archive.arrive(str(year), image(str(year), 2000 + year))
        intake.step()
        house.now += 10
    house.archive.arrive("24", image("24", 2024))
    for _ in range(3):
        intake.step()
        house.now += 10
    assert told(house)["26"][-1] == ["26.1", "24.1", "25.1"]
    assert told(house)["25"][-1] == ["25.1", "24.1"]


def test_a_crash_in_between_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.archive.arrive("30", image("30", 2026))
    house.intake().step()
    house.archive.arrive("20", image("20", 2025))
    settle = house.journal.settle

    def die(study_id: str, stamp: str) -> None:
        settle(study_id, stamp)
        if study_id == "20":
            raise SystemExit

    monkeypatch.setattr(house.journal, "settle", die)
    with pytest.raises(SystemExit):
        house.intake().step()
    monkeypatch.setattr(house.journal, "settle", settle)
    assert house.journal.settled("30") == "", "what is to be looked at again is not settled"
    assert told(house)["30"] == [["30.1"]]
    after = house.intake()
    for _ in range(3):
        after.step()
        house.now += 10
    assert told(house)["30"] == [["30.1"], ["30.1", "20.1"]]
    assert house.journal.settled("30") == "1"


def test_a_result_that_we_store_unsettles_no_later_study(house: House) -> None:
    intake = house.intake()
    for study, year in (("30", 2026), ("20", 2025)):
        house.archive.arrive(study, image(study, year))
    for _ in range(3):
        intake.step()
        house.now += 10
    settled: list[str] = []
    original = house.journal.settle
    house.journal.settle = lambda study, stamp: (settled.append(study), original(study, stamp))[1]  # type: ignore[method-assign]
    house.archive.arrive("20", instance("20.8", SR))
    for _ in range(3):
        intake.step()
        house.now += 10
    assert settled == ["20"]


def test_a_study_that_arrives_itself_is_not_cut_short_by_its_prior(house: House) -> None:
    """The later study waits for its quiet time; the prior comes meanwhile, and its job has it in the end."""
    house.routes = (route_to("whole"), route_to("trend"))
    intake = house.intake()
    house.archive.arrive("30", image("30", 2026))
    intake.step()
    house.archive.arrive("20", image("20", 2025))
    intake.step()
    assert {d.outcome for _, d in house.journal.decisions("1.30") if d.route == "whole"} == {Outcome.WAITING}
    for _ in range(4):
        house.now += 6
        intake.step()
    assert ["30.1", "20.1"] in told(house)["30"]
    assert {d.outcome for _, d in house.journal.decisions("1.30")} == {Outcome.SELECTED}
    assert house.journal.settled("30") == "1"


def test_who_waits_for_a_study_to_rest_is_told(house: House) -> None:
    house.routes = (route_to("whole"),)
    intake = house.intake()
    house.archive.arrive("30", image("30", 2026))
    intake.step()
    assert house.rested == []
    house.now += 6
    intake.step()
    assert house.rested == ["30"]
    intake.step()
    assert house.rested == ["30"]
