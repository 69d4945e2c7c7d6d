//! The cookie that binds a connect attempt to the browser that began it.
//!
//! Each attempt has a cookie of its own, named after its state, so that any number of tabs can be connecting at once. The
//! value is a secret of 256 bits; the broker keeps a digest of it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{engine::limits::ATTEMPT_LIFE, error::Error, random};

/// Names and attributes of cookies, by the public URL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookies {
    /// Browsers accept `Secure` cookies, which `__Host-` requires, from https origins only.
    secure: bool,
}

impl Cookies {
    pub(super) fn new(public_url: &str) -> Self {
        let scheme = public_url.get(..6).unwrap_or_default();
        Self {
            secure: scheme.eq_ignore_ascii_case("https:"),
        }
    }

    /// A new binding secret, encoded for the cookie.
    pub(super) fn secret() -> Result<Zeroizing<String>, Error> {
        let bits = Zeroizing::new(random::bytes::<32>()?);
        Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bits.as_slice())))
    }

    fn name(self, state: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(b"grantry cookie\0");
        hash.update(state.as_bytes());
        let tag = BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..12]);
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}grantry-{tag}")
    }

    fn header(self, state: &str, value: &str, life: u64) -> Option<HeaderValue> {
        let name = self.name(state);
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// `Set-Cookie` at the beginning of an attempt.
    pub(super) fn set(self, state: &str, secret: &str) -> Option<HeaderValue> {
        self.header(state, secret, ATTEMPT_LIFE.as_secs())
    }

    /// `Set-Cookie` at its end.
    pub(super) fn clear(self, state: &str) -> Option<HeaderValue> {
        self.header(state, "", 0)
    }

    /// The secret that the browser sent for this attempt. Two cookies of the same name count as none: one of them was
    /// planted.
    pub(super) fn read<'a>(self, headers: &'a HeaderMap, state: &str) -> Option<&'a str> {
        let name = self.name(state);
        let lines = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok());
        let mut values = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_follow_the_public_url() {
        let secure = Cookies::new("https://app.example/integrations");
        let text = secure.set("s", "v").unwrap();
        let text = text.to_str().unwrap();
        assert!(text.starts_with("__Host-grantry-"), "{text}");
        assert!(
            text.ends_with("=v; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"),
            "{text}"
        );
        let plain = Cookies::new("http://127.0.0.1:8080").set("s", "v").unwrap();
        assert!(plain.to_str().unwrap().starts_with("grantry-"));
        assert!(!plain.to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn each_attempt_finds_its_own() {
        let cookies = Cookies::new("https://app.example");
        let (one, two) = (cookies.name("one"), cookies.name("two"));
        assert_ne!(one, two);
        let mut headers = HeaderMap::new();
        // HTTP/2 may split the header.
        headers.append(header::COOKIE, format!("sid=x; {one}=1").parse().unwrap());
        headers.append(header::COOKIE, format!("{two}=2;{two}x=3").parse().unwrap());
        assert_eq!(cookies.read(&headers, "one"), Some("1"));
        assert_eq!(cookies.read(&headers, "two"), Some("2"));
        assert_eq!(cookies.read(&headers, "three"), None);
        headers.append(header::COOKIE, format!("{one}=planted").parse().unwrap());
        assert_eq!(cookies.read(&headers, "one"), None);
    }
}
