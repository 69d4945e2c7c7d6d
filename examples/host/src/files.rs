//! Files and directories that only their owner can read.

use std::{fs, io::Write as _, path::Path};

use crate::problem::Problem;

/// Creates a directory that only its owner can enter, and its parents.
pub(crate) fn make_private_dir(path: &Path) -> Result<(), Problem> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    Ok(builder.create(path)?)
}

/// Writes a file that only its owner can read. It appears complete or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Problem> {
    let part = path.with_extension("part");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&part)?.write_all(text.as_bytes())?;
    Ok(fs::rename(part, path)?)
}
