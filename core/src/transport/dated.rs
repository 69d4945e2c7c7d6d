//! Compares the other side's clock with ours, by the `Date` header of its responses (RFC 9110 section 6.6.1).

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

/// The most hosts that are remembered.
const HOSTS: usize = 1000;

/// A transport that notes the clock of the servers that respond.
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

    /// By how much the host's clock differed from ours at its last response.
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
    use crate::time::SystemClock;

    /// Answers as a server whose clock shows this.
    #[derive(Debug)]
    struct Shows(&'static str);

    #[async_trait]
    impl Transport for Shows {
        async fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, TransportError> {
            let mut answer = http::Response::new(Bytes::new());
            answer.headers_mut().insert(DATE, self.0.parse().unwrap());
            Ok(answer)
        }
    }

    async fn skew(shown: &'static str) -> Option<Duration> {
        let dated = Dated::new(Arc::new(Shows(shown)), Arc::new(SystemClock));
        let request = http::Request::get("https://login.example:444/token").body(Vec::new());
        dated.send(request.unwrap()).await.unwrap();
        assert_eq!(dated.skew("another.example"), None);
        dated.skew("login.example:444")
    }

    #[tokio::test]
    async fn the_other_clock_is_compared_with_ours() {
        let year = Duration::from_secs(365 * 24 * 3600);
        assert!(skew("Sun, 06 Nov 1994 08:49:37 GMT").await.unwrap() > 30 * year);
        assert_eq!(skew("yesterday").await, None);
    }

    #[test]
    fn dates_are_read_as_http_writes_them() {
        assert_eq!(
            moment("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Timestamp(784_111_777_000))
        );
    }
}
