//! A queue of ordered faults, whatever they break.

/// A fault with its counts.
pub(crate) trait Counted {
    type Kind: Clone;
    fn parts(&mut self) -> (&Self::Kind, &mut u64, &mut u64);
}

/// Takes the first fault that `matches`, counting down what it skips and how often it happens.
pub(crate) fn take<F: Counted>(queue: &mut Vec<F>, matches: impl Fn(&F) -> bool) -> Option<F::Kind> {
    for index in 0..queue.len() {
        let Some(fault) = queue.get_mut(index).filter(|fault| matches(fault)) else {
            continue;
        };
        let (kind, skip, times) = fault.parts();
        if *skip > 0 {
            *skip -= 1;
            continue;
        }
        let kind = kind.clone();
        *times = times.saturating_sub(1);
        if *times == 0 {
            queue.remove(index);
        }
        return Some(kind);
    }
    None
}

// Defaults that both kinds of faults share.

pub(crate) fn once() -> u64 {
    1
}

pub(crate) fn one_second() -> u64 {
    1000
}

pub(crate) fn elsewhere() -> String {
    "https://elsewhere.invalid/".to_owned()
}
