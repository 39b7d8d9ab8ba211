"""Syslog over TLS against a real receiver: down, cut in the middle of a frame, stalled, and not to be trusted."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from airouter.adapters.audit import AuditTrail
from airouter.adapters.audit_export import Exporter, ExportFailed
from airouter.adapters.store import Store
from airouter.adapters.syslog_tls import Receiver, SyslogTls, framed, syslog
from airouter.domain.audit import AuditEvent, AuditKind, AuditRecord, Outcome, text
from airouter.messages.audit_message import AuditSource
from tests.orthanc_process import free_port
from tests.syslog_server import Certificates, SyslogServer, make_certificates, syslog_server

SOURCE = AuditSource("node", "pacs.example.org", 4711)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditTrail]:
    store = Store(f"sqlite:///{tmp_path}/journal.db", b"k" * 32)
    yield AuditTrail(store)
    store.close()


def fill(trail: AuditTrail, count: int) -> None:
    for n in range(count):
        trail.record(AuditEvent(AuditKind.VIEW, user="ålice", study_uid=f"1.2.{n}", detail={"text": "x" * 200}))


def target(certificates: Certificates, port: int, **changes: float) -> SyslogTls:
    to = Receiver("localhost", port, certificates.authority)
    return SyslogTls(to, SOURCE, **({"seconds": 2.0, "holds": 0.1} | changes))  # type: ignore[arg-type]


class Running:
    """An exporter on its thread."""

    def __init__(self, trail: AuditTrail, to: SyslogTls) -> None:
        self.exporter = Exporter(trail, to, "n", head_seconds=3600, idle=0.02, first_pause=0.02)
        self._thread = threading.Thread(target=self.exporter.run)
        self._thread.start()

    def stop(self) -> None:
        self.exporter.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1500):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def numbers(server: SyslogServer) -> list[int]:
    """Numbers of the records received, heads left out."""
    found = []
    for message in server.messages:
        root = ET.fromstring(message.split(b"\xef\xbb\xbf", 1)[1])
        identifiers = [o.get("ParticipantObjectID", "") for o in root.iter("ParticipantObjectIdentification")]
        found += [int(i.rsplit(":", 1)[1]) for i in identifiers if re.fullmatch(r"urn:airouter:audit:\d+", i)]
    return found


def complete_and_in_order(server: SyslogServer, count: int) -> None:
    """Every record came, some perhaps again; taken once each they stand in their order."""
    received = numbers(server)
    assert list(dict.fromkeys(received)) == list(range(1, count + 1))


# -- what is sent ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "priority"), [(Outcome.SUCCESS, 85), (4, 84), (8, 83), (Outcome.MAJOR_FAILURE, 82)]
)
def test_a_message_is_one_of_rfc_5424(outcome: int, priority: int) -> None:
    at = "2026-11-29T06:30:00.123456+00:00"
    event = AuditEvent(AuditKind.VIEW, user="ålice", study_uid="1.2", outcome=Outcome(outcome))
    message = syslog(AuditRecord(2**31, at, text(event, 2**31, at), "ab" * 32), SOURCE)
    header = re.fullmatch(
        r"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) ((?:\[[^\]]+\])+) \ufeff(.*)",
        message,
        re.DOTALL,
    )
    assert header is not None
    pri, timestamp, host, application, process, message_id, data, body = header.groups()
    assert (int(pri), timestamp, host, application) == (priority, at, "pacs.example.org", "airouter")
    assert (process, message_id) == ("4711", "DICOM+RFC3881")
    assert data.startswith('[meta sequenceId="1"][origin software="airouter" swVersion="')
    assert ET.fromstring(body.encode()).tag == "AuditMessage"
    length, _, rest = framed(message).partition(b" ")
    assert int(length) == len(rest) == len(message.encode())


def test_a_host_without_a_name_of_ascii_still_makes_a_header() -> None:
    at = "2026-11-29T06:30:00.123456+00:00"
    record = AuditRecord(1, at, text(AuditEvent(AuditKind.STARTED), 1, at), "ab" * 32)
    assert syslog(record, AuditSource("n", "å b", 1)).split(" ")[2] == "??b"
    assert syslog(record, AuditSource("n", "", 1)).split(" ")[2] == "-"


# -- to whom -----------------------------------------------------------------------------------------------------------


def test_records_arrive_and_a_stop_waits_for_their_arrival(trail: AuditTrail, certificates: Certificates) -> None:
    fill(trail, 250)
    with syslog_server(certificates) as server:
        running = Running(trail, target(certificates, server.port, holds=3600))
        wait_until(lambda: len(numbers(server)) == 250)
        assert running.exporter.standing().behind == 250  # the connection has not held long enough
        running.stop()
        assert running.exporter.standing().behind == 0  # the receiver ended it in order after reading everything
        assert numbers(server) == list(range(1, 251))
        assert server.connections == 1
        assert len(server.messages) == 251  # and the first head


def test_only_a_receiver_that_the_authority_knows_is_sent_to(trail: AuditTrail, certificates: Certificates) -> None:
    fill(trail, 1)
    records = trail.read()
    with syslog_server(certificates) as server:
        stranger = SyslogTls(Receiver("localhost", server.port, certificates.other), SOURCE, seconds=2)
        with pytest.raises(ExportFailed, match="not trusted"):
            stranger.send(records, None)
        elsewhere = SyslogTls(Receiver("127.0.0.1", server.port, certificates.authority), SOURCE, seconds=2)
        with pytest.raises(ExportFailed, match="not trusted"):  # its certificate is for another name
            elsewhere.send(records, None)
        missing = SyslogTls(Receiver("localhost", server.port, Path("/nowhere")), SOURCE, seconds=2)
        with pytest.raises(ExportFailed, match="cannot be read"):
            missing.send(records, None)
        assert server.messages == []


def test_a_receiver_may_ask_for_a_certificate(trail: AuditTrail, certificates: Certificates) -> None:
    fill(trail, 1)
    with syslog_server(certificates, clients=True) as server:
        known = Receiver("localhost", server.port, certificates.authority, *certificates.client)
        running = Running(trail, SyslogTls(known, SOURCE, seconds=2, holds=0.05))
        wait_until(lambda: running.exporter.standing().behind == 0)
        running.stop()
        assert numbers(server) == [1]
        fill(trail, 1)
        unknown = Running(trail, target(certificates, server.port))
        wait_until(lambda: unknown.exporter.standing().problem != "")
        unknown.stop()
        assert unknown.exporter.standing().behind == 1
        assert numbers(server) == [1]


# -- when it fails -----------------------------------------------------------------------------------------------------


def test_a_receiver_that_is_down_is_waited_for(trail: AuditTrail, certificates: Certificates) -> None:
    fill(trail, 5)
    port = free_port()
    running = Running(trail, target(certificates, port))
    wait_until(lambda: "refused" in running.exporter.standing().problem)
    assert running.exporter.standing().behind == 5
    with syslog_server(certificates, port) as server:
        wait_until(lambda: running.exporter.standing().behind == 0)
        assert running.exporter.standing().problem == ""
        running.stop()
        complete_and_in_order(server, 5)


def test_what_a_cut_connection_lost_comes_again(trail: AuditTrail, certificates: Certificates) -> None:
    """Reset in the middle of a frame, with bytes that the receiver's kernel took and nobody read."""
    with syslog_server(certificates) as server:
        server.cut_after = 20_000
        fill(trail, 150)
        running = Running(trail, target(certificates, server.port, holds=0.5))
        wait_until(lambda: running.exporter.standing().behind == 0)
        running.stop()
        assert server.connections >= 2
        complete_and_in_order(server, 150)


def test_a_receiver_that_goes_and_comes_back_gets_everything(trail: AuditTrail, certificates: Certificates) -> None:
    port = free_port()
    received: list[int] = []
    running = Running(trail, target(certificates, port, holds=0.3))
    for n in range(3):
        with syslog_server(certificates, port) as server:
            fill(trail, 40)
            want = 40 * (n + 1)
            wait_until(lambda server=server, want=want: want in numbers(server))  # type: ignore[misc]
        received += numbers(server)  # it ended at once, and what it had just read counts as not arrived
    with syslog_server(certificates, port) as server:
        wait_until(lambda: running.exporter.standing().behind == 0)
        running.stop()
        received += numbers(server)
    assert list(dict.fromkeys(received)) == list(range(1, 121))


def test_a_receiver_that_reads_nothing_is_given_up_and_sent_to_again(
    trail: AuditTrail, certificates: Certificates
) -> None:
    for n in range(200):  # more than the buffers of both kernels take
        detail = {f"k{i}": "x" * 300 for i in range(200)}
        trail.record(AuditEvent(AuditKind.VIEW, user=f"{n}", study_uid="1.2", detail=detail))
    with syslog_server(certificates) as server:
        server.reading.clear()
        running = Running(trail, target(certificates, server.port, seconds=0.5))
        wait_until(lambda: running.exporter.standing().problem != "")
        assert running.exporter.standing().behind == 200
        server.reading.set()
        wait_until(lambda: running.exporter.standing().behind == 0)
        running.stop()
        complete_and_in_order(server, 200)


def test_a_stop_does_not_hang_on_a_receiver_that_reads_nothing(trail: AuditTrail, certificates: Certificates) -> None:
    fill(trail, 3)
    with syslog_server(certificates) as server:
        server.reading.clear()
        running = Running(trail, target(certificates, server.port, seconds=0.5, holds=3600))
        wait_until(lambda: server.connections == 1)
        running.stop()
        assert running.exporter.standing().behind == 3
