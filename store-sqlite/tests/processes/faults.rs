//! Faults of the disk under one child: a shim in C, loaded before the C library, counts its calls on the store's files and
//! lets those fail that stand in a control file.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// What a call that is struck comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `ENOSPC`.
    Full,
    /// `EIO`.
    Failing,
    /// `EIO`, and reads are struck, too.
    Unreadable,
    /// The process is killed there.
    Kill,
}

impl Fault {
    fn number(self) -> u64 {
        let errno = match self {
            Self::Kill => return 0,
            Self::Full => rustix::io::Errno::NOSPC,
            Self::Failing | Self::Unreadable => rustix::io::Errno::IO,
        };
        u64::try_from(errno.raw_os_error()).unwrap()
    }
}

/// The disk of one child.
pub(crate) struct Disk {
    control: File,
    variables: Vec<(&'static str, String)>,
    _directory: TempDir,
}

impl Disk {
    /// A sound one.
    pub(crate) fn new(store: &Path) -> Self {
        let directory = TempDir::new().unwrap();
        let shim = compile(directory.path());
        let path = directory.path().join("control");
        std::fs::write(&path, [0; 40]).unwrap();
        let control = File::options().read(true).write(true).open(&path).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Self {
            control,
            variables: vec![
                ("LD_PRELOAD", text(&shim)),
                ("GRANTRY_SHIM_CONTROL", text(&path)),
                ("GRANTRY_SHIM_NAME", text(store)),
            ],
            _directory: directory,
        }
    }

    /// What the child must have in its environment.
    pub(crate) fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }

    /// Counts from 0 again, and lets the calls from `from` to before `until` be struck.
    pub(crate) fn arm(&self, fault: Fault, from: u64, until: u64) {
        // Nothing is struck while the orders change.
        self.over();
        self.write(1, from);
        self.write(3, fault.number());
        self.write(4, u64::from(fault == Fault::Unreadable));
        self.write(0, 0);
        self.write(2, until);
    }

    /// The fault is over.
    pub(crate) fn over(&self) {
        self.write(2, 0);
    }

    /// How many calls there were since it was armed.
    pub(crate) fn calls(&self) -> u64 {
        let mut count = [0; 8];
        self.control.read_exact_at(&mut count, 0).unwrap();
        u64::from_ne_bytes(count)
    }

    fn write(&self, field: u64, value: u64) {
        self.control
            .write_all_at(&value.to_ne_bytes(), 8 * field)
            .unwrap();
    }
}

fn compile(directory: &Path) -> PathBuf {
    let shim = directory.join("shim.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/shim.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&shim)
        .arg(source)
        .status()
        .unwrap();
    assert!(compiled.success(), "the shim does not compile");
    shim
}
