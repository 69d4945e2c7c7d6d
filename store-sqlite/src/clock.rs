//! The store's clock: the time since the machine's boot, named after the boot.
//!
//! All processes that share the file share the machine, and so the clock. A reboot changes the name, so that no
//! earlier time is ever compared with it.

use std::{fmt, sync::Arc};

use grantry::time::{Clock, StoreInstant};

use crate::hash::hash;

#[derive(Clone)]
pub(crate) struct StoreClock {
    clock_id: u64,
    clock: Arc<dyn Clock>,
}

impl StoreClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock_id: clock_id(),
            clock,
        }
    }

    pub(crate) fn now(&self) -> StoreInstant {
        StoreInstant {
            clock_id: self.clock_id,
            millis: self.clock.boot().0,
        }
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreClock(clock_id {:016x})", self.clock_id)
    }
}

/// The boot id, together with the offset of a container whose boot clock is shifted: such clocks do not compare,
/// either.
fn clock_id() -> u64 {
    match std::fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(boot) if !boot.is_empty() => {
            let offset = std::fs::read("/proc/self/timens_offsets").unwrap_or_default();
            hash(&[&boot, &offset])
        }
        // Without a boot id, processes cannot agree on a clock, and must not seem to.
        _ => {
            let mut random = [0; 8];
            let _ = getrandom::fill(&mut random);
            hash(&[&random, &std::process::id().to_le_bytes()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grantry::time::SystemClock;

    #[test]
    #[cfg(target_os = "linux")]
    fn two_handles_on_one_machine_share_the_clock() {
        let a = StoreClock::new(Arc::new(SystemClock));
        let b = StoreClock::new(Arc::new(SystemClock));
        let earlier = a.now();
        assert!(b.now().since(earlier).is_some());
    }
}
