"""An image with earlier ones of the same eye, opened the way the router opens them."""

from airouter.domain.study import SOURCE_SOP_CLASSES, Instance
from airouter.imaging.frames import dataset_frames
from airouter.imaging.visit import History, open_history


def history(current, *priors):
    """What a pipeline that compares gets of data sets in memory; asserts that they could be opened."""
    by_id = {f"id-{n}": ds for n, ds in enumerate((current, *priors))}
    read = [
        (
            Instance(
                id,
                str(ds.SOPInstanceUID),
                str(ds.SOPClassUID),
                str(ds.SeriesInstanceUID),
                str(ds.StudyInstanceUID),
                "digest",
            ),
            ds,
        )
        for id, ds in by_id.items()
    ]
    modality = SOURCE_SOP_CLASSES[str(current.SOPClassUID)]
    made = open_history(modality, read[0], read[1:], lambda id, numbers: dataset_frames(by_id[id], numbers))
    assert isinstance(made, History), made
    return made
