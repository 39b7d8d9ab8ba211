"""Earlier cases for a user: who may see what, which cases count as earlier, and pictures of them."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.adapters.similarity import FaissIndex
from airouter.domain.finding import Embedding, Field
from airouter.domain.job import Discontinuation, Job, Source
from airouter.domain.priority import Priority, Verdict
from airouter.errors import ArchiveUnavailable, NotInArchive, PixelDataError, RequestError
from airouter.ports import ResultRecord, SeenStudy
from airouter.services.gallery import Entry
from airouter.services.similar import NotSearchable, Similar, SimilarCases, best_pairs
from phantoms.dicom import slide_instances
from tests.samples import job

ALICE, BOB = {"authorization": "alice"}, {"authorization": "bob"}


class Ward:
    """ports.Sight over the archive in memory: everybody sees every study but those hidden from them."""

    def __init__(self, archive: MemoryArchive) -> None:
        self.archive = archive
        self.hidden: dict[str, set[str]] = {}
        self.asked: list[str] = []

    def study(self, study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        self.asked.append(study_id)
        if "authorization" not in headers or study_id in self.hidden.get(headers["authorization"], ()):
            return None
        instances = self.archive.study(study_id).instances
        return SeenStudy(frozenset(i.series_uid for i in instances), instances[0].first("PatientID") or None)


def towards(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    made: np.ndarray = vector / np.linalg.norm(vector)
    return made


class Bench:
    """Slides of 64 x 64 pixels, each in a study of its own, embedded as a test says."""

    def __init__(self, folder: Path) -> None:
        self.archive = MemoryArchive()
        self.ward = Ward(self.archive)
        self.journal = DatabaseJournal(f"sqlite:///{folder / 'j.sqlite'}")
        self.cases = self.another()

    def another(self) -> SimilarCases:
        """As another node on the same journal."""
        return SimilarCases(self.archive, self.journal, self.ward, FaissIndex)

    def add(
        self,
        name: str,
        *vectors: np.ndarray,
        taken: str = "20240101",
        study: str | None = None,
        patient: str | None = None,
        embed: bool = True,
        **changes: Any,
    ) -> Job:
        """A slide whose series is 1.2.<name>; the first vector is that of the slide, the others are of its regions."""
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[:, 32:] = 200
        stored = slide_instances(
            picture,
            0.5,
            levels=2,
            tile=32,
            transfer="raw",
            study_uid=study or f"1.2.{name}.9",
            series_uid=f"1.2.{name}",
            patient_id=name if patient is None else patient,
            seed=name,
        )
        ids = [self.archive.add(ds) for ds in stored]
        (study_id,) = {s.id for s in self.archive.studies(study or f"1.2.{name}.9")}
        there = {i.id: i for i in self.archive.study(study_id).instances}
        options: dict[str, Any] = {
            "key": f"job{name}",
            "study_id": study_id,
            "study_uid": stored[0].StudyInstanceUID,
            "series_uid": f"1.2.{name}",
            "pipeline": "similar-cases",
            "sources": tuple(Source(id, there[id].uid, there[id].digest) for id in ids),
            **changes,
        }
        made = job(**options)
        self.journal.add(made)
        if embed:
            level = stored[0].SOPInstanceUID
            count = len(vectors) - 1
            fields = tuple(Field(level, 0, 32 * n, 32, 32) for n in range(count))
            regions = (
                np.array(vectors[1:], np.float32).reshape(count, -1)
                if count
                else np.zeros((0, len(vectors[0])), np.float32)
            )
            self.complete(made, Embedding(vectors[0], regions, fields, tuple(1.0 / count for _ in fields), taken))
        return made

    def complete(self, made: Job, embedding: Embedding | None, reason: str | None = None) -> None:
        verdict = Verdict(Priority.ROUTINE, "done")
        self.journal.complete(ResultRecord(made.key, made.study_uid, (), (), verdict, (), embedding), reason)

    def find(self, name: str, headers: Mapping[str, str] = ALICE, **options: Any) -> Similar:
        found = self.cases.find(f"1.2.{name}", headers, **options)
        assert isinstance(found, Similar), found
        return found

    def names(self, name: str, headers: Mapping[str, str] = ALICE, **options: Any) -> list[str]:
        return [c.entry.series_uid.removeprefix("1.2.") for c in self.find(name, headers, **options).cases]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def line(bench: Bench) -> None:
    """Four slides, each further away from the last one than the next."""
    for n, angle in enumerate((0.9, 0.6, 0.3, 0.0), start=1):
        bench.add(f"{n}", towards(np.cos(angle), np.sin(angle)), taken=f"2024010{n}")


def test_the_nearest_come_first_and_no_more_than_asked_for(bench: Bench) -> None:
    line(bench)
    assert bench.names("4") == ["3", "2", "1"]
    assert bench.names("4", limit=2) == ["3", "2"]
    similarities = [case.similarity for case in bench.find("4").cases]
    assert similarities == pytest.approx(np.cos([0.3, 0.6, 0.9]))


def test_cases_are_earlier(bench: Bench) -> None:
    line(bench)
    assert bench.names("2") == ["1"]
    assert bench.names("1") == []


@pytest.mark.parametrize(
    ("mine", "theirs", "earlier"),
    [
        ("20240102", "20240101", True),
        ("20240102", "20240103", False),
        ("20240102", "20240102", True),  # the day is the same: what was analysed first is earlier
        ("20240102", "20240102235959", True),
        ("20240102080000", "20240102070000", True),
        ("20240102080000", "20240102090000", False),
        ("", "20240102", True),  # not said: when it was analysed counts, which is today
        ("20240102", "", False),
    ],
)
def test_what_earlier_means(bench: Bench, mine: str, theirs: str, earlier: bool) -> None:
    bench.add("1", towards(1, 0), taken=theirs)
    bench.add("2", towards(1, 0), taken=mine)
    assert (bench.names("2") == ["1"]) is earlier


def test_what_a_user_may_not_see_leaves_no_trace(bench: Bench) -> None:
    line(bench)
    hidden = bench.find("3").cases[0].entry
    bench.ward.hidden["bob"] = {hidden.study_id}
    assert bench.names("4", BOB) == ["3", "1"]
    assert bench.names("4", BOB, limit=2) == ["3", "1"]  # it takes no place either
    with_it = bench.find("4", BOB)
    bench.archive.delete_study(hidden.study_id)
    assert bench.another().find("1.2.4", BOB) == with_it  # as if there were no such case


def test_nobody_sees_anything_without_credentials(bench: Bench) -> None:
    line(bench)
    assert bench.cases.find("1.2.4", {}) is None
    assert bench.cases.thumbnail("job4", 0, {}, 64) is None


def test_a_slide_that_the_user_may_not_see_is_as_one_that_is_not_there(bench: Bench) -> None:
    line(bench)
    study = bench.add("5", embed=False).study_id
    bench.journal.cancel("job5", Discontinuation.FAILURE, "boom")
    bench.ward.hidden["bob"] = {bench.find("4").entry.study_id, study}
    for series in ("1.2.4", "1.2.5", "1.2.99"):
        assert bench.cases.find(series, BOB) is None
    assert bench.cases.find("1.2.4", BOB, region=99) is None


def test_the_slides_own_study_is_no_earlier_case_and_a_study_comes_once(bench: Bench) -> None:
    bench.add("1", towards(1, 0), study="1.2.77", patient="p")
    bench.add("2", towards(1, 0.1), study="1.2.77", patient="p")
    bench.add("3", towards(1, 0.2), study="1.2.88", patient="p")
    bench.add("4", towards(1, 0), study="1.2.88", patient="p")
    assert bench.names("4") == ["1"]


def test_cases_of_the_same_patient_are_marked(bench: Bench) -> None:
    for name, patient in (("1", "p"), ("2", "q"), ("3", ""), ("4", "p"), ("5", "")):
        bench.add(name, towards(1, 0), patient=patient)
    marked = {c.entry.series_uid: c.same_patient for c in bench.find("4").cases}
    assert marked == {"1.2.1": True, "1.2.2": False, "1.2.3": False}
    assert not any(c.same_patient for c in bench.find("5").cases)  # without a Patient ID nobody is the same


@pytest.mark.parametrize(
    "other", [{"model_sha256": "cd" * 32}, {"model_contract": "other"}, {"pipeline_version": "2.0.0"}]
)
def test_vectors_of_another_model_are_not_compared(bench: Bench, other: dict[str, str]) -> None:
    bench.add("1", towards(1, 0), **other)
    bench.add("2", towards(1, 0, 0), model="wider", model_sha256="ef" * 32)
    bench.add("3", towards(1, 0))
    bench.add("4", towards(1, 0))
    assert bench.names("4") == ["3"]


def test_of_two_models_the_newest_or_the_one_that_is_named(bench: Bench) -> None:
    bench.add("1", towards(1, 0))
    bench.add("2", towards(1, 0))
    again = bench.add("2", key="other", model="wider", model_sha256="ef" * 32, embed=False)
    bench.complete(again, Embedding(towards(1, 0, 0), np.zeros((0, 3), np.float32), (), (), "20240101"))
    assert bench.find("2").entry.model == "wider"
    assert bench.names("2") == []
    assert bench.names("2", model="demo") == ["1"]


def test_a_new_embedding_takes_the_place_of_the_old_one(bench: Bench) -> None:
    line(bench)
    assert bench.names("4", limit=1) == ["3"]
    again = bench.add("1", key="again", embed=False)
    bench.complete(again, Embedding(towards(1, 0), np.zeros((0, 2), np.float32), (), (), "20240101"))
    assert bench.names("4") == ["1", "3", "2"]
    assert bench.cases.thumbnail("job1", 0, ALICE, 64) is None  # of the old one


def test_another_node_sees_what_comes_and_goes(bench: Bench) -> None:
    line(bench)
    node = bench.another()
    node.start()
    bench.add("5", towards(1, 0.01), taken="20240103")
    found = node.find("1.2.4", ALICE)
    assert isinstance(found, Similar)
    assert found.cases[0].entry.series_uid == "1.2.5"


def test_a_deleted_study_is_gone_at_once_and_forgotten(bench: Bench) -> None:
    line(bench)
    gone = bench.find("4").cases[0].entry
    bench.archive.delete_study(gone.study_id)
    for _ in range(2):
        assert bench.names("4") == ["2", "1"]
        assert [e.series_uid for e in bench.journal.embeddings()] == ["1.2.1", "1.2.2", "1.2.4"]
    assert bench.cases.find(gone.series_uid, ALICE) is None


def test_what_was_deleted_while_the_router_was_away_is_forgotten_at_its_start(bench: Bench) -> None:
    line(bench)
    gone = bench.find("4").cases[-1].entry
    bench.archive.delete_study(gone.study_id)
    bench.another().start()
    assert gone.study_id not in {e.study_id for e in bench.journal.embeddings()}


def test_a_study_that_the_archive_only_hides_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    line(bench)

    def hide(study_id: str, headers: Mapping[str, str]) -> SeenStudy | None:
        if headers == BOB:
            raise NotInArchive("HTTP 404")
        return Ward(bench.archive).study(study_id, headers)

    monkeypatch.setattr(bench.ward, "study", hide)
    assert bench.cases.find("1.2.4", BOB) is None
    assert len(bench.journal.embeddings()) == 4
    assert bench.names("4") == ["3", "2", "1"]


def test_an_archive_that_does_not_answer_is_no_answer(bench: Bench) -> None:
    line(bench)
    bench.archive.available = False
    with pytest.raises(ArchiveUnavailable):
        bench.cases.find("1.2.4", ALICE)


def test_a_series_that_is_gone_from_its_study_is_left_out(bench: Bench) -> None:
    line(bench)
    bench.add("6", study="1.2.3.9", patient="3", embed=False)  # so that the study stays
    for instance in bench.archive.study(bench.find("3").entry.study_id).instances:
        if instance.series_uid == "1.2.3":
            bench.archive.remove(instance.id)
    assert bench.names("4") == ["2", "1"]


# -- why there is no answer -------------------------------------------------------------------------------------------


def reason(bench: Bench, name: str) -> str:
    found = bench.cases.find(f"1.2.{name}", ALICE)
    assert isinstance(found, NotSearchable), found
    return found.reason


def test_why_a_slide_cannot_be_searched_with(bench: Bench) -> None:
    made = bench.add("1", embed=False)
    assert reason(bench, "1") == "not analysed yet: the job is SCHEDULED"
    bench.complete(made, None, "not analysed because the stain is H-DAB and the model is made for H&E")
    assert reason(bench, "1") == "not analysed because the stain is H-DAB and the model is made for H&E"
    bench.add("2", embed=False)
    bench.journal.cancel("job2", Discontinuation.FAILURE, "the tile is broken")
    assert reason(bench, "2") == "not analysed because the job was canceled: the tile is broken"
    bench.add("3", embed=False, pipeline="nuclear-positivity")
    assert bench.cases.find("1.2.3", ALICE) is None


# -- regions ----------------------------------------------------------------------------------------------------------


def test_regions_that_look_alike_are_paired(bench: Bench) -> None:
    bench.add("1", towards(1, 1), towards(1, 0), towards(0, 1))
    bench.add("2", towards(1, 1), towards(0.1, 1), towards(1, 0.3))
    (case,) = bench.find("2", pairs=3).cases
    assert [(p.own, p.other) for p in case.pairs] == [(1, 2), (2, 1)]
    assert case.pairs[0].similarity == pytest.approx(1 / np.hypot(1, 0.1))
    (case,) = bench.find("2", pairs=0).cases
    assert case.pairs == ()


def test_one_region_can_be_searched_with(bench: Bench) -> None:
    bench.add("1", towards(1, 0), towards(0.2, 1), towards(1, 0))
    bench.add("2", towards(0, 1), towards(1, 0.1), towards(1, -0.2))
    bench.add("3", towards(1, 0), towards(1, 0), towards(0, 1))
    found = bench.find("3", region=2)
    assert [(c.entry.series_uid, c.region) for c in found.cases] == [("1.2.1", 1), ("1.2.2", 1)]
    assert [c.region for c in bench.find("3").cases] == [None, None]
    with pytest.raises(RequestError, match="2 regions"):
        bench.find("3", region=3)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-1, 1, width=32)),
    st.integers(0, 10),
)
def test_no_region_is_paired_twice_and_the_best_pair_is_first(similarity: np.ndarray, count: int) -> None:
    pairs = list(best_pairs(similarity, count))
    assert len(pairs) == min(count, *similarity.shape)
    assert len({p.own for p in pairs}) == len({p.other for p in pairs}) == len(pairs)
    assert [p.similarity for p in pairs] == sorted((p.similarity for p in pairs), reverse=True)
    assert all(similarity[p.own - 1, p.other - 1] == np.float32(p.similarity) for p in pairs)
    if pairs:
        assert np.float32(pairs[0].similarity) == similarity.max()


# -- pictures ---------------------------------------------------------------------------------------------------------


def picture(bench: Bench, region: int, side: int = 64, headers: Mapping[str, str] = ALICE) -> np.ndarray:
    data = bench.cases.thumbnail("job1", region, headers, side)
    assert data is not None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_thumbnails_show_the_slide_and_its_regions(bench: Bench) -> None:
    bench.add("1", towards(1, 1), towards(1, 0), towards(0, 1))
    whole = picture(bench, 0)  # the coarsest level
    assert whole.shape == (32, 32, 3)
    assert whole[:, :14].mean() < 20
    assert whole[:, 18:].mean() == pytest.approx(200, abs=5)
    assert picture(bench, 1).mean() < 5
    assert picture(bench, 2).mean() == pytest.approx(200, abs=3)
    assert picture(bench, 2, side=20).shape == (20, 20, 3)


def test_a_thumbnail_is_for_those_who_may_see_the_study(bench: Bench) -> None:
    made = bench.add("1", towards(1, 1), towards(1, 0))
    bench.ward.hidden["bob"] = {made.study_id}
    assert bench.cases.thumbnail("job1", 1, BOB, 64) is None
    assert bench.cases.thumbnail("job1", 2, ALICE, 64) is None
    assert bench.cases.thumbnail("job9", 0, ALICE, 64) is None
    assert bench.cases.thumbnail("job1", 1, ALICE, 64) is not None


def test_no_thumbnail_of_a_slide_that_was_replaced(bench: Bench) -> None:
    made = bench.add("1", towards(1, 1), towards(1, 0))
    header = bench.archive.header(made.sources[0].id)
    header.PixelData = bytes(64 * 64 * 3)
    header["PixelData"].VR = "OB"
    header.StudyDescription = "other bytes"
    bench.archive.add(header)
    assert bench.cases.thumbnail("job1", 1, ALICE, 64) is None


def test_a_place_that_the_slide_has_not_is_an_error(bench: Bench) -> None:
    made = bench.add("1", towards(1, 1), towards(1, 0), embed=False)
    bench.complete(
        made, Embedding(towards(1, 1), towards(1, 0)[None], (Field("1.2.3.4.5", 0, 0, 8, 8),), (1.0,), "20240101")
    )
    with pytest.raises(PixelDataError, match="no such place"):
        bench.cases.thumbnail("job1", 1, ALICE, 64)


def test_entries_say_when(bench: Bench) -> None:
    line(bench)
    entry = bench.find("1").entry
    assert (entry.when, entry.taken) == ("20240101", "20240101")
    (row, *_) = bench.journal.embeddings()
    unsaid = Entry.of(dataclasses.replace(row, embedding=dataclasses.replace(row.embedding, taken="")))
    assert unsaid.taken == ""
    assert unsaid.when == "".join(c for c in row.kept if c.isdigit())[:14]
