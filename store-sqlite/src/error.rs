//! Errors of opening a file, and how SQLite errors map to [`StoreError`].

use std::{io, path::PathBuf};

use grantry::store::{StoreError, StoreErrorKind};
use rusqlite::{ErrorCode, ffi};

/// Why a file could not be opened or copied. A file that is not ours was not written to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The linked SQLite has a known bug that corrupts files.
    #[error(
        "SQLite {found} can corrupt a file that several connections write; build with SQLite 3.51.3 or newer"
    )]
    SqliteTooOld {
        /// The linked version.
        found: &'static str,
    },
    /// The file is not on a local disk.
    #[error(
        "{path} is on a network file system, where SQLite's shared memory does not work; put it on a local disk"
    )]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error("{path} cannot be written; let this user write the file and its directory ({source})")]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's message.
        source: io::Error,
    },
    /// Users other than the owner may read or write the file.
    #[error("{path} has mode {mode:04o}, so that others can reach the tokens in it; run: chmod 600 on it")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file belongs to another program.
    #[error("{path} is not a Grantry store; give the path of a store or of a file that does not exist yet")]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A newer release wrote the file.
    #[error("{path} has schema {found}, but this release knows schemas up to {known}; use a newer release")]
    SchemaTooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this release knows.
        known: i64,
    },
    /// The file is damaged, or is not a SQLite file.
    #[error(
        "{path} is damaged or is no store; keep it for inspection and restore a backup beside it ({detail})"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A SQLite failure that may be temporary.
    #[error(
        "{path} could not be opened now; check that the disk has room and that no program holds the file ({detail})"
    )]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        detail: String,
    },
}

impl OpenError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SqliteTooOld { .. } => "sqlite_too_old",
            Self::NetworkFileSystem { .. } => "sqlite_network_fs",
            Self::NotWritable { .. } => "sqlite_not_writable",
            Self::Permissions { .. } => "sqlite_permissions",
            Self::ForeignFile { .. } => "sqlite_foreign_file",
            Self::SchemaTooNew { .. } => "schema_too_new",
            Self::Corrupt { .. } => "store_corrupt",
            Self::Unavailable { .. } => "sqlite_unavailable",
        }
    }

    pub(crate) fn from_driver(path: PathBuf, error: &rusqlite::Error) -> Self {
        let detail = Failure::of(error).to_string();
        match (kind(error), error.sqlite_error_code()) {
            (_, Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied)) => Self::NotWritable {
                path,
                source: io::Error::from(io::ErrorKind::ReadOnlyFilesystem),
            },
            (StoreErrorKind::Unavailable, _) => Self::Unavailable { path, detail },
            _ => Self::Corrupt { path, detail },
        }
    }
}

/// A driver error reduced to its code and SQLite's own text for that. The driver's text is dropped, because it can
/// quote SQL, search terms or values.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    code: Option<i32>,
}

impl Failure {
    fn of(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|e| e.extended_code);
        Self { code }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "SQLite error {code}: {}", ffi::code_to_str(code)),
            None => f.write_str("a row does not have the expected form"),
        }
    }
}

impl std::error::Error for Failure {}

/// The error of `operation` as the engine sees it.
pub(crate) fn store_error(operation: &'static str, error: &rusqlite::Error) -> StoreError {
    StoreError::new(kind(error), operation, Failure::of(error))
}

pub(crate) fn kind(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::Error as E;
    match error {
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..)
        | E::QueryReturnedNoRows => StoreErrorKind::Corrupt,
        _ => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Corrupt,
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::OperationInterrupted
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::PermissionDenied,
            ) => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Invalid,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("near \"secret@example.com\"".into()))
    }

    #[test]
    fn every_failure_has_a_kind() {
        use StoreErrorKind::{Corrupt, Invalid, Unavailable};
        let cases = [
            (ffi::SQLITE_BUSY, Unavailable),
            (ffi::SQLITE_BUSY_SNAPSHOT, Unavailable),
            (ffi::SQLITE_LOCKED, Unavailable),
            (ffi::SQLITE_FULL, Unavailable),
            (ffi::SQLITE_IOERR, Unavailable),
            (ffi::SQLITE_IOERR_FSYNC, Unavailable),
            (ffi::SQLITE_CANTOPEN, Unavailable),
            (ffi::SQLITE_READONLY, Unavailable),
            (ffi::SQLITE_NOMEM, Unavailable),
            (ffi::SQLITE_PROTOCOL, Unavailable),
            (ffi::SQLITE_CORRUPT, Corrupt),
            (ffi::SQLITE_CORRUPT_VTAB, Corrupt),
            (ffi::SQLITE_NOTADB, Corrupt),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Invalid),
            (ffi::SQLITE_MISUSE, Invalid),
            (ffi::SQLITE_TOOBIG, Invalid),
            (ffi::SQLITE_ERROR, Invalid),
        ];
        for (code, expected) in cases {
            let error = store_error("test", &failure(code));
            assert_eq!(error.kind(), expected, "{code}");
            assert_eq!(error.operation(), "test");
        }
        let unreadable =
            rusqlite::Error::InvalidColumnType(0, "secret@example.com".into(), rusqlite::types::Type::Null);
        assert_eq!(store_error("test", &unreadable).kind(), Corrupt);
    }

    #[test]
    fn no_text_of_the_driver_gets_through() {
        use std::error::Error as _;
        let error = store_error("test", &failure(ffi::SQLITE_ERROR));
        let source = error.source().unwrap();
        for text in [format!("{error} {error:?}"), format!("{source} {source:?}")] {
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn an_open_error_says_what_to_do() {
        let path = PathBuf::from("x.db");
        let error = OpenError::from_driver(path.clone(), &failure(ffi::SQLITE_NOTADB));
        assert_eq!(error.code(), "store_corrupt");
        assert!(error.to_string().contains("restore a backup"), "{error}");
        let error = OpenError::from_driver(path.clone(), &failure(ffi::SQLITE_READONLY));
        assert_eq!(error.code(), "sqlite_not_writable");
        let error = OpenError::from_driver(path, &failure(ffi::SQLITE_BUSY));
        assert_eq!(error.code(), "sqlite_unavailable");
    }
}
