//! Who may read, write and own key files.

use std::fs::Metadata;
use std::path::Path;

use crate::error::KeyFileError;

/// Who may read a key file besides its owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    OwnerOnly,
    Anybody,
}

/// What a key file must be like. On systems other than Unix nothing is checked.
#[derive(Clone, Copy)]
#[cfg_attr(not(unix), expect(dead_code, reason = "nothing is checked"))]
pub(super) struct Rule {
    pub(super) readers: Readers,
    /// The owner of the directory of keys, if there is one. A file in it, and each link to it, must
    /// belong to this user or to root.
    pub(super) directory: Option<u32>,
}

impl Rule {
    /// The rule for a file that is no part of a directory of keys.
    pub(super) fn file(readers: Readers) -> Self {
        Self {
            readers,
            directory: None,
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::collections::VecDeque;
    use std::ffi::OsString;
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::{MetadataExt, fchown};
    use std::path::{Component, PathBuf};

    use super::{KeyFileError, Metadata, Path, Readers, Rule};

    const ROOT: u32 = 0;
    /// As many links as Linux follows in a path.
    const MAX_LINKS: usize = 40;

    impl Rule {
        /// Checks an opened file.
        pub(in super::super) fn check(self, file: &Metadata) -> Result<(), KeyFileError> {
            let (mode, owner) = (file.mode() & 0o7777, file.uid());
            // A credential of systemd belongs to root, and shows the mask of its access list as the
            // permissions of its group. So does a file of root with the group that Kubernetes sets.
            let most = match self.readers {
                Readers::OwnerOnly if owner == ROOT => 0o640,
                Readers::OwnerOnly => 0o600,
                Readers::Anybody => 0o644,
            };
            let allowed = (mode & most) | 0o400;
            check_writers(file, allowed)?;
            self.check_owner(file)?;
            if mode & !most & 0o044 != 0 {
                return Err(KeyFileError::Readable {
                    mode,
                    owner,
                    allowed,
                });
            }
            Ok(())
        }

        /// Checks each link on the way from an entry of the directory to its file.
        pub(in super::super) fn check_links(self, entry: &Path) -> Result<(), KeyFileError> {
            let (Some(directory), Some(name)) = (entry.parent(), entry.file_name()) else {
                return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
            };
            // `at` is never reached through a link, so that `..` can be taken literally.
            let mut at = fs::canonicalize(directory)?;
            let mut rest = VecDeque::from([OsString::from(name)]);
            let mut links = 0;
            while let Some(name) = rest.pop_front() {
                if name == ".." {
                    at.pop();
                    continue;
                }
                let next = at.join(&name);
                let metadata = fs::symlink_metadata(&next)?;
                if !metadata.is_symlink() {
                    at = next;
                    continue;
                }
                self.check_owner(&metadata)?;
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many links lead to it").into());
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for part in target.components().rev() {
                    if matches!(part, Component::Normal(_) | Component::ParentDir) {
                        rest.push_front(OsString::from(part.as_os_str()));
                    }
                }
            }
            Ok(())
        }

        pub(in super::super) fn check_owner(self, metadata: &Metadata) -> Result<(), KeyFileError> {
            let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
            match self.directory {
                Some(expected) if owner != ROOT && owner != expected => Err(KeyFileError::Owner {
                    mode,
                    owner,
                    expected,
                }),
                _ => Ok(()),
            }
        }
    }

    /// Checks that nobody but the owner may write a directory.
    pub(in super::super) fn check_directory(directory: &Metadata) -> Result<(), KeyFileError> {
        check_writers(directory, (directory.mode() & 0o7755) | 0o500)
    }

    fn check_writers(metadata: &Metadata, allowed: u32) -> Result<(), KeyFileError> {
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        if mode & 0o022 != 0 {
            return Err(KeyFileError::Writable {
                mode,
                owner,
                allowed,
            });
        }
        Ok(())
    }

    /// Checks a directory whose links lead to the files. Others may write it only if its sticky bit
    /// keeps them from replacing what is not theirs.
    pub(in super::super) fn check_mount(metadata: &Metadata) -> Result<(), KeyFileError> {
        if metadata.mode() & 0o1000 != 0 {
            return Ok(());
        }
        check_directory(metadata)
    }

    /// Checks that a file can be replaced under this name: no other name leads to it.
    pub(in super::super) fn check_only_name(named: &Metadata) -> Result<(), KeyFileError> {
        if named.is_symlink() || (named.is_file() && named.nlink() > 1) {
            return Err(KeyFileError::Linked);
        }
        Ok(())
    }

    /// Gives a new file in this directory the owner, the group and the permissions of another.
    pub(in super::super) fn resemble(
        file: &File,
        other: &Metadata,
        directory: &Path,
    ) -> Result<(), KeyFileError> {
        let copied = || {
            if file.metadata()?.uid() != other.uid() {
                check_way(directory)?;
            }
            // First the owner, because a change of owner removes permissions.
            fchown(file, Some(other.uid()), Some(other.gid()))?;
            file.set_permissions(other.permissions())?;
            check_no_list(file)?;
            file.metadata()
        };
        let same = |new: &Metadata| {
            (new.uid(), new.gid(), new.mode()) == (other.uid(), other.gid(), other.mode())
        };
        match copied() {
            Ok(new) if same(&new) => Ok(()),
            Ok(_) => Err(KeyFileError::NotKept(io::Error::new(
                io::ErrorKind::Unsupported,
                "its file system gives new files others; write a new file in its place",
            ))),
            Err(error) => Err(KeyFileError::NotKept(error)),
        }
    }

    /// Checks that a file has no access list (POSIX). It would not be kept, and the permissions of the
    /// group show its mask: without it they would let the group read. A new file may have one that its
    /// directory gives.
    #[cfg(all(target_os = "linux", feature = "net"))]
    pub(in super::super) fn check_no_list(file: &File) -> io::Result<()> {
        use rustix::io::Errno;

        match rustix::fs::fgetxattr(file, "system.posix_acl_access", &mut [0; 1]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Ok(_) | Err(Errno::RANGE) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "an access list gives others access; remove it with setfacl -b, and that of its \
                 directory with setfacl -k",
            )),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(all(target_os = "linux", feature = "net")))]
    #[expect(clippy::unnecessary_wraps, reason = "the twin on Linux checks")]
    pub(in super::super) fn check_no_list(_: &File) -> io::Result<()> {
        Ok(())
    }

    /// Checks that nobody but root can exchange a directory on a way without links. In a sticky
    /// directory only the owner of an entry can.
    fn check_way(directory: &Path) -> io::Result<()> {
        for at in directory.ancestors() {
            let metadata = fs::symlink_metadata(at)?;
            let shared = metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0;
            if metadata.uid() != ROOT || shared {
                let error = "others than root can exchange a directory on the way to it";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, error));
            }
        }
        Ok(())
    }

    pub(in super::super) fn owner(metadata: &Metadata) -> u32 {
        metadata.uid()
    }

    pub(in super::super) fn identity(metadata: &Metadata) -> (u64, u64) {
        (metadata.dev(), metadata.ino())
    }
}

#[cfg(not(unix))]
mod other {
    use std::fs::File;

    use super::{KeyFileError, Metadata, Path, Rule};

    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the twin on Unix checks"
    )]
    impl Rule {
        pub(in super::super) fn check(self, _: &Metadata) -> Result<(), KeyFileError> {
            Ok(())
        }

        pub(in super::super) fn check_links(self, _: &Path) -> Result<(), KeyFileError> {
            Ok(())
        }

        pub(in super::super) fn check_owner(self, _: &Metadata) -> Result<(), KeyFileError> {
            Ok(())
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin on Unix checks")]
    pub(in super::super) fn check_directory(_: &Metadata) -> Result<(), KeyFileError> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin on Unix checks")]
    pub(in super::super) fn check_mount(_: &Metadata) -> Result<(), KeyFileError> {
        Ok(())
    }

    pub(in super::super) fn check_only_name(named: &Metadata) -> Result<(), KeyFileError> {
        if named.is_symlink() {
            return Err(KeyFileError::Linked);
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin on Linux checks")]
    pub(in super::super) fn check_no_list(_: &File) -> std::io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin on Unix copies")]
    pub(in super::super) fn resemble(_: &File, _: &Metadata, _: &Path) -> Result<(), KeyFileError> {
        Ok(())
    }

    pub(in super::super) fn owner(_: &Metadata) -> u32 {
        0
    }

    pub(in super::super) fn identity(_: &Metadata) -> (u64, u64) {
        (0, 0)
    }
}

#[cfg(not(unix))]
pub(super) use other::{
    check_directory, check_mount, check_no_list, check_only_name, identity, owner, resemble,
};
#[cfg(unix)]
pub(super) use unix::{
    check_directory, check_mount, check_no_list, check_only_name, identity, owner, resemble,
};
