"""Hostile checkpoints, archives of data sets, feature caches and files of images."""

import copy
import gzip
import io
import os
import pickle
import random
import shutil
import stat
import struct
import tarfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from damage import NUMBERS, damage_parts, damaged_bytes
from squares import CARD, IDX, NPZ, idx_bytes, squares

from edgeprune.cli.model_argument import cost_of, resolve_model
from edgeprune.data.cards import Archive, Card, load_card
from edgeprune.data.feature_cache import extract, outdated
from edgeprune.data.fetch import unpack
from edgeprune.data.image_files import read_part
from edgeprune.errors import EdgepruneError
from edgeprune.models import checkpoint
from edgeprune.models.registry import build, make_spec
from edgeprune.recipe import LogMel
from edgeprune.training.checkpoint_io import AtomicCheckpointIO


class _Planted:
    """Unpickled, it would make the folder `planted`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


class Checkpoints:
    """To all that takes a .ckpt; what a pickle asks for is never done."""

    def __init__(self, folder: Path) -> None:
        self._path, self._planted = folder / "x.ckpt", folder / "planted"
        self._spec = make_spec("dcase21", 3, (1, 40, 51), width=0.1)
        extra = {"labels": ["a", "b", "c"], "frontend": asdict(LogMel.dcase21(16000, 1.0)), "history": [{"loss": 0.5}]}
        checkpoint.save(self._path, self._spec, build(self._spec), extra)
        self.good = self._path.read_bytes()
        self._content = torch.load(self._path, weights_only=True)

    def make(self, random: random.Random) -> bytes:
        way = random.random()
        if way < 0.3:
            return damaged_bytes(random, self.good)
        if way < 0.35:
            return self.good[: random.randrange(len(self.good))]
        content = copy.deepcopy(self._content)
        if way < 0.6:
            damage_parts(random, {"spec": content["spec"], "extra": content["extra"]})
        elif way < 0.9:
            name = random.choice(list(content["state"]))
            content["state"][name] = _other_tensor(random, content["state"][name])
        else:
            content[random.choice(list(content))] = random.choice((None, [], {}, 1, _Planted(self._planted)))
        stream = io.BytesIO()
        if way > 0.98:
            pickle.dump(content, stream)
        else:
            torch.save(content, stream)
        return stream.getvalue()

    def read(self, made: bytes) -> None:
        self._path.write_bytes(made)
        refusals = []
        for step in (self._load, self._resume):
            try:
                step()
            except EdgepruneError as error:
                refusals.append(error)
            assert not self._planted.exists(), "a pickle was executed"
        if refusals:
            raise refusals[0]

    def _load(self) -> None:
        network = resolve_model(str(self._path), ("dense",))
        network.input_s()
        network.title()
        if network.spec == self._spec:
            with torch.no_grad():
                network.model()(torch.zeros(1, *network.spec.input_shape))
        cost_of(self._path)

    def _resume(self) -> None:
        AtomicCheckpointIO().load_checkpoint(self._path)


def _other_tensor(random: random.Random, tensor: torch.Tensor) -> Any:
    match random.randrange(8):
        case 0:
            return tensor.to(random.choice((torch.float64, torch.int8, torch.complex64, torch.bfloat16, torch.bool)))
        case 1:
            return tensor.reshape(-1)[:0]
        case 2:
            return torch.cat([tensor.reshape(-1), tensor.reshape(-1)])
        case 3:
            return torch.zeros(1).expand(random.choice((10**6, 10**12)))
        case 4:
            return tensor.to_sparse()
        case 5:
            return torch.full_like(tensor, random.choice((0, 1)), device="meta")
        case 6:
            return tensor.reshape(-1).tolist()
        case _:
            return None


class Archives:
    """To `data fetch`, after the download: nothing is written outside the data's folder, and no bomb is unpacked."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, folder / "inside" / "root"
        self._number = 0
        self.good = ("x.zip", _zipped([("clips/a.wav", b"sound" * 100), ("meta.csv", b"filename,label\n")]))

    def make(self, random: random.Random) -> tuple[str, bytes]:
        names = ["clips/a.wav", "clips/b.wav", "meta.csv", "clips/deep/er/c.wav"]
        if random.random() < 0.6:
            names.insert(random.randrange(5), random.choice(_NAMES))
        members = [(name, random.randbytes(random.choice((0, 10, 3000)))) for name in names]
        if random.random() < 0.1:
            members.append(("zeros.wav", bytes(random.choice((10**6, 5 * 10**7)))))
        if random.random() < 0.5:
            suffix, content = ".zip", _zipped(members, random)
        else:
            suffix = random.choice((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))
            content = _tarred(members, suffix, random)
        if random.random() < 0.5:
            content = damaged_bytes(random, content)
        if random.random() < 0.05:
            suffix = random.choice((".zip", ".tar", ".tar.gz", ".txt"))
        return f"x{suffix}", content

    def read(self, made: tuple[str, bytes]) -> None:
        name, content = made
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir(parents=True)
        path = self._folder / name
        path.write_bytes(content)
        before = self._outside()
        try:
            unpack(Archive(name, "https://example.org"), path, self._root, "clips")
        finally:
            assert self._outside() == before, "something was written outside"
            inside = [(each, each.lstat()) for each in self._root.rglob("*")]
            odd = [
                each for each, status in inside if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
            ]
            assert not odd, f"links or devices were made: {odd}"
            held = sum(status.st_size for _, status in inside)
            assert held < 100 * 2**20, f"{held:,} bytes were unpacked of {len(content):,}"
            path.unlink()

    def _outside(self) -> set[str]:
        return {str(path) for path in self._folder.rglob("*") if self._root not in path.parents and path.name != "x"}


_NAMES = (
    *("../outside.wav", "/tmp/edgeprune-outside.wav", "clips/../../outside.wav", "..\\outside.wav", "C:\\outside.wav"),
    *("", ".", "..", "clips/", "a\0b.wav", "clips/a.wav/inner.wav", "clips/a.wav", "n" * 300, "a/" * 200 + "b"),
    *("\ud800", "con.wav", "é\u202e.wav", " ", "~/x", "clips//a.wav", "./x.wav", "archives", "line\nbreak.wav"),
)


def _zipped(members: list[tuple[str, bytes]], random: random.Random | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo("x")
            entry.filename = name.encode("utf-8", "replace").decode()
            entry.compress_type = random.choice((0, 8, 12, 14)) if random else 8
            if random and random.random() < 0.1:
                entry.external_attr = random.choice((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR)) << 16
                content = b"/etc/passwd"
            archive.writestr(entry, content)
    return stream.getvalue()


def _tarred(members: list[tuple[str, bytes]], suffix: str, random: random.Random) -> bytes:
    stream = io.BytesIO()
    mode = {"tgz": "w:gz", "gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(suffix.rpartition(".")[2], "w")
    with tarfile.open(fileobj=stream, mode=mode, format=random.choice((0, 1, 2)), errors="surrogatepass") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if random.random() < 0.1:
                entry.type = random.choice((b"1", b"2", b"3", b"4", b"6", b"7", b"S", b"L", b"x", b"g", b"Z"))
                entry.linkname = random.choice(("../../outside", "/etc/passwd", "clips/a.wav", ""))
            if random.random() < 0.05:
                entry.size = random.choice([number for number in NUMBERS if 0 < number < 2**33])
            try:
                archive.addfile(entry, io.BytesIO(content.ljust(min(entry.size, 1 << 16), b"\0")))
            except (ValueError, OSError):  # no such name in this format, or too little content
                continue
    return stream.getvalue()


class FeatureCaches:
    """A cache entry whose parts were damaged on the disk: it is refused by name, or written anew."""

    def __init__(self, folder: Path) -> None:
        self._root, self._cache = folder / "clips", folder / "cache"
        self._root.mkdir(exist_ok=True)
        self._names = [f"{number}.wav" for number in range(3)]
        for number, name in enumerate(self._names):
            samples = np.random.default_rng(number).normal(0, 0.1, 2000 + 500 * number)
            soundfile.write(self._root / name, samples, 8000)
        self._spec = LogMel(8000, 0.032, 0.016, mels=8, patch_frames=4, patch_hop_frames=4)
        self._extract()
        (entry,) = (self._cache / "features").iterdir()
        self._entry = entry
        self._whole = {path.name: path.read_bytes() for path in entry.iterdir() if path.suffix in (".npy", ".json")}
        self._whole["done.npy"] = _npy(np.ones(3, np.uint8))
        self.good = dict(self._whole)

    def _extract(self) -> None:
        features = extract(self._root, self._names, self._spec, {"name": "x"}, self._cache, workers=1)
        for name in self._names:
            assert features.clip(name).shape[1] == self._spec.mels
            np.asarray(features.clip(name)).sum()
        list(features.levels.silent), list(features.levels.cancelled)

    def make(self, random: random.Random) -> dict[str, bytes]:
        files = dict(self._whole)
        for name in random.sample(sorted(files), random.choice((1, 1, 2))):
            way = random.random()
            if way < 0.4:
                files[name] = damaged_bytes(random, files[name])
            elif way < 0.5:
                files[name] = files[name][: random.randrange(len(files[name]))]
            elif way < 0.6:
                del files[name]
            else:
                files[name] = _other_npy(random)
        if random.random() < 0.4:
            files.pop("manifest.json", None)
        return files

    def read(self, made: dict[str, bytes]) -> None:
        for path in self._entry.iterdir():
            path.unlink()
        for name, content in made.items():
            (self._entry / name).write_bytes(content)
        outdated(self._root, self._cache)
        self._extract()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _other_npy(random: random.Random) -> bytes:
    """Another array, or one whose head promises another shape or type."""
    if random.random() < 0.3:
        shape = random.choice(((0,), (4,), (3, 2), (2, 3), (1,), (), (4, 8)))
        return _npy(np.zeros(shape, random.choice((np.float32, np.int64, np.uint8, np.complex64, "U5", object))))
    sizes = random.choice(("(3,)", "(4, 8)", "(1000000000000,)", "(-1,)", "()", "(3, 10**3)", "'x'", "(2147483648, 8)"))
    kind = random.choice(("<f4", "<i8", "|u1", "|O", ">f8", "|S7", "<M8[s]", "<f3", "[('a', '<f4')]", "|V1000000000"))
    quoted, order = kind if kind.startswith("[") else f"'{kind}'", random.choice(("False", "True", "1"))
    head = f"{{'descr': {quoted}, 'fortran_order': {order}, 'shape': {sizes}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + random.randbytes(random.choice((0, 12, 128)))


class ImageFiles:
    """The idx files and NumPy archives of a card of images."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cards = {name: self._card(name, files) for name, files in (("npz", NPZ), ("idx", IDX))}
        images, labels = squares(6, 0, (5, 4))
        self._arrays = {"train": images, "labels": labels}
        self.good = ("npz", {"squares.npz": self._archive(images, labels)})

    def _card(self, name: str, files: str) -> Card:
        path = self._folder / f"{name}.toml"
        path.write_text(CARD.format(name=name, files=files), encoding="utf-8")
        return load_card(str(path))

    @staticmethod
    def _archive(images: Any, labels: Any) -> bytes:
        stream = io.BytesIO()
        np.savez_compressed(stream, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return stream.getvalue()

    def make(self, random: random.Random) -> tuple[str, dict[str, bytes]]:
        images, labels = squares(6, 0, (5, 4))
        if random.random() < 0.5:
            return "npz", {"squares.npz": self._npz(random, images, labels)}
        parts = {"train-images.gz": gzip.compress(idx_bytes(images), mtime=0), "train-labels": idx_bytes(labels)}
        name = random.choice(list(parts))
        content = parts[name]
        if random.random() < 0.5:
            plain = damaged_bytes(random, content[:16] if name == "train-labels" else idx_bytes(images)[:16])
            parts[name] = plain + content[16:]
        else:
            parts[name] = damaged_bytes(random, content)
        if random.random() < 0.05:
            parts["train-images.gz"] = gzip.compress(bytes(2 * 10**8 if random.random() < 0.02 else 10**7), 1)
        return "idx", parts

    def _npz(self, random: random.Random, images: Any, labels: Any) -> bytes:
        if random.random() < 0.5:
            return damaged_bytes(random, self._archive(images, labels))
        members = {"x_train.npy": _npy(images), "y_train.npy": _npy(labels)}
        name = random.choice(list(members))
        members[name] = _other_npy(random) if random.random() < 0.5 else damaged_bytes(random, members[name])
        return _zipped(list(members.items()))

    def read(self, made: tuple[str, dict[str, bytes]]) -> None:
        card, files = made
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        read_part(self._cards[card], self._folder, "train")
