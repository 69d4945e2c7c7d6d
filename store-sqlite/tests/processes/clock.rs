//! The machine's clocks plus what a test has stepped them by. The sum stands in a file, so that all processes see a step
//! at the same moment, those that are stopped included: as if the time had passed for all of them.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path, sync::Arc, time::Duration};

use grantry::time::{BootInstant, Clock, SystemClock, Timestamp};

#[derive(Clone, Debug)]
pub(crate) struct SharedClock(Arc<File>);

impl SharedClock {
    pub(crate) fn create(path: &Path) -> Self {
        std::fs::write(path, 0_u64.to_le_bytes()).unwrap();
        Self::open(path)
    }

    pub(crate) fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Self(Arc::new(file))
    }

    pub(crate) fn step(&self, by: Duration) {
        let ahead = self.ahead() + by;
        let millis = u64::try_from(ahead.as_millis()).unwrap();
        self.0.write_all_at(&millis.to_le_bytes(), 0).unwrap();
    }

    fn ahead(&self) -> Duration {
        let mut millis = [0; 8];
        self.0.read_exact_at(&mut millis, 0).unwrap();
        Duration::from_millis(u64::from_le_bytes(millis))
    }
}

impl Clock for SharedClock {
    fn wall(&self) -> Timestamp {
        SystemClock.wall() + self.ahead()
    }

    fn boot(&self) -> BootInstant {
        SystemClock.boot() + self.ahead()
    }

    fn wall_coarse(&self) -> Timestamp {
        self.wall()
    }

    fn tick(&self) -> u64 {
        SystemClock.tick()
    }
}
