#!/usr/bin/env python3
"""Move the prebuilt viewer of the npm package @ohif/app below /ohif/ and mend what it shows wrong.

    ohif_patch.py --name                   name of the folder that this version of this script makes
    ohif_patch.py PACKAGE DESTINATION      PACKAGE is the unpacked npm package; DESTINATION must not exist

Every patch must apply exactly as often as when it was written; else nothing is made, and it is said which did not.
docs/how-to/viewer.md says what each is for. Standard library only: it runs before there is a virtual environment.
"""

import base64
import gzip
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERSION = "3.13.2"
DIGEST = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
ROOT = "/ohif/"
# What never changes under its address carries this script's digest: file names keep the hashes of upstream, although
# their content is patched.
BASE = f"{ROOT}{DIGEST}/"
MANIFEST = "airouter.json"

# onnxruntime for one tool that segments by click (133 MB), and pages of demonstrations
LEFT_OUT_FOLDERS = {"ort", "customizations"}
# A service worker, log-in at other servers, files of other web servers; app-config.js is the router's own.
LEFT_OUT = {
    "sw.js", "init-service-worker.js", "google.js", "oidc-client.min.js", "silent-refresh.html", "_headers",
    "_redirects", "serve.json", "app-config.js",
}  # fmt: skip
COMPRESSED = {".js", ".css", ".html", ".json", ".svg", ".wasm", ".webapp", ".xml"}
PARTS = "THIRD-PARTY.txt"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
# The bundler leaves in a comment where each module came from.
_MODULE = re.compile(r"(?:CONCATENATED MODULE: |!\*\*\* )\S*node_modules/((?:@[\w.-]+/)?[\w.-]+)")


@dataclass(frozen=True)
class Patch:
    """`pattern` in files of that name becomes `replacement`, `count` times in all of them together."""

    files: str
    pattern: str
    replacement: str
    count: int


_JS = r"[^/]+\.js"
_VIEWER = r"dicom-microscopy-viewer/dicomMicroscopyViewer\.min\.js"
PATCHES = (
    # -- addresses -----------------------------------------------------------------------------------------------------
    Patch(_JS, r'(__webpack_require__\.p = )"/"', rf'\1"{BASE}"', 8),
    Patch(_JS, r"(browserImportFunction\(')/dicom-microscopy-viewer/", rf"\1{BASE}dicom-microscopy-viewer/", 1),
    Patch(r"index\.html", r'src="/app-config\.js"', f'src="{ROOT}app-config.js"', 1),
    Patch(
        r"index\.html",
        r'<script rel="preload" as="script" type="module" src="/init-service-worker\.js"></script>',
        "",
        1,
    ),
    Patch(r"index\.html", r'((?:href|src)=")/(?!/|ohif/)', rf"\1{BASE}", 29),
    Patch(r"index\.html", r'(content=")/assets/', rf"\1{BASE}assets/", 2),
    Patch(r"index\.html", r'(PUBLIC_URL=")/"', rf'\1{BASE}"', 2),
    Patch(r"[^/]+\.css", r"url\(/(?!/)", f"url({BASE}", 5),
    Patch(r"manifest\.json", r'(": ")/assets', rf"\1{BASE}assets", 9),
    # -- cornerstone3D issue 2758: spacing of rows and columns swapped between image and world, so that regions of a
    # -- report lie in the wrong place on every B-scan
    Patch(_JS, r"(origin, rowCosines, )rowPixelSpacing( \* \(imageCoords\[0\])", r"\1columnPixelSpacing\2", 2),
    Patch(
        _JS,
        r"(imageCoordsInWorld, columnCosines, )columnPixelSpacing( \* \(imageCoords\[1\])",
        r"\1rowPixelSpacing\2",
        2,
    ),
    Patch(_JS, r"(origin, columnCosines, -)columnPixelSpacing( / 2)", r"\1rowPixelSpacing\2", 2),
    Patch(_JS, r"(newOrigin, rowCosines, -)rowPixelSpacing( / 2)", r"\1columnPixelSpacing\2", 2),
    Patch(_JS, r"(rowDistance / )rowPixelSpacing", r"\1columnPixelSpacing", 2),
    Patch(_JS, r"(columnDistance / )columnPixelSpacing", r"\1rowPixelSpacing", 2),
    # -- the view of a segmentation fails where its image has no known size, as most photographs
    Patch(_JS, r"(SliceThickness\s+\} = PixelMeasures)(;)", r"\1 ?? {}\2", 2),
    # -- the list of regions on a slide shows the code of a finding and not its name
    Patch(_JS, r"(labels\.push\(findingGroup\.ConceptCodeSequence\.)CodeValue", r"\1CodeMeaning", 1),
    # -- areas on a slide: wrong by 1000, in a unit that follows the zoom
    Patch(_VIEWER, r"(return _computeAreaOfPolygon\(scoord3dCoordinates\) \* 1000)(;)", r"\g<1>000\2", 1),
    Patch(
        _VIEWER, r"(var _format = function _format\(feature, units, pyramid, affine\) \{)", "\\1 units = '\u03bcm';", 1
    ),
)


class Mismatch(Exception):
    """The package is not what this script was written for."""


def patch(package: Path, destination: Path) -> None:
    """Write the patched viewer. Raises Mismatch, and leaves nothing behind then."""
    version = json.loads((package / "package.json").read_text(encoding="utf-8")).get("version")
    if version != VERSION:
        raise Mismatch(f"the package is version {version}, the patches are for {VERSION}")
    try:
        _write(package / "dist", destination)
        shutil.copyfile(package / "LICENSE", destination / "LICENSE")
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise


def _write(source: Path, destination: Path) -> None:
    counts = dict.fromkeys(PATCHES, 0)
    parts: set[str] = set()
    for path in _kept(source):
        name = path.relative_to(source).as_posix()
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        applying = [p for p in PATCHES if re.fullmatch(p.files, name)]
        if applying:
            text = data.decode("utf-8")
            for each in applying:
                text, times = re.subn(each.pattern, each.replacement, text)
                counts[each] += times
            data = text.encode("utf-8")
        target.write_bytes(data)
        if path.suffix == ".js":
            parts |= set(_MODULE.findall(data.decode("utf-8")))
        if path.suffix in COMPRESSED:
            target.with_name(target.name + ".gz").write_bytes(gzip.compress(data, 9, mtime=0))
    wrong = [f"{p.pattern!r} applies {counts[p]} times, not {p.count}" for p in PATCHES if counts[p] != p.count]
    if wrong:
        raise Mismatch("patches do not apply as they should: " + "; ".join(wrong))
    said = "npm packages whose code is in these files, by what the bundler noted of them:"
    (destination / PARTS).write_text("\n".join([said, "", *sorted(parts)]) + "\n", encoding="utf-8")
    page = (destination / "index.html").read_text(encoding="utf-8")
    about = {"package": "@ohif/app", "version": VERSION, "digest": DIGEST, "inline": _inline(page)}
    (destination / MANIFEST).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _kept(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        wanted = parts[0] not in LEFT_OUT_FOLDERS and path.name not in LEFT_OUT and path.suffix != ".map"
        if wanted and path.is_file() and not path.is_symlink():
            yield path


def _inline(page: str) -> list[str]:
    """Hashes of the page's inline scripts as a Content-Security-Policy names them."""
    return [
        "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        for script in _SCRIPT.findall(page)
    ]


def main(arguments: list[str]) -> None:
    if arguments == ["--name"]:
        print(f"{VERSION}-{DIGEST}")
        return
    if len(arguments) != 2:
        sys.exit(__doc__)
    package, destination = map(Path, arguments)
    try:
        patch(package, destination)
    except Mismatch as error:
        sys.exit(f"ohif: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
