//! The file itself: where it may be, who may read it, and whether it can be written.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::OpenError;

/// SQLite's smallest page, and so the smallest file.
const SMALLEST: u64 = 512;

/// Makes sure that the file exists, on a local disk and accessible to its owner only. Returns its absolute path.
/// Writes nothing to an existing file.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        path: path.to_owned(),
        source,
    };
    let name = path
        .file_name()
        .ok_or_else(|| not_writable(io::ErrorKind::InvalidFilename.into()))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(directory).map_err(not_writable)?;
    // Absolute, because SQLite treats a relative path that begins with "file:" as a URI.
    let directory = directory.canonicalize().map_err(not_writable)?;
    let path = directory.join(name);
    if on_network(&directory) {
        return Err(OpenError::NetworkFileSystem { path });
    }
    match create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(&path)?,
        created => created.map_err(not_writable)?,
    }
    writable(&path, &directory)?;
    Ok(path)
}

/// Where SQLite keeps the write-ahead log of a file.
pub(crate) fn log(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

#[cfg(unix)]
fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates an empty file for its owner only.
#[cfg(unix)]
pub(crate) fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?;
    Ok(())
}

#[cfg(unix)]
fn check(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = path.to_owned();
    match fs::metadata(&path) {
        Err(source) => Err(OpenError::NotWritable { path, source }),
        Ok(found) if !found.is_file() => Err(OpenError::ForeignFile { path }),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => Err(OpenError::Permissions {
            path,
            mode: found.permissions().mode() & 0o7777,
        }),
        Ok(found) => check_length(path, found.len()),
    }
}

/// SQLite would open such a file read-only and fail at the first write. It also writes two more files beside it.
#[cfg(unix)]
fn writable(path: &Path, directory: &Path) -> Result<(), OpenError> {
    use rustix::fs::{Access, access};
    for (path, wanted) in [
        (path, Access::READ_OK | Access::WRITE_OK),
        (directory, Access::WRITE_OK | Access::EXEC_OK),
    ] {
        access(path, wanted).map_err(|error| OpenError::NotWritable {
            path: path.to_owned(),
            source: error.into(),
        })?;
    }
    Ok(())
}

/// SQLite takes a few bytes for an empty file and would overwrite them. Longer files are for SQLite to judge: opening
/// and closing the file here would release the locks that this process may hold on it.
fn check_length(path: PathBuf, length: u64) -> Result<(), OpenError> {
    if (1..SMALLEST).contains(&length) {
        return Err(OpenError::Corrupt {
            path,
            detail: "too short for a SQLite file".to_owned(),
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Creates an empty file.
#[cfg(not(unix))]
pub(crate) fn create(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(())
}

#[cfg(not(unix))]
fn check(path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    match fs::metadata(&path) {
        Err(source) => Err(OpenError::NotWritable { path, source }),
        Ok(found) if !found.is_file() => Err(OpenError::ForeignFile { path }),
        Ok(found) => check_length(path, found.len()),
    }
}

#[cfg(not(unix))]
fn writable(_: &Path, _: &Path) -> Result<(), OpenError> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn on_network(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|found| is_network(found.f_type))
}

#[cfg(not(target_os = "linux"))]
fn on_network(_: &Path) -> bool {
    false
}

/// By the magic numbers of `statfs(2)`. They have 32 bits; the width of the field differs between machines.
#[cfg(target_os = "linux")]
fn is_network(kind: impl Into<i64>) -> bool {
    matches!(
        kind.into() & 0xffff_ffff,
        0x6969 // NFS
            | 0x517b // SMB
            | 0xff53_4d42 // CIFS
            | 0xfe53_4d42 // SMB 2
            | 0x5346_414f // AFS
            | 0x6b41_4653 // kAFS
            | 0x7375_7245 // Coda
            | 0x564c // NCP
            | 0x00c3_6400 // Ceph
            | 0x0bd0_0bd0 // Lustre
            | 0x0116_1970 // GFS2
            | 0x7461_636f // OCFS2
            | 0x4750_4653 // GPFS
            | 0x786f_4256 // VirtualBox shared folder
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn which_file_systems_are_refused() {
        for (kind, refused) in [
            (0x6969_i64, true),
            (0x517b, true),
            (0xff53_4d42, true),
            (0xfe53_4d42, true),
            (0xef53, false),      // ext
            (0x0102_1994, false), // tmpfs
            (0x5846_5342, false), // XFS
            (0x9123_683e, false), // btrfs
            (0x794c_7630, false), // overlayfs
        ] {
            assert_eq!(is_network(kind), refused, "{kind:x}");
        }
    }
}
