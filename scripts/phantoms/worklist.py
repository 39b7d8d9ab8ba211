"""A worklist of any length, invented: studies with patients, findings and readers, for trials of the list and its page.

Nothing here is anybody's. Rows go through the store as results and readers would leave them.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from airouter.adapters import reading_rows, tables
from airouter.adapters.store import Store
from airouter.domain.priority import Priority, Reading

_FAMILIES: Final = (
    "Abel",
    "Brandt",
    "Costa",
    "Dahl",
    "Eriksen",
    "Fischer",
    "García",
    "Haas",
    "Ito",
    "Jensen",
    "Kowalski",
)
_GIVEN: Final = ("Anna", "Boris", "Clara", "David", "Elena", "Farid", "Grete", "Hugo", "Ines", "Jonas", "Kim", "Lena")
_CASES: Final[tuple[tuple[str, str, Priority, str, str], ...]] = (
    ("SM", "Colon, resection", Priority.HIGH, "margin positive: tumour 0.00 mm from the ink", "Resection margin: 0 mm"),
    ("SM", "Breast, core biopsy", Priority.ROUTINE, "Ki-67 12 %", "Nuclei of the tumour: 12 % · HER2 score: 1+"),
    ("SM", "Lymph node", Priority.STAT, "suspected metastasis 2.3 mm", "Suspected tumour: 2.3 mm"),
    ("OP", "Fundus photographs", Priority.ROUTINE, "no retinopathy", "R Diabetic retinopathy: none · L none"),
    ("OP", "Fundus photographs", Priority.HIGH, "right eye: proliferative retinopathy", "R Diabetic retinopathy: PDR"),
    (
        "OPT",
        "OCT macula",
        Priority.HIGH,
        "central subfield thickness 421 um is above 320 um",
        "R Macular oedema: 421 µm",
    ),
    ("OPV", "Visual field 24-2", Priority.LOW, "mean deviation -1.24 dB", "L Visual field: −1.24 dB"),
)


def fill(store: Store, count: int, *, seed: int = 1, now: datetime | None = None) -> None:
    """Put `count` studies on the list, in one transaction: a tenth read, some claimed, assigned or locked."""
    draw = random.Random(seed)
    now = now or datetime.now(UTC)
    with store.write() as db:
        reading_rows.bump(store, db)
        rule = reading_rows.rule(db)
        rows = []
        for n in range(count):
            row = _row(draw, n, now)
            rows.append(row | reading_rows.follows(store, row, rule, last=1, now=row["arrived"]))
        for at in range(0, count, 500):
            db.execute(sa.insert(tables.reading), rows[at : at + 500])


def _row(draw: random.Random, n: int, now: datetime) -> dict[str, Any]:
    modality, description, priority, reason, line = draw.choice(_CASES)
    arrived = now - timedelta(minutes=draw.uniform(0, 3 * 1440))
    reader = draw.choice(("ann", "bob", "eve"))
    release = modality == "OP" and priority is Priority.ROUTINE
    read, locked = draw.random() < 0.1, draw.random() < 0.02
    text = arrived.isoformat(timespec="microseconds")
    claimed = draw.random() < 0.03 and not read
    return {
        "study_uid": f"1.2.826.0.1.3680043.8.498.{n + 1}",
        "study_id": f"{n:08x}-00000000-00000000-00000000-00000000",
        "patient_name": f"{draw.choice(_FAMILIES)}^{draw.choice(_GIVEN)}",
        "patient_id": f"P{n + 1:06d}",
        "birth_date": f"{draw.randint(1935, 1999)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}",
        "sex": draw.choice("MFO"),
        "accession": f"A{n + 1:07d}",
        "description": description,
        "study_date": f"{arrived:%Y%m%d}",
        "study_time": f"{arrived:%H%M%S}",
        "modalities": f"|{modality}|",
        "laterality": draw.choice("RLB") if modality != "SM" else "",
        "picture": "",
        "priority": priority.value,
        "reason": reason,
        "findings_line": line,
        "phase": "integrated",
        "asked": Reading.REVIEW_AND_RELEASE.value if release else None,
        "results": 1,
        "pending": draw.randint(0, 5),
        "decided": int(draw.random() < 0.05),
        "updated": text,
        "assigned": reader if draw.random() < 0.15 else None,
        "claimed_by": reader if claimed else None,
        "claimed_until": (now + timedelta(hours=8)).isoformat(timespec="microseconds") if claimed else None,
        "lock_priority": Priority.STAT.value if locked else None,
        "lock_reason": "the surgeon waits" if locked else None,
        "lock_by": "eve" if locked else None,
        "lock_at": text if locked else None,
        "completed_by": reader if read else None,
        "completed_at": text if read else None,
        "seen_result": 1,
        "arrived": text,
        "state": "read" if read else "open",
    }
