"""Files below a work folder that untrusted code fills: nothing is followed, nothing but regular files is opened or waited for.

Every path is resolved by the kernel with openat2 (no step outside, no links, no other mounts), so there is no moment to race.
"""

import contextlib
import errno
import os
import stat
import time

from turnwise.tool_servers.guest.kernel import open_beneath

__all__ = ["BadPath", "clone", "disk_used", "get", "put", "remove_temporary", "temporary"]

_TEMPORARY = "/tmp"
_CHUNK = 1 << 20


class BadPath(ValueError):
    """Leaves the folder, goes through a link, is no regular file, or too large."""


def _checked(path: str) -> list[str]:
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise BadPath(f"{path!r}: expected a path below the work folder, relative and without '..'.")
    return parts


def _open(folder: int, path: str, flags: int) -> int:
    try:
        return open_beneath(folder, path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR, errno.ENXIO):
            raise BadPath(f"{path!r}: goes through a link, or leaves the work folder, or is no regular file.") from None
        raise


def put(folder: int, path: str, data: bytes, owner: int | None) -> None:
    """Make or replace a file, and the folders above it. `owner`: the user it is given to. Raises BadPath, OSError (full disk)."""
    *above, name = _checked(path)
    here = os.dup(folder)
    try:
        for part in above:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=here)
                if owner is not None:
                    os.chown(part, owner, owner, dir_fd=here, follow_symlinks=False)
            there = _open(here, part, os.O_RDONLY | os.O_DIRECTORY)
            os.close(here)
            here = there
        _write(here, name, data, owner)
    finally:
        os.close(here)


def _write(folder: int, name: str, data: bytes, owner: int | None) -> None:
    """Under another name first: what is there under `name`, a FIFO or a link, is replaced and never opened."""
    draft = f".{name[:100]}.{os.urandom(6).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        if owner is not None:
            os.fchown(fd, owner, owner)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        os.unlink(draft, dir_fd=folder)
        if error.errno == errno.EISDIR:
            raise BadPath(f"{name!r}: is a folder.") from None
        raise
    finally:
        os.close(fd)


def get(folder: int, path: str, max_bytes: int) -> bytes:
    """Content of a regular file. Raises FileNotFoundError, BadPath."""
    fd = _open(folder, "/".join(_checked(path)), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise BadPath(f"{path!r}: is no regular file.")
        chunks, size = list[bytes](), 0
        while chunk := os.read(fd, min(_CHUNK, max_bytes + 1 - size)):
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise BadPath(f"{path!r}: has {max(size, about.st_size)} bytes, at most {max_bytes} were asked for.")
        return b"".join(chunks)
    finally:
        os.close(fd)


def disk_used(folder: str, most: int) -> tuple[int, int]:
    """Bytes, and number of files and folders; at most so many; what lies too deep counts as too many."""
    total, count, folders = 0, 0, [folder]
    while folders and count <= most:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return total, most + 1
    return total, count


def temporary(prefix: str) -> str:
    """A fresh folder of ours alone among the host's temporary ones."""
    path = f"{_TEMPORARY}/{prefix}{os.urandom(6).hex()}"
    os.mkdir(path, 0o700)
    return path


def remove_temporary(prefix: str, patience_s: float = 10.0) -> None:
    """All folders of that beginning, as far as it goes in that time."""
    for name in os.listdir(_TEMPORARY):
        if name.startswith(prefix):
            with contextlib.suppress(OSError):
                _remove(f"{_TEMPORARY}/{name}", time.monotonic() + patience_s)


def _remove(folder: str, end: float) -> None:
    """Folders in folders are moved up until none is left: a tree may be deeper than descriptors, recursion and paths reach."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while (names := os.listdir(top)) and time.monotonic() < end:
            for name in names:
                with contextlib.suppress(OSError):
                    if not _removed(name, top):
                        _raised(name, top)
    finally:
        os.close(top)
    os.rmdir(folder)


def _removed(name: str, above: int) -> bool:
    """Whether it was no folder and is gone."""
    try:
        os.unlink(name, dir_fd=above)
    except IsADirectoryError:
        return False
    return True


def _raised(name: str, top: int) -> None:
    """Remove a folder, once what folders it holds are moved up into `top`."""
    folder = _own(name, top)
    try:
        for inner in os.listdir(folder):
            if not _removed(inner, folder):
                os.close(_own(inner, folder))
                os.rename(inner, os.urandom(12).hex(), src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _own(name: str, above: int) -> int:
    """A folder, opened; its owner may look into it and change it from now on."""
    try:
        fd = _folder(name, above)
    except PermissionError:  # never as root, so that what is followed here is one's own
        os.chmod(name, 0o700, dir_fd=above)
        fd = _folder(name, above)
    os.fchmod(fd, 0o700)
    return fd


def clone(source: int, target: int) -> None:
    """Copy a tree between two open folders: links, holes, modes and times as they are. Sockets, devices and what is mounted from
    elsewhere are left out; of what is there already, folders may be. A tree may be deeper than descriptors and recursion reach.
    Raises BadPath for a file with several names whose first lies deeper than a path can say."""
    device, seen = os.fstat(source).st_dev, dict[int, str]()
    here, there = os.dup(source), os.dup(target)
    above, names = list[tuple[str, os.stat_result]](), [os.listdir(here)]
    """Folders that we are in, without the first, and what is left to copy in each."""
    try:
        while names:
            if names[-1]:
                name = names[-1].pop()
                about = os.stat(name, dir_fd=here, follow_symlinks=False)
                if about.st_dev == device and stat.S_ISDIR(about.st_mode):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=there)
                    here, there = _moved(here, name), _moved(there, name)
                    above.append((name, about))
                    names.append(os.listdir(here))
                elif about.st_dev == device:
                    path = "/".join([*(folder for folder, _ in above), name])
                    _clone_entry(name, about, here, there, path, seen, target)
            else:
                names.pop()
                if above:
                    here, there = _moved(here, ".."), _moved(there, "..")
                    _dress(*above.pop(), there)
    finally:
        os.close(here)
        os.close(there)


def _moved(folder: int, name: str) -> int:
    """From an open folder, which is closed, into another one."""
    found = _folder(name, folder)
    os.close(folder)
    return found


def _clone_entry(name: str, about: os.stat_result, here: int, there: int, path: str, seen: dict[int, str], top: int) -> None:
    """What is no folder. `path`: below `top`; `seen`: the first one of each file that has several."""
    kind = stat.S_IFMT(about.st_mode)
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
    elif kind == stat.S_IFIFO:
        os.mkfifo(name, dir_fd=there)
        _dress(name, about, there)
    elif kind == stat.S_IFREG and about.st_ino in seen:
        try:
            os.link(seen[about.st_ino], name, src_dir_fd=top, dst_dir_fd=there)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise BadPath(f"{name!r}: one of its other names lies too deep to be copied; keep it less deep.") from None
            raise
    elif kind == stat.S_IFREG:
        _clone_file(name, here, there, about.st_size)
        _dress(name, about, there)
        if about.st_nlink > 1:
            seen[about.st_ino] = path


def _dress(name: str, about: os.stat_result, folder: int) -> None:
    os.chmod(name, stat.S_IMODE(about.st_mode), dir_fd=folder)
    os.utime(name, ns=(about.st_atime_ns, about.st_mtime_ns), dir_fd=folder)


def _folder(name: str, above: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


def _clone_file(name: str, source: int, target: int, size: int) -> None:
    a = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source
    )  # no lease, no FIFO makes us wait
    b = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        os.ftruncate(b, size)
        at = 0
        while at < size:
            try:
                at = os.lseek(a, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole from here on
                    return
                raise
            end = os.lseek(a, at, os.SEEK_HOLE)
            os.lseek(b, at, os.SEEK_SET)
            while at < end and (sent := os.sendfile(b, a, at, end - at)):
                at += sent
            at = max(at, end)
    finally:
        os.close(a)
        os.close(b)
