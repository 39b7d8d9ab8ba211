"""Which results a newer one stands in the place of."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airouter.domain.job import Job, Source
from airouter.domain.study import Modality
from airouter.domain.superseded import superseded


def job(key: str, images: str = "ab", priors: str = "", **changes: object) -> Job:
    sources = [Source(uid, uid, f"digest of {uid}") for uid in images]
    sources += [Source(uid, uid, f"digest of {uid}", "earlier study") for uid in priors]
    made = Job(
        key, "id", "1.2", "1.2.1", Modality.OPT, tuple(sources), "oct", "1.0.0", "layers", "1", "aa", route="macula"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


OLD = job("old")


@pytest.mark.parametrize(
    "new",
    [
        job("new", model_version="2", model_sha256="bb"),
        job("new", parameters={"high_cst_um": 400.0}),
        job("new", pipeline_version="1.1.0"),
        job("new", priors="p"),
        job("new", "abc"),
        job("new", results=("r1", "r2")),
        job("new", route=""),
    ],
    ids=["weights", "parameters", "version", "late prior", "late image", "summary made anew", "asked for"],
)
def test_made_again_it_replaces_the_older(new: Job) -> None:
    assert superseded([OLD, new]) == {"old"}


@pytest.mark.parametrize(
    "new",
    [
        job("new", pipeline="other"),
        job("new", model="other"),
        job("new", route="other"),
        job("new", "a"),
        job("new", "ac"),
        job("new", "c", priors="ab"),
        job("new", study_uid="1.3"),
    ],
    ids=["pipeline", "model", "route", "fewer images", "other images", "as priors only", "study"],
)
def test_side_by_side_both_count(new: Job) -> None:
    assert superseded([OLD, new]) == frozenset()


def test_the_newest_of_a_chain_is_left() -> None:
    assert superseded([job("1", "a"), job("2", "b"), job("3", "ab"), job("4", "abc")]) == {"1", "2", "3"}


def test_what_could_not_be_analysed_replaces_nothing_that_could() -> None:
    chain = [job("1"), job("2"), job("3")]
    assert superseded(chain, {"2", "3"}) == {"2"}
    assert superseded(chain, {"1", "2"}) == {"1", "2"}


JOBS = st.lists(
    st.builds(
        job,
        st.uuids().map(str),
        st.text("abc", min_size=1, max_size=3),
        st.text("p", max_size=1),
        route=st.sampled_from(["", "macula", "other"]),
        model=st.sampled_from(["layers", "other"]),
    ),
    max_size=6,
    unique_by=lambda made: made.key,
)


@given(JOBS)
def test_something_newer_of_at_least_the_same_images_is_left_for_all_that_is_replaced(jobs: list[Job]) -> None:
    gone = superseded(jobs)
    current = [each for each in jobs if each.key not in gone]
    assert not jobs or jobs[-1] in current
    images = [{s.uid for s in each.sources if not s.prior_study_id} for each in jobs]
    for n, each in enumerate(jobs):
        assert each.key not in gone or any(
            images[m] >= images[n] and (jobs[m].pipeline, jobs[m].model) == (each.pipeline, each.model)
            for m in range(n + 1, len(jobs))
        )
    assert superseded(current) == frozenset()
