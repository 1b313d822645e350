//! Key files that are written whole or not at all.

use std::ffi::{OsStr, OsString};
use std::format;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::vec::Vec;

use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::content::{ACCEPT, Content, parse};
use super::file::{read, state};
use super::generate_secret;
use super::permissions::{Readers, Rule, check_no_list, check_only_name, resemble};
use crate::error::{Error, KeyFileError};
use crate::key::{Key, Secret};
use crate::random::random;

impl Secret {
    /// Writes this secret to a new key file, which only its owner may read and write.
    ///
    /// The file appears whole or not at all. If the program or the system is stopped meanwhile, a
    /// hidden file `.<name>.<16 digits>` may stay beside it, which no directory of keys looks at.
    ///
    /// # Errors
    ///
    /// Returns [`Error::KeyFile`] if there is a file of this name, which is never replaced, or if the
    /// file cannot be written.
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("countersign-new-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # let path = directory.join("worker-7.key");
    /// use countersign::{Key, generate_secret};
    ///
    /// generate_secret()?.write_new(&path)?;
    /// let key = Key::from_file(&path)?.with_id("worker-7")?;
    /// # assert!(generate_secret()?.write_new(&path).is_err());
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_new(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let content = Content {
            first: self.as_ref(),
            accept: None,
        };
        let link = |beside: &Path| fs::hard_link(beside, path).map_err(or_exists);
        let written = write(path, &content, None, link).map_err(not_written);
        written.map_err(|error| Error::key_file(path, error))
    }
}

/// A step of the rotation of the secret in a key file, for [`Key::rotate_file`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Adds a new secret as the `accept:` line, so that a server accepts it beside the one in use.
    Add,
    /// Swaps the two secrets, so that a client uses the new one and a server accepts both.
    Promote,
    /// Removes the `accept:` line, so that a server accepts the first secret only. Right after
    /// [`Add`](Self::Add) it takes the new secret back.
    Drop,
}

impl Key {
    /// Rewrites a key file for one step of a rotation, and returns the key that it then has.
    ///
    /// The file is replaced in one step: whoever reads it finds the old content or the new, also
    /// after a crash. It keeps its owner, its group and its mode. If the system is stopped
    /// meanwhile, a hidden file `.<name>.<16 digits>` may stay beside it, which no directory of keys
    /// looks at.
    ///
    /// On Unix, root rotates another user's file only if every directory on the way belongs to root,
    /// and is sticky if others may write it. Elsewhere that user could exchange a directory
    /// meanwhile, and be given a file in another place. Run it there as the owner of the file.
    ///
    /// Access lists are not kept. On Linux a file that has one is refused, and one in a directory that
    /// gives its files one (with feature `net`). Elsewhere they are not looked at: the new file may
    /// be read by its whole group where a list left the group out.
    ///
    /// There is no lock. If a file is rotated twice at the same time, one of the two changes may be
    /// lost. The program `countersign rotate` locks the file.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`from_file`](Self::from_file), and [`Error::KeyFile`] if the file is a
    /// link or has several names, if it has an `accept:` line already or none where the step needs
    /// one, if its owner, group and permissions cannot be kept, or if it cannot be written.
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("countersign-rot-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # let path = directory.join("worker-7.key");
    /// use countersign::{Key, Rotation, generate_secret};
    ///
    /// generate_secret()?.write_new(&path)?;
    /// Key::rotate_file(&path, Rotation::Add)?; // give this file to every server
    /// Key::rotate_file(&path, Rotation::Promote)?; // and then this one to the client too
    /// let key = Key::rotate_file(&path, Rotation::Drop)?; // and in the end this one
    /// assert!(key.accepted_fingerprint().is_none());
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate_file(path: impl AsRef<Path>, step: Rotation) -> Result<Self, Error> {
        let path = path.as_ref();
        let new = generate_secret()?;
        rotate(path, step, &new).map_err(|error| Error::key_file(path, error))
    }
}

fn rotate(path: &Path, step: Rotation, new: &Secret) -> Result<Key, KeyFileError> {
    let path = &settled(path)?;
    let named = fs::symlink_metadata(path)?;
    check_only_name(&named)?;
    let file = read_named(path, &named)?;
    let Content { first, accept } = parse(&file)?;
    let content = match (step, accept) {
        (Rotation::Add, None) => Content {
            first,
            accept: Some(new.as_ref()),
        },
        (Rotation::Promote, Some(accept)) => Content {
            first: accept,
            accept: Some(first),
        },
        (Rotation::Drop, Some(_)) => Content {
            first,
            accept: None,
        },
        (Rotation::Add, Some(_)) => return Err(KeyFileError::TwoSecrets),
        (Rotation::Promote | Rotation::Drop, None) => return Err(KeyFileError::OneSecret),
    };
    let key = content.key()?;
    write(path, &content, Some(&named), |beside| {
        // What was read is what is replaced.
        if state(&fs::symlink_metadata(path)?) != state(&named) {
            return Err(KeyFileError::Changing);
        }
        Ok(fs::rename(beside, path)?)
    })
    .map_err(not_written)?;
    Ok(key)
}

/// Reads the file that `named` is about. The path may lead to another file meanwhile, whose secret must
/// not be given to the owner of this one.
fn read_named(path: &Path, named: &Metadata) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let (content, opened) = read(path, Rule::file(Readers::OwnerOnly))?;
    if state(&opened.metadata()?) != state(named) {
        return Err(KeyFileError::Changing);
    }
    check_no_list(&opened).map_err(KeyFileError::NotKept)?;
    Ok(content)
}

/// Returns a path of the same file without links on the way to its directory.
fn settled(path: &Path) -> Result<PathBuf, KeyFileError> {
    let (directory, name) = split(path)?;
    Ok(fs::canonicalize(directory)?.join(name))
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file");
    Ok((directory, path.file_name().ok_or_else(no_name)?))
}

/// Writes a file beside its place, and has it put there by `put`.
fn write(
    path: &Path,
    content: &Content<'_>,
    like: Option<&Metadata>,
    put: impl FnOnce(&Path) -> Result<(), KeyFileError>,
) -> Result<(), KeyFileError> {
    let (parent, name) = split(path)?;
    // Opened before anything is written, because afterwards it is too late to fail.
    #[cfg(unix)]
    let directory = File::open(parent)?;
    let number = random(&mut SysRng).map_err(io::Error::other)?;
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", u64::from_ne_bytes(number)));
    let beside = path.with_file_name(beside);

    let file = create(&beside)?;
    let placed = like
        .map_or(Ok(()), |like| resemble(&file, like, parent))
        .and_then(|()| fill(&file, content))
        .and_then(|()| put(&beside));
    let removed = match fs::remove_file(&beside) {
        // It was renamed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    placed?;
    removed?;
    #[cfg(unix)]
    directory.sync_all()?;
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn fill(mut file: &File, content: &Content<'_>) -> Result<(), KeyFileError> {
    file.write_all(content.first)?;
    file.write_all(b"\n")?;
    if let Some(accept) = content.accept {
        file.write_all(ACCEPT)?;
        file.write_all(accept)?;
        file.write_all(b"\n")?;
    }
    Ok(file.sync_all()?)
}

/// Tells what the system reports of a write from what it reports of a read.
fn not_written(error: KeyFileError) -> KeyFileError {
    match error {
        KeyFileError::Io(error) => KeyFileError::NotWritten(error),
        other => other,
    }
}

fn or_exists(error: io::Error) -> KeyFileError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists,
        _ => error.into(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn no_other_file_is_read_than_the_one_whose_owner_is_given_the_result() {
        let name = format!("countersign-read-named-{}", process::id());
        let (path, link) = (
            env::temp_dir().join(&name),
            env::temp_dir().join(name + "-link"),
        );
        let secret = generate_secret().expect("the system has random bytes");
        secret.write_new(&path).expect("a new file");
        std::os::unix::fs::symlink(&path, &link).expect("a new link");
        let named = |path| fs::symlink_metadata(path).expect("it is there");
        let ours = read_named(&path, &named(&path));
        let other = read_named(&link, &named(&link));
        for file in [path, link] {
            fs::remove_file(file).expect("it is there");
        }
        assert!(ours.is_ok());
        assert!(matches!(other, Err(KeyFileError::Changing)));
    }
}
