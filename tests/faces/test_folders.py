"""The reader of identity folders: which files are images, which are skipped, in which order; it never blocks."""

import errno
import os
import random
import signal
import tempfile
import threading
from pathlib import Path

import odd_folders
import pytest
from odd_folders import picture

from insight.errors import InsightError, printable
from insight.faces.folders import read_identities
from insight.faces.sources import image_source
from insight.files import reading as files
from insight.sets.scan import scan_identities


def people(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.jpg").write_bytes(picture(i))
    return root


def keys_of(read):
    return [f"{identity.name}/{file}" for identity in read.identities for file in identity.files]


@pytest.fixture
def odd(tmp_path):
    return odd_folders.write(tmp_path / "odd")


@pytest.fixture
def unprivileged():
    """A folder of a user without root's permissions: as root, the test runs under another user id."""
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        try:
            os.seteuid(65534)
        except PermissionError:
            pytest.skip("root may not become another user here")
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


class TestOddFolders:
    def test_all_images_and_no_other_files(self, odd):
        read = read_identities(str(odd))
        assert keys_of(read) == odd_folders.IMAGES
        assert read.skipped == odd_folders.LEFT_OUT

    def test_except_paths_that_a_list_cannot_contain(self, odd):
        read = read_identities(str(odd), for_list=True)
        assert keys_of(read) == odd_folders.LISTED
        reason = "paths with a tab or line end, which a list cannot hold"
        assert read.skipped == {**odd_folders.LEFT_OUT, reason: len(odd_folders.UNLISTABLE)}

    def test_files_with_an_image_suffix_are_not_opened(self, odd, monkeypatch):
        opened = []
        read_head = files.read_head
        monkeypatch.setattr(files, "read_head", lambda path, count: opened.append(path) or read_head(path, count))
        listed = odd_folders.write_claims(odd)
        read = read_identities(str(odd), for_list=True)
        assert keys_of(read) == listed
        assert {os.path.basename(path) for path in opened} == {
            *("README", "none", "wrong.txt"),
            *("empty.gif", "notes.txt", "Thumbs.db", "clip.mp4", "phone.heic", "moving.gif", "raw.dng"),
        }

    def test_suffixes_are_checked_before_embedding(self, odd):
        image_source(odd).check()
        odd_folders.write_claims(odd)
        with pytest.raises(InsightError) as raised:
            image_source(odd).check()
        assert str(raised.value) == (
            f"{odd}/Ann/empty.jpg: empty file; remove it or replace it; 2 others cannot be used either: "
            f"{odd}/Ann/phone.jpg, {odd}/Ann/text.jpg"
        )
        (odd / "Ann/0.jpg").write_bytes(b"<html>")
        with pytest.raises(
            InsightError, match=r"0\.jpg: not a readable image \(it starts with b'<html>'\); .* 3 others .*, …$"
        ):
            image_source(odd).check()

    def test_all_commands_use_the_same_reader(self, odd):
        source = image_source(odd)
        assert list(source.keys) == odd_folders.IMAGES
        assert source.labels.tolist() == odd_folders.LABELS
        scan = scan_identities(str(odd))
        assert [identity.name for identity in scan.identities] == odd_folders.PEOPLE
        paths = [path for identity in scan.identities for path in identity.paths]
        assert paths == [f"{odd}/{key}" for key in odd_folders.LISTED]

    def test_every_image_is_read(self, odd):
        source = image_source(odd)
        for i, key in enumerate(source.keys):
            assert source.read(i) == (odd / key).read_bytes()
            assert source.pixels(i, odd_folders.SIZE).shape == (3, *odd_folders.SIZE)
        assert len(source.digest()) == 64

    def test_lines_name_the_first_few_and_are_printable(self, odd):
        lines = read_identities(str(odd), for_list=True).lines()
        assert "left out: 2 broken links: broken, Ann/broken.jpg" in lines
        assert "left out: 4 pipes, sockets or devices: pipe, Ann/device.jpg, Ann/pipe.jpg, …" in lines
        assert any(line.endswith(r": Ann/line\nend.jpg, Ann/tab\there.jpg") for line in lines)
        for line in lines:
            assert line.isprintable() and line.encode("utf-8")


class TestLinks:
    def test_a_folder_is_listed_under_its_own_name_else_the_first(self, tmp_path):
        people(tmp_path / "faces", {"m": 1})
        people(tmp_path / "store", {"x": 2})
        for name, target in (("a", "m"), ("z", "m"), ("q", "../store/x"), ("p", "../store/x")):
            (tmp_path / "faces" / name).symlink_to(target)
        read = read_identities(str(tmp_path / "faces"))
        assert keys_of(read) == ["m/0.jpg", "p/0.jpg", "p/1.jpg"]
        assert read.skipped.lines() == ["left out: 3 links to a folder that is listed already: a, q, z"]

    def test_a_folder_of_links_is_read_as_a_plain_folder(self, tmp_path):
        people(tmp_path / "store", {f"p{i}": 2 for i in range(5)})
        (tmp_path / "faces").mkdir()
        for i in range(5):
            (tmp_path / "faces" / f"p{i}").symlink_to(f"../store/p{i}")
        read = read_identities(str(tmp_path / "faces"))
        assert (len(keys_of(read)), read.lines()) == (10, [])

    def test_the_root_may_be_a_link(self, tmp_path):
        people(tmp_path / "store", {"p": 1})
        (tmp_path / "faces").symlink_to("store")
        assert keys_of(read_identities(str(tmp_path / "faces"))) == ["p/0.jpg"]
        (tmp_path / "circle").symlink_to("circle")
        with pytest.raises(InsightError, match=r"circle: cannot be read \(Too many levels of symbolic links\); want"):
            read_identities(str(tmp_path / "circle"))
        with pytest.raises(InsightError, match=r"circle: unreadable: Too many levels of symbolic links; want"):
            image_source(tmp_path / "circle")

    def test_links_to_parents_and_circular_links(self, tmp_path):
        people(tmp_path / "faces", {"p": 1})
        (tmp_path / "faces/p/up").symlink_to("..")
        (tmp_path / "faces/up").symlink_to("..")
        read = read_identities(str(tmp_path / "faces"))
        assert keys_of(read) == ["p/0.jpg"]
        assert read.skipped == {"folders inside identity folders": 2, "folders without images": 1}

    def test_through_a_file(self, tmp_path):
        people(tmp_path / "faces", {"p": 1})
        (tmp_path / "faces/p/x.jpg").symlink_to("0.jpg/x.jpg")
        assert read_identities(str(tmp_path / "faces")).skipped == {"broken links": 1}


class TestPermissions:
    def test_unreadable_files_are_skipped(self, unprivileged):
        root = people(unprivileged / "faces", {"a": 2, "b": 1, "c": 2})
        (root / "a/1").write_bytes(picture(1))
        for name in ("a/1.jpg", "a/1", "b"):
            (root / name).chmod(0)
        (root / "c").chmod(0o444)  # its names can be read, its files cannot
        try:
            read = read_identities(str(root))
            assert keys_of(read) == ["a/0.jpg", "a/1.jpg", "c/0.jpg", "c/1.jpg"]
            assert read.skipped == {
                "files that cannot be read (Permission denied)": 1,
                "folders that cannot be read (Permission denied)": 1,
            }
            with pytest.raises(InsightError, match=r"a/1\.jpg: unreadable: Permission denied; .* 2 others .*c/0\.jpg"):
                image_source(root).check()
            with pytest.raises(files.Unreadable, match="^unreadable: Permission denied$"):
                files.read_file(str(root / "a/1.jpg"))
            (root / "link").symlink_to("b/hidden")
            assert read_identities(str(root)).skipped["links that cannot be followed (Permission denied)"] == 1
            root.chmod(0)
            with pytest.raises(InsightError, match=r"faces: cannot be read \(Permission denied\); want a folder"):
                read_identities(str(root))
        finally:
            for path in (root, root / "b", root / "c"):
                path.chmod(0o755)


class TestWhileReading:
    def test_vanished_files_are_skipped(self, tmp_path, monkeypatch):
        root = people(tmp_path / "faces", {"a": 1, "b": 1, "c": 1})
        for name in ("1", "2", "3"):
            (root / "a" / name).write_bytes(picture(0))
        (root / "a/link").symlink_to("3")
        read_head, scandir = files.read_head, os.scandir

        def head(path, count):
            for name in ("a/1", "a/link"):
                if path == str(root / name):
                    os.unlink(os.path.realpath(path))
            return read_head(path, count)

        def entries(path):
            if path == str(root / "b"):
                (root / "b/0.jpg").unlink()
                (root / "b").rmdir()
            return scandir(path)

        monkeypatch.setattr(files, "read_head", head)
        monkeypatch.setattr(os, "scandir", entries)
        read = read_identities(str(root))
        assert keys_of(read) == ["a/0.jpg", "a/2", "a/3", "c/0.jpg"]
        assert read.skipped == {"files or folders that vanished meanwhile": 2, "broken links": 1}

    def test_a_file_that_vanishes_later_raises_one_line(self, tmp_path):
        root = people(tmp_path / "faces", {"a": 2})
        source = image_source(root)
        (root / "a/1.jpg").unlink()
        for call in (lambda: source.read(1), lambda: source.pixels(1, odd_folders.SIZE)):
            with pytest.raises(InsightError, match=r"faces/a/1\.jpg: no such file; remove it or replace it, then run"):
                call()
        with pytest.raises(InsightError, match=r"faces/a/1\.jpg: No such file or directory; it existed when"):
            source.digest()

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE, errno.ETIMEDOUT])
    @pytest.mark.parametrize("for_list", [False, True])
    def test_failures_of_the_machine_raise(self, tmp_path, monkeypatch, number, for_list):
        root = people(tmp_path / "faces", {"a": 1, "b": 1})
        monkeypatch.setattr(files, "read_head", _raiser(number))
        (root / "a/0").write_bytes(picture(0))
        with pytest.raises(InsightError, match=r"faces/a/0.*: cannot be read \(.*\); fix that, then run again"):
            read_identities(str(root), for_list)
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: scandir(path) if path == str(root) else _raiser(number)(path))
        with pytest.raises(InsightError, match=r"faces/a: cannot be read"):
            read_identities(str(root), for_list)

    def test_a_bad_sector_affects_one_file(self, tmp_path, monkeypatch):
        root = people(tmp_path / "faces", {"a": 1})
        (root / "a/bad").write_bytes(picture(1))
        read_head = files.read_head

        def head(path, count):
            return _raiser(errno.EIO)(path) if path.endswith("bad") else read_head(path, count)

        monkeypatch.setattr(files, "read_head", head)
        read = read_identities(str(root))
        assert read.skipped.lines() == ["left out: 1 files that cannot be read (Input/output error): a/bad"]


def _raiser(number):
    def fail(path, *_):
        raise OSError(number, os.strerror(number), path)

    return fail


class TestFiles:
    @pytest.fixture(autouse=True)
    def no_waiting(self):
        """A reader that waits for a pipe's writer fails the test instead of blocking it."""

        def late(*_):
            raise TimeoutError("the reader waits")

        before = signal.signal(signal.SIGALRM, late)
        signal.alarm(60)
        yield
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

    def test_the_bytes(self, tmp_path):
        for size in (1, 1 << 16, (1 << 16) + 1, 5 << 20):
            data = random.Random(size).randbytes(size)
            (tmp_path / "f").write_bytes(data)
            assert files.read_file(str(tmp_path / "f")) == data
            assert files.read_head(str(tmp_path / "f"), 64) == data[:64]
        assert files.why_unreadable(str(tmp_path / "f")) == ""

    @pytest.mark.parametrize(
        "name, reason",
        [
            ("gone.jpg", "no such file"),
            ("1.jpg/below.jpg", "no such file"),
            ("broken.jpg", "a broken link"),
            ("circle.jpg", "unreadable: Too many levels of symbolic links"),
            ("pipe.jpg", "a pipe, socket or device"),
            ("socket.jpg", "a pipe, socket or device"),
            ("device.jpg", "a pipe, socket or device"),  # endless zeros
            ("folder.jpg", "a folder"),
            ("x" * 300, "unreadable: File name too long"),
        ],
    )
    def test_paths_that_are_not_files(self, odd, name, reason):
        path = str(odd / "Ann" / name)
        with pytest.raises(files.Unreadable, match=f"^{reason}$"):
            files.read_file(path)
        assert files.why_unreadable(path) == reason

    def test_empty(self, odd):
        with pytest.raises(files.Unreadable, match="^empty file$"):
            files.read_file(str(odd / "Ann/empty.gif"))

    def test_a_pipe_with_a_writer(self, tmp_path):
        os.mkfifo(tmp_path / "p.jpg")
        reader = os.open(tmp_path / "p.jpg", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(tmp_path / "p.jpg", os.O_WRONLY)
        try:
            errors = []
            thread = threading.Thread(target=lambda: errors.append(_error(files.read_file, str(tmp_path / "p.jpg"))))
            thread.start()
            thread.join(20)
            assert errors == ["a pipe, socket or device"]
        finally:
            os.close(reader)
            os.close(writer)


def _error(call, *arguments):
    try:
        return call(*arguments)
    except InsightError as error:
        return str(error)


class TestPlainFolders:
    """A copy of the first version's reader, as the reference."""

    @staticmethod
    def before(root):
        suffixes = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff")
        keys, labels, identities = [], [], 0
        for folder in sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name[0] != "."):
            names = [n for n in os.listdir(root / folder) if n.lower().endswith(suffixes) and n[0] != "."]
            keys += [f"{folder}/{name}" for name in sorted(names)]
            labels += [identities] * len(names)
            identities += bool(names)
        return keys, labels

    @pytest.mark.parametrize("seed", range(4))
    def test_give_the_same_result_as_the_first_version(self, tmp_path, seed):
        draw = random.Random(seed)
        letters = "aAbZz019 ._-éÉßжЖ日😀"
        for _ in range(60):
            person = tmp_path / ("n" + "".join(draw.choices(letters, k=draw.randint(0, 4))))
            person.mkdir(exist_ok=True)
            for _ in range(draw.randint(0, 4)):
                suffix = draw.choice([".jpg", ".JPG", ".jpeg", ".png", ".bmp", ".webp", ".Tif"])
                name = "i" + "".join(draw.choices(letters, k=draw.randint(0, 3))) + suffix
                kind = ".jpg" if suffix.lower() == ".jpeg" else suffix.lower()
                (person / name).write_bytes(picture(0, kind))
        source = image_source(tmp_path)
        assert (list(source.keys), source.labels.tolist()) == self.before(tmp_path)
        assert keys_of(read_identities(str(tmp_path), for_list=True)) == list(source.keys)

    def test_thousands_of_folders(self, tmp_path):
        data = picture(0)
        for i in range(3000):
            (tmp_path / f"{i}").mkdir()
            (tmp_path / f"{i}/a").write_bytes(data)
        read = read_identities(str(tmp_path))
        assert keys_of(read) == sorted(f"{i}/a" for i in range(3000))
        assert read.lines() == []


class TestNames:
    def test_that_differ_in_case_or_accents_only_are_noted(self, tmp_path):
        nfc, nfd = "Jos\u00e9", "Jose\u0301"
        people(tmp_path, {"Ann": 1, "ann": 1, nfc: 1, nfd: 1, "Bob": 1})
        read = read_identities(str(tmp_path))
        assert [identity.name for identity in read.identities] == sorted(["Ann", "ann", nfc, nfd, "Bob"])
        assert read.lines() == [
            "note: names that differ only in case or in the encoding of accents are different identities: "
            f"Ann, ann; {nfd}, {nfc}"
        ]

    @pytest.mark.parametrize(
        "name, shown",
        [
            ("Ann Lee.jpg", "Ann Lee.jpg"),
            ("Żak 日本", "Żak 日本"),
            ("caf\udce9", r"caf\xe9"),
            ("a\tb\nc\r\x1b[31m\u2028", r"a\tb\nc\r\x1b[31m\u2028"),
        ],
    )
    def test_are_printable(self, name, shown):
        assert printable(name) == shown


@pytest.mark.parametrize("for_list", [False, True])
class TestNothingToRead:
    def test_is_one_line(self, tmp_path, for_list):
        def says(path):
            with pytest.raises(InsightError) as raised:
                read_identities(str(path), for_list)
            return str(raised.value)

        want = "want a folder that holds a folder of images per person"
        assert says(tmp_path / "none") == f"{tmp_path}/none: no such folder; {want}"
        (tmp_path / "empty").mkdir()
        assert says(tmp_path / "empty") == f"{tmp_path}/empty: is empty; {want}"
        (tmp_path / "empty/x.jpg").write_bytes(picture(0))
        assert says(tmp_path / "empty") == f"{tmp_path}/empty: its images are in the folder itself; {want}"
        assert says(tmp_path / "empty/x.jpg") == f"{tmp_path}/empty/x.jpg: a file; {want}"
        (tmp_path / "text/a").mkdir(parents=True)
        (tmp_path / "text/a/a.xml").write_text("<a/>")
        assert says(tmp_path / "text") == (
            f"{tmp_path}/text: holds no folder with images (1 files that are not images, 1 folders without images); "
            f"{want}"
        )
