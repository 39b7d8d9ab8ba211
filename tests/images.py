"""Opens data sets in memory as the router opens those of an archive."""

from collections.abc import Iterator, Sequence
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from airouter.domain.study import SOURCE_SOP_CLASSES, Instance, Modality
from airouter.imaging.frames import dataset_frames
from airouter.imaging.reader import open_images
from tests.data import files


def read(*names: str) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in files(*names)]


class Served:
    """Data sets as a source of frames that remembers what was asked."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.by_id = {f"instance-{n}": ds for n, ds in enumerate(datasets)}
        self.asked: list[tuple[str, list[int]]] = []

    def frames(self, instance: str, numbers: Sequence[int]) -> Iterator[bytes]:
        self.asked.append((instance, list(numbers)))
        yield from dataset_frames(self.by_id[instance], numbers)

    def headers(self) -> list[tuple[Instance, Dataset]]:
        made = []
        for id, ds in self.by_id.items():
            header = Dataset({tag: ds.get_item(tag) for tag in ds.keys() if tag < 0x7FE00008})  # noqa: SIM118
            header.file_meta = ds.file_meta
            uids = ds.SOPInstanceUID, ds.SOPClassUID, ds.SeriesInstanceUID, ds.StudyInstanceUID
            made.append((Instance(id, *uids, digest=""), header))
        return made


def opened(datasets: Dataset | Sequence[Dataset], modality: Modality | None = None) -> Any:
    """What the router makes of data sets; of the modality their SOP class says unless another is given."""
    datasets = [datasets] if isinstance(datasets, Dataset) else list(datasets)
    served = Served(datasets)
    modality = modality or SOURCE_SOP_CLASSES[datasets[0].SOPClassUID]
    return open_images(modality, served.headers(), served.frames)
