"""A slide stays open while jobs wait for it; another version of it is another slide."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from airouter.adapters.database import DatabaseJournal
from airouter.adapters.memory import MemoryArchive
from airouter.domain.finding import Ungradable
from airouter.domain.job import Discontinuation, Job, Source
from airouter.domain.study import ANNOTATIONS
from airouter.imaging.memo import Memo
from airouter.imaging.slide import Slide
from airouter.services.opening import Opener
from phantoms.dicom import slide_instances
from tests.samples import job
from tests.unit.test_imaging_annotations import LINES, drawn

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
