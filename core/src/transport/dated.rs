//! Compares the other side's clock with ours, by the `Date` header of whatever it answers (RFC 9110 section 6.6.1).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::DATE;

use crate::{
    provider::{Transport, TransportError},
    time::{Clock, Timestamp},
};

/// Hosts that are remembered.
const HOSTS: usize = 1000;

/// A transport that looks at the clock of whoever answers.
#[derive(Debug)]
pub(crate) struct Dated {
    inner: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    skews: Mutex<BTreeMap<String, Duration>>,
}

impl Dated {
    pub(crate) fn new(inner: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            clock,
            skews: Mutex::default(),
        }
    }

    /// By how much the host's clock differed from ours when it answered last.
    pub(crate) fn skew(&self, authority: &str) -> Option<Duration> {
        let skews = self.skews.lock().unwrap_or_else(PoisonError::into_inner);
        skews.get(authority).copied()
    }

    fn note(&self, authority: &str, answer: &http::Response<Bytes>) {
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(moment) else {
            return;
        };
        let ours = self.clock.wall();
        let skew = theirs.until(ours).max(ours.until(theirs));
        let mut skews = self.skews.lock().unwrap_or_else(PoisonError::into_inner);
        if skews.len() >= HOSTS && !skews.contains_key(authority) {
            skews.clear();
        }
        skews.insert(authority.to_owned(), skew);
    }
}

fn moment(date: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(Timestamp(date.timestamp().as_millisecond()))
}

#[async_trait]
impl Transport for Dated {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, TransportError> {
        let authority = request.uri().authority().map(|a| a.as_str().to_owned());
        let answer = self.inner.send(request).await?;
        if let Some(authority) = authority {
            self.note(&authority, &answer);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_http_writes_them() {
        assert_eq!(
            moment("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Timestamp(784_111_777_000))
        );
        assert_eq!(moment("yesterday"), None);
    }
}
