"""A slide stays open while jobs wait for it; another version of it is another slide."""

import datetime
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.domain.finding import Ungradable
from airouter.domain.job import Discontinuation, Job, Source
from airouter.domain.priority import Priority, Verdict
from airouter.domain.study import ANNOTATIONS, Modality
from airouter.domain.summary import Sources
from airouter.errors import NotInArchive
from airouter.imaging.fundus import Fundus
from airouter.imaging.memo import Memo
from airouter.imaging.slide import Slide
from airouter.imaging.visit import History, Visit
from airouter.pipelines import Extent
from airouter.ports import ResultRecord
from airouter.services.opening import Opener
from phantoms.dicom import fundus_instance, slide_instances
from tests.samples import job
from tests.unit.test_imaging_annotations import LINES, drawn
from tests.unit.test_routing_extents import pipeline

STUDY = "1.2.826.0.1.78"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[DatabaseJournal]:
    made = DatabaseJournal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    yield made
    made.close()


class Bench:
    def __init__(self, journal: DatabaseJournal) -> None:
        self.levels = slide_instances(np.full((300, 400, 3), 200, np.uint8), 0.5, levels=2, study_uid=STUDY, seed="o")
        self.archive, self.journal = MemoryArchive(*self.levels), journal
        (self.id,) = {s.id for s in self.archive.studies(STUDY)}
        self.opener = Opener(self.archive, journal)

    def add(self, key: str, *, drawings: bool = False) -> Job:
        read = [i for i in self.archive.study(self.id).instances if drawings or i.sop_class != ANNOTATIONS]
        made = job(
            key=key,
            study_id=self.id,
            study_uid=STUDY,
            series_uid=str(self.levels[0].SeriesInstanceUID),
            sources=tuple(Source(i.id, i.uid, i.digest) for i in read),
        )
        self.journal.add(made)
        return made

    def slide(self, one: Job) -> Slide:
        opened = self.opener.open(one, self.archive.study(self.id))
        assert isinstance(opened.images, Slide) and set(opened.headers) == {d.SOPInstanceUID for d in self.levels}
        return opened.images

    def end(self, one: Job) -> None:
        self.journal.cancel(one.key, Discontinuation.OPERATOR, "")
        self.opener.release(one)


def test_jobs_of_one_slide_share_it_until_the_last_has_ended(journal: DatabaseJournal) -> None:
    bench = Bench(journal)
    first, second = bench.add("1"), bench.add("2")
    opened = bench.slide(first)
    bench.end(first)
    assert bench.slide(second) is opened
    bench.end(second)
    assert bench.slide(bench.add("3")) is not opened


def test_a_slide_with_other_bytes_is_opened_anew(journal: DatabaseJournal) -> None:
    bench = Bench(journal)
    first = bench.add("1")
    opened = bench.slide(first)
    bench.levels[0].SeriesDescription = "other"
    bench.archive.add(bench.levels[0])
    assert bench.slide(bench.add("2")) is not opened


def test_drawings_lie_on_the_same_slide_and_on_no_other_jobs(journal: DatabaseJournal) -> None:
    bench = Bench(journal)
    ds = drawn(bench.levels[0], LINES)
    bench.archive.add(ds)
    plain, with_drawings = bench.slide(bench.add("1")), bench.slide(bench.add("2", drawings=True))
    assert plain.annotations == () and len(with_drawings.annotations) == 1
    assert with_drawings.memo is plain.memo and with_drawings.levels is plain.levels


def test_what_cannot_be_opened_is_not_kept(journal: DatabaseJournal) -> None:
    bench = Bench(journal)
    one = bench.add("1")
    for level in bench.levels:
        level.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    archive = MemoryArchive(*bench.levels)
    opener = Opener(archive, journal)
    assert isinstance(opener.open(one, archive.study(bench.id)).images, Ungradable)


def test_a_memo_makes_each_value_once_also_for_threads_that_ask_together() -> None:
    memo, made = Memo(), []
    together = threading.Barrier(4)

    def make() -> object:
        made.append(object())
        return made[-1]

    found: list[object] = []

    def ask() -> None:
        together.wait()
        found.append(memo.get("a", make))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and found == made * 4


def test_what_failed_is_made_anew() -> None:
    memo = Memo()
    with pytest.raises(ValueError, match="first"):
        memo.get("a", lambda: (_ for _ in ()).throw(ValueError("first")))
    assert memo.get("a", lambda: 1) == 1


# -- more than one image ----------------------------------------------------------------------------------------------

TODAY = datetime.datetime(2026, 1, 5, 9, 30, 0, tzinfo=datetime.UTC)


class Album:
    """Two photographs of today and one of last year, in a study of its own."""

    def __init__(self, journal: DatabaseJournal) -> None:
        self.archive, self.journal = MemoryArchive(), journal
        self.opener = Opener(self.archive, journal)
        self.now = [self.add(STUDY, TODAY), self.add(STUDY, TODAY + datetime.timedelta(minutes=1))]
        self.old = [self.add("1.2.826.0.1.79", TODAY - datetime.timedelta(days=365), prior=True)]

    def add(self, study: str, taken: datetime.datetime, *, prior: bool = False) -> Source:
        ds = fundus_instance(np.full((8, 8, 3), 90, np.uint8), taken=taken, study_uid=study, patient_id="P")
        id = self.archive.add(ds)
        (study_id,) = {s.id for s in self.archive.studies(study)}
        (kept,) = [i for i in self.archive.study(study_id).instances if i.id == id]
        return Source(id, kept.uid, kept.digest, study_id if prior else "")

    def open(self, name: str, *sources: Source, **changes: object) -> object:
        (study_id,) = {s.id for s in self.archive.studies(STUDY)}
        one = job(study_id=study_id, study_uid=STUDY, modality=Modality.OP, sources=sources, pipeline=name, **changes)
        opened = self.opener.open(one, self.archive.study(study_id))
        assert set(opened.headers) == {s.uid for s in sources}, "what a result may refer to"
        return opened.images


@pytest.fixture
def album(journal: DatabaseJournal, monkeypatch: pytest.MonkeyPatch) -> Album:
    known = {extent.value: pipeline(extent.value, extent) for extent in Extent}
    monkeypatch.setattr("airouter.services.opening.PIPELINES", known)
    return Album(journal)


def test_one_image_is_opened_by_itself(album: Album) -> None:
    found = album.open("image", album.now[0])
    assert isinstance(found, Fundus) and found.instance_uid == album.now[0].uid


def test_all_images_of_a_study_are_opened_as_a_visit(album: Album) -> None:
    found = album.open("study", *reversed(album.now))
    assert isinstance(found, Visit)
    assert [i.instance_uid for i in found.images] == [s.uid for s in album.now]


@pytest.mark.parametrize("extent", ["prior", "history"])
def test_an_image_is_opened_with_its_priors_out_of_their_own_study(album: Album, extent: str) -> None:
    found = album.open(extent, album.now[0], *album.old)
    assert isinstance(found, History)
    assert found.current.instance_uid == album.now[0].uid
    assert [(p.image.instance_uid, p.study_uid) for p in found.priors] == [(album.old[0].uid, "1.2.826.0.1.79")]
    alone = album.open(extent, album.now[0])
    assert isinstance(alone, History) and alone.priors == ()


def test_a_prior_that_is_gone_is_told(album: Album) -> None:
    album.archive.add(
        fundus_instance(np.full((8, 8, 3), 90, np.uint8), study_uid="1.2.826.0.1.79", patient_id="P")
    )  # the study stays
    album.archive.remove(album.old[0].id)
    with pytest.raises(NotInArchive, match="earlier image"):
        album.open("history", album.now[0], *album.old)
    album.archive.delete_study(album.old[0].prior_study_id)
    with pytest.raises(NotInArchive):
        album.open("history", album.now[0], *album.old)


def test_a_summary_opens_the_results_and_no_pixels(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    other = job(key="a" * 64, study_uid=STUDY, modality=Modality.OP, sources=tuple(album.now))
    album.journal.add(other)
    album.journal.complete(ResultRecord(other.key, STUDY, ({"key": "k"},), (), Verdict(Priority.HIGH, "why"), ()))
    monkeypatch.setattr(album.archive, "frames", None)
    found = album.open("results", *album.now, results=(other.key,))
    assert isinstance(found, Sources)
    (source,) = found.results
    assert (source.job, source.findings, source.verdict.reason) == (other, ({"key": "k"},), "why")
