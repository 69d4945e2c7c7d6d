//! Query strings: unknown and repeated names are refused.

use std::borrow::Cow;

use url::form_urlencoded;

use super::param::{Param, Place};
use crate::error::{Code, Error};

/// The most pairs. No route takes nearly as many.
const MAX_PAIRS: usize = 200;

/// Decoded pairs.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads the parameters that `params` names; names are compared after decoding.
    ///
    /// # Errors
    /// `filter_unknown` for any other, `filter_duplicate`, `filter_invalid` for a bare prefix, `query_too_large`.
    pub(super) fn strict(raw: Option<&'a str>, params: &[Param]) -> Result<Self, Error> {
        let mut seen = Self(Vec::new());
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if seen.0.len() == MAX_PAIRS {
                return Err(Code::QueryTooLarge.into());
            }
            let known = params
                .iter()
                .find(|param| param.place == Place::Query && param.takes(&name));
            let known = known.ok_or(Code::FilterUnknown)?;
            if known.prefix() == Some(&*name) {
                return Err(Error::new(Code::FilterInvalid).because("metadata"));
            }
            if seen.get(&name).is_some() {
                return Err(Code::FilterDuplicate.into());
            }
            seen.0.push((name, value));
        }
        Ok(seen)
    }

    /// Reads the parameters called `names` and ignores others: third parties append theirs to links.
    ///
    /// # Errors
    /// `parameter_duplicate`.
    pub(super) fn lenient(raw: Option<&'a str>, names: &[&str]) -> Result<Self, Error> {
        let mut seen = Self(Vec::new());
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !names.contains(&&*name) {
                continue;
            }
            if seen.get(&name).is_some() {
                return Err(Code::ParameterDuplicate.into());
            }
            seen.0.push((name, value));
        }
        Ok(seen)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }

    /// Those whose names begin with `prefix`, without it.
    pub(super) fn under(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, &**value)))
    }
}

/// A whole number in plain digits.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
