"""A modality that sends what it made by C-STORE, as a scanner or camera would."""

import io
from collections.abc import Callable, Sequence

from pydicom import Dataset, dcmread, dcmwrite
from pynetdicom import AE

_BATCH = 100  # presentation contexts of one association are limited to 128 (PS3.8 9.3.2.2)


def send(
    datasets: Sequence[Dataset],
    port: int,
    *,
    called: str,
    host: str = "127.0.0.1",
    calling: str = "PHANTOM",
    sent: Callable[[Dataset], None] = lambda _: None,
) -> list[int]:
    """C-STORE every dataset (with file_meta) in one association; the status of each comes back, 0x0000 being success.

    Raises ConnectionError where the association is refused or lost.
    """
    ae = AE(ae_title=calling)
    # A context of its own for every pair: the SCP could otherwise accept another transfer syntax than the stored one.
    contexts = {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in datasets}
    for sop_class, syntax in sorted(contexts)[:_BATCH]:
        ae.add_requested_context(sop_class, syntax)
    association = ae.associate(host, port, ae_title=called)
    if not association.is_established:
        raise ConnectionError(f"{called} at {host}:{port} refused the association")
    statuses = []
    try:
        for dataset in datasets:
            status = association.send_c_store(_as_stored(dataset))
            if not status:
                raise ConnectionError(f"{called} dropped the association")
            statuses.append(int(status.Status))
            sent(dataset)
    finally:
        association.release()
    return statuses


def _as_stored(dataset: Dataset) -> Dataset:
    """The data set as it would be read from a file: one built in memory does not know the encoding it will have."""
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)
