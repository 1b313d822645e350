"""Key files and key directories, as section 3 of PROTOCOL.md has them.

This yields secrets and knows nothing of what they are used for.  Owners and
modes are checked where the system has them.
"""

import os
import stat
import time
from collections import namedtuple
from contextlib import contextmanager

MAX_FILE = 65536
SUFFIX = b".key"
ACCEPT = b"accept:"

# A file that changes is read again, up to this often.  One that changed less
# than AT_REST seconds ago may still be written: timestamps have the
# granularity of a kernel tick.
ATTEMPTS = 50
AT_REST = 0.02

ROOT = 0
HAS_OWNERS = hasattr(os, "getuid")


class KeyFileError(Exception):
    """A key file is refused.  It shows the path, escaped, and no content."""

    def __init__(self, path, reason):
        super().__init__("%s: %s" % (printable(os.fsencode(path)), reason))
        self.path = path


class Malformed(ValueError):
    """What was found in the content of a key file, at which offset."""

    def __init__(self, found, offset):
        super().__init__("at byte %d it has: %s" % (offset, found))
        self.found = found
        self.offset = offset


# The first secret, and the accepted one or None.
Secrets = namedtuple("Secrets", "first accepted")


def printable(data):
    """Names may come from strangers: only plain ASCII reaches a terminal."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7f and byte != 0x5c
        else "\\x%02x" % byte for byte in data)


@contextmanager
def naming(path):
    """Puts the path into the errors that are raised here."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KeyFileError(path, reason) from error


# Content

SIGNATURES = ((b"\xef\xbb\xbf", "byte order mark"), (b"\xff\xfe", "utf-16"),
              (b"\xfe\xff", "utf-16"), (b"-----BEGIN", "pem"))


def parse(content):
    """The secrets of a key file."""
    for signature, found in SIGNATURES:
        if content.startswith(signature):
            raise Malformed(found, 0)
    first, second_at = _line(content, 0)
    if ACCEPT in first:
        raise Malformed("accept first", first.index(ACCEPT))
    _check(first, 0)
    if second_at == len(content):
        return Secrets(first, None)

    second, third_at = _line(content, second_at)
    if not second:
        raise Malformed("empty line", second_at)
    if not second.startswith(ACCEPT):
        raise Malformed("second line", second_at)
    accepted = second[len(ACCEPT):]
    _check(accepted, second_at + len(ACCEPT))
    if third_at != len(content):
        raise Malformed("third line", third_at)
    return Secrets(first, accepted)


def _line(content, start):
    """The line that starts here, without LF or CRLF, and the next start."""
    end = content.find(b"\n", start)
    if end < 0:
        return content[start:], len(content)
    line = content[start:end]
    return line[:-1] if line.endswith(b"\r") else line, end + 1


def _check(secret, offset):
    if not secret:
        raise Malformed("nothing", offset)
    for at, byte in enumerate(secret, offset):
        if not 0x21 <= byte <= 0x7e:
            raise Malformed(_invalid(byte), at)


def _invalid(byte):
    if byte == 0:
        return "nul"
    if byte in b" \t":
        return "space"
    return "control" if byte <= 0x7f else "not ascii"


# One file

def read_file(path, shared=False, owners=None):
    """The secrets of the key file at this path.

    ``shared`` permits a file that anybody may read.  ``owners`` are the users
    who may own it, if that matters.
    """
    with naming(path):
        return parse(_read_at_rest(path, shared, owners))


def _read_at_rest(path, shared, owners):
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(AT_REST / 4)
        with _open_regular(path) as file:
            before = os.fstat(file.fileno())
            _require_regular(before)
            _check_permissions(before, shared)
            _check_owner(before, owners)
            content = file.read(MAX_FILE + 1)
            after = os.fstat(file.fileno())
        if len(content) > MAX_FILE:
            raise ValueError("it has more than %d bytes" % MAX_FILE)
        if (_state(before) == _state(after) and len(content) == after.st_size
                and abs(time.time() - after.st_mtime) >= AT_REST):
            return content
    raise ValueError("it kept changing; write a new file beside it and "
                     "rename that")


def _open_regular(path):
    # Opening a FIFO waits for a writer, and opening a device may do anything.
    # The flag covers a file that is replaced by a FIFO at this very moment.
    _require_regular(os.stat(path))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(
        os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.fdopen(os.open(path, flags), "rb", buffering=0)


def _require_regular(status):
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")


def _state(status):
    return (status.st_dev, status.st_ino, status.st_size,
            status.st_mtime_ns, status.st_ctime_ns)


def _check_writers(status):
    if HAS_OWNERS and status.st_mode & 0o022:
        raise ValueError("others than its owner may write it (mode %04o); "
                         "chmod go-w" % stat.S_IMODE(status.st_mode))


def _check_permissions(status, shared):
    _check_writers(status)
    # systemd and Kubernetes provide files of root that a group may read.
    group = 0 if status.st_uid == ROOT else 0o040
    if HAS_OWNERS and not shared and status.st_mode & (group | 0o004):
        raise ValueError("others than its owner may read it (mode %04o); "
                         "chmod %s-r" % (stat.S_IMODE(status.st_mode),
                                         "go" if group else "o"))


def _check_owner(status, owners):
    if HAS_OWNERS and owners is not None and status.st_uid not in owners:
        raise ValueError("it belongs to user %d, and neither to root nor to "
                         "the owner of the directory" % status.st_uid)


# Directories

def read_directory(path, shared=False):
    """The key files of a directory: (secrets by key id, errors by key id,
    errors about names that cannot be key ids).

    An error about the directory itself is raised.
    """
    for _ in range(ATTEMPTS):
        with naming(path):
            files, owners, identity = _resolve(path)
            error = None
            try:
                result = _read_entries(files, owners, shared)
            except OSError as failure:
                error = failure
            # A version that was replaced may be removed while it is read.
            if _resolve(path)[::2] == (files, identity):
                if error:
                    raise error
                return result
    raise KeyFileError(path, "it kept changing")


def _resolve(path):
    """Where the files are, and who may own them.

    A mounted Kubernetes secret has them behind a link, ``..data``.  Anybody
    may write the mount, so the owner of the link says who made it.
    """
    directory = os.path.realpath(os.fsencode(path))
    data = os.path.join(directory, b"..data")
    if os.path.islink(data):
        mount = os.stat(directory)
        if not mount.st_mode & stat.S_ISVTX:
            _check_writers(mount)
        owners = {ROOT, mount.st_uid}
        _check_owner(os.lstat(data), owners)
        directory = os.path.realpath(data)
        _check_owner(os.stat(directory), owners)
    status = os.stat(directory)
    _check_writers(status)
    return directory, {ROOT, status.st_uid}, (status.st_dev, status.st_ino)


def _read_entries(directory, owners, shared):
    secrets, errors, names = {}, {}, []
    for name in os.listdir(directory):
        if not name.endswith(SUFFIX) or name.startswith(b"."):
            continue
        path = os.path.join(directory, name)
        key_id = name[:-len(SUFFIX)]
        if len(key_id) > 64:
            names.append(KeyFileError(path, "the name is no key id: it has "
                                      "more than 64 bytes"))
            continue
        try:
            with naming(path):
                _check_links(path, owners)
            secrets[key_id] = read_file(path, shared, owners)
        except KeyFileError as error:
            # A file may be removed after the directory was read.
            if os.path.lexists(path):
                errors[key_id] = error
    return secrets, errors, names


def _check_links(path, owners):
    """Whoever owns a link on the way to a file decides which file it is."""
    if not HAS_OWNERS:
        return
    done, rest, links = b"/", path.split(b"/"), 0
    while rest:
        part = rest.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        status = os.lstat(here)
        if not stat.S_ISLNK(status.st_mode):
            done = here
            continue
        _check_owner(status, owners)
        links += 1
        if links > 40:
            raise ValueError("too many links lead to it")
        target = os.readlink(here)
        done = b"/" if target.startswith(b"/") else done
        rest = target.split(b"/") + rest
