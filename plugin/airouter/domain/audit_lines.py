"""The trail as lines of JSON, for a file: a record's text as it was sealed with its digest, or a signed head."""

import json
import re
from typing import Final

from airouter.domain.audit import AuditRecord, Head
from airouter.domain.audit_chain import Anchor

# By pattern and not by a parser: the text must come back to the letter, or its seal could not be checked.
_RECORD: Final = re.compile(r'\{"record":(?P<text>\{.*\}),"digest":"(?P<digest>[0-9a-f]{64})"\}')


def record_line(record: AuditRecord) -> str:
    """One record, without the end of the line."""
    return f'{{"record":{record.text},"digest":"{record.digest}"}}'


def head_line(head: Head) -> str:
    """One head, without the end of the line."""
    said = {"seq": head.seq, "digest": head.digest, "at": head.at, "signature": head.signature}
    return json.dumps({"head": said}, separators=(",", ":"))


def parse(line: str) -> AuditRecord | Head | None:
    """What a line holds, None where it is neither: a crash may have left half a line."""
    match = _RECORD.fullmatch(line.strip())
    try:
        if match is not None:
            content = json.loads(match["text"])
            return AuditRecord(int(content["seq"]), str(content["at"]), match["text"], match["digest"])
        said = json.loads(line)["head"]
        return Head(int(said["seq"]), str(said["digest"]), str(said["at"]), str(said["signature"]))
    except (ValueError, KeyError, TypeError):
        return None


def anchor(said: AuditRecord | Head) -> Anchor:
    """What a line says of the trail."""
    return Anchor(said.seq, said.digest)
