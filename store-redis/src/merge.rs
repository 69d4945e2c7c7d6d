//! One list, merged from the lists of all buckets.
//!
//! Each bucket is read in small steps, only as far as the page needs it: ids are distributed evenly, so each bucket
//! holds about the same share of a page.

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use grantry::store::StoreError;

use crate::place::Place;

/// The result of one step through a bucket, and where the next one begins; `None` at the end.
pub(crate) struct Step<T, C> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<C>,
}

/// The lists of all buckets, side by side.
pub(crate) struct Merge<T, C> {
    streams: Vec<Stream<T, C>>,
}

struct Stream<T, C> {
    bucket: Place,
    found: VecDeque<T>,
    next: Option<C>,
}

impl<T, C: Clone> Merge<T, C> {
    /// All lists, at their beginnings.
    pub(crate) fn new(buckets: impl Iterator<Item = Place>, begin: &C) -> Self {
        let streams = buckets.map(|bucket| Stream {
            bucket,
            found: VecDeque::new(),
            next: Some(begin.clone()),
        });
        Self {
            streams: streams.collect(),
        }
    }

    /// The next `wanted` items over all buckets, in order; fewer only at the end.
    pub(crate) async fn next<F>(
        &mut self,
        wanted: usize,
        comes_first: impl Fn(&T, &T) -> bool,
        step: impl Fn(Place, C, usize) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        F: Future<Output = Result<Step<T, C>, StoreError>>,
    {
        let share = match self.streams.len() {
            1 => wanted,
            many => (2 * wanted).div_ceil(many).max(4).min(wanted),
        };
        let mut items = Vec::new();
        while items.len() < wanted {
            let empty = self.streams.iter_mut().filter(|stream| stream.found.is_empty());
            let steps = empty.filter_map(|stream| {
                let begin = stream.next.clone()?;
                let bucket = stream.bucket;
                let found = step(bucket, begin, share);
                Some(async move { found.await.map(|step| (stream, step)) })
            });
            for (stream, step) in try_join_all(steps).await? {
                stream.found.extend(step.items);
                stream.next = step.next;
            }
            // No item may be taken while some bucket's next item is unknown.
            while items.len() < wanted && self.streams.iter().all(Stream::is_known) {
                let first = self.streams.iter_mut().reduce(|one, other| {
                    match (one.found.front(), other.found.front()) {
                        (Some(a), Some(b)) if comes_first(b, a) => other,
                        (None, Some(_)) => other,
                        _ => one,
                    }
                });
                match first.and_then(|stream| stream.found.pop_front()) {
                    Some(item) => items.push(item),
                    None => return Ok(items),
                }
            }
        }
        Ok(items)
    }
}

impl<T, C> Stream<T, C> {
    fn is_known(&self) -> bool {
        !self.found.is_empty() || self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However ids are distributed and however short the steps are, the merged list is the sorted one.
    #[tokio::test]
    async fn buckets_are_one_list() {
        for buckets in [1_usize, 2, 7] {
            for wanted in [1_usize, 3, 50, 200] {
                let place = |number| Place::Connections(u16::try_from(number).unwrap());
                let all: Vec<usize> = (0..100).collect();
                let mine = |bucket: Place| -> Vec<usize> {
                    let here = all.iter().filter(|n| place(*n * *n % buckets) == bucket);
                    here.copied().collect()
                };
                // A cursor is a position, and whether the next step finds nothing.
                let mut merge = Merge::new((0..buckets).map(place), &(0_usize, true));
                let mut found = Vec::new();
                loop {
                    let step = |bucket, (begin, idle): (usize, bool), share: usize| {
                        let rest: Vec<usize> = mine(bucket).into_iter().skip(begin).collect();
                        let taken = if idle { 0 } else { share.min(3) };
                        let items: Vec<usize> = rest.iter().copied().take(taken).collect();
                        let next = (rest.len() > items.len()).then_some((begin + items.len(), !idle));
                        async move { Ok(Step { items, next }) }
                    };
                    let page = merge.next(wanted, |a, b| a < b, step).await.unwrap();
                    if page.is_empty() {
                        break;
                    }
                    found.extend(page);
                }
                assert_eq!(found, all, "{buckets} buckets, {wanted} at once");
            }
        }
    }
}
