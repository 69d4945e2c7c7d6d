//! A source tree in a temporary folder, with breaches for the rules to find.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::tree::Tree;

pub(crate) struct Planted(PathBuf);

impl Planted {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("grantry-layering-{}-{number}", std::process::id());
        let mut planted = Self(std::env::temp_dir().join(folder));
        for (name, text) in files {
            planted.write(name, text);
        }
        planted
    }

    pub(crate) fn write(&mut self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self) -> Tree {
        Tree::read(&self.0)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
