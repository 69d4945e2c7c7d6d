//! Where a browser may be sent after connecting. Entries are registered and matched as a whole, so that no query can turn
//! the callback into an open redirector (RFC 9700 section 4.11).
//!
//! The text is checked before it is parsed: URL parsers repair mistakes, and a repaired address is not the one that was
//! reviewed and registered.

use std::fmt;

use url::{Host, Url, form_urlencoded};

use crate::error::Code;

/// The longest redirect URI, in bytes.
pub(crate) const MAX_LENGTH: usize = 2000;

/// A redirect URI in canonical form: scheme and host in lower case, no default port, `/` for an empty path.
///
/// It is https, or http on a loopback IP literal (RFC 8252 section 7.3), and has no user, fragment or dot segment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RedirectUri(Url);

impl RedirectUri {
    /// Checks an entry to be registered.
    ///
    /// # Errors
    /// [`Code::RedirectUriInvalid`] or [`Code::RedirectUriTooLong`].
    pub(crate) fn register(text: &str) -> Result<Self, Code> {
        if text.len() > MAX_LENGTH {
            return Err(Code::RedirectUriTooLong);
        }
        parse(text).ok_or(Code::RedirectUriInvalid)
    }

    /// Takes `asked` if it equals one of the registered entries: origin, path and query. An entry without a query
    /// accepts none.
    ///
    /// # Errors
    /// [`Code::RedirectUriNotAllowed`] or [`Code::RedirectUriTooLong`].
    pub(crate) fn choose<S: AsRef<str>>(registered: &[S], asked: &str) -> Result<Self, Code> {
        if asked.len() > MAX_LENGTH {
            return Err(Code::RedirectUriTooLong);
        }
        let asked = parse(asked).ok_or(Code::RedirectUriNotAllowed)?;
        if registered.iter().any(|entry| asked.matches(entry.as_ref())) {
            Ok(asked)
        } else {
            Err(Code::RedirectUriNotAllowed)
        }
    }

    /// Whether the registered entry `registered` stands for this URI.
    pub(crate) fn matches(&self, registered: &str) -> bool {
        parse(registered).is_some_and(|entry| entry == *self)
    }

    /// The canonical text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The canonical text with `parameters` added to its query.
    pub(crate) fn append(&self, parameters: &[(&str, &str)]) -> String {
        let mut text = self.0.as_str().to_owned();
        let added = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        if added.is_empty() {
            return text;
        }
        match self.0.query() {
            None => text.push('?'),
            Some("") => {}
            Some(_) => text.push('&'),
        }
        text.push_str(&added);
        text
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedirectUri({})", self.0)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn parse(text: &str) -> Option<RedirectUri> {
    if !text.bytes().all(is_plain) {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let path = tail.split('?').next().unwrap_or_default();
    if has_bad_escape(tail) || has_dot_segment(path) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(_) => false,
    };
    ((secure || loopback) && authority_is_canonical(authority, &url)).then_some(RedirectUri(url))
}

/// The characters of RFC 3986 without `#`. What a parser would drop, encode or read as a separator is not among them.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// Whether what was written as host and port is what the parser made of it: no user, no encoded or numeric spelling of
/// another host, no dot at the end.
fn authority_is_canonical(authority: &str, url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let Some((written, rest)) = authority.split_at_checked(host.len()) else {
        return false;
    };
    let port_is_plain = match rest.strip_prefix(':') {
        Some(port) => {
            matches!(port.len(), 1..=5) && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0')
        }
        None => rest.is_empty(),
    };
    written.eq_ignore_ascii_case(host) && !host.ends_with('.') && port_is_plain
}

/// A `%` without two hexadecimal digits, or an encoded control byte.
fn has_bad_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| {
        let byte = rest
            .get(..2)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_none_or(|byte| byte.is_ascii_control())
    })
}

/// A segment `.` or `..`, however it and the separators around it are encoded.
fn has_dot_segment(path: &str) -> bool {
    let decoded = path
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    decoded.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "https://app.example/done";

    /// The bad inputs R01 to R22.
    #[test]
    fn asked_against_one_entry() {
        let refused = [
            ("R02", "http://app.example/done"),
            ("R03", "https://app.example.evil.test/done"),
            ("R04", "https://evil.test/?https://app.example/done"),
            ("R05", "https://app.example@evil.test/done"),
            ("R05", "https://user:pass@app.example/done"),
            ("R05", "https://@app.example/done"),
            ("R06", "//evil.test"),
            ("R06", "//app.example/done"),
            ("R07", "/\\evil.test"),
            ("R07", "\\\\evil.test"),
            ("R07", "https:\\\\app.example\\done"),
            ("R07", "https://app.example\\done"),
            ("R08", "https:evil.test"),
            ("R08", "https:/evil.test"),
            ("R08", "https:app.example/done"),
            ("R08", "https:/app.example/done"),
            ("R08", "https:///app.example/done"),
            ("R09", "javascript:alert(1)"),
            ("R09", "javascript://app.example/done"),
            ("R09", "data:text/html,x"),
            ("R09", "file:///etc/passwd"),
            ("R10", "https://app.example:444/done"),
            ("R10", "https://app.example:/done"),
            ("R11", "https://app.example./done"),
            ("R13", "https://app.example/done/../x"),
            ("R13", "https://app.example/x/../done"),
            ("R13", "https://app.example/x/%2e%2E/done"),
            ("R13", "https://app.example/x/.%2e/done"),
            ("R13", "https://app.example/./done"),
            ("R13", "https://app.example/x%2f..%2fdone"),
            ("R14", "https://app.example/done#x"),
            ("R14", "https://app.example/done#"),
            ("R15", "https://app.example/done?x=1"),
            ("R15", "https://app.example/done?"),
            ("R16", " https://app.example/done"),
            ("R16", "https://app.example/done "),
            ("R16", "https://app.\texample/done"),
            ("R16", "https://app.example/do\r\nne"),
            ("R16", "https://app.example/done\0"),
            ("R16", "https://app.example/done%0d%0a"),
            ("R17", "https://app.example。evil.test"),
            ("R17", "https://app。example/done"),
            ("R18", "https://app%2eexample/done"),
            ("R18", "https://%61pp.example/done"),
            ("R19", "https://app\u{ad}.example/done"),
            ("R19", "https://аpp.example/done"),
            ("R21", "http://localhost:3000/cb"),
            ("R22", "http://127.0.0.1:65536/"),
            ("path", "https://app.example/done/"),
            ("path", "https://app.example/Done"),
            ("path", "https://app.example//done"),
            ("path", "https://app.example/don%65"),
            ("escape", "https://app.example/done%"),
            ("escape", "https://app.example/done%zz"),
            ("nothing", ""),
        ];
        for (row, asked) in refused {
            let answer = RedirectUri::choose(&[ENTRY], asked);
            assert_eq!(answer, Err(Code::RedirectUriNotAllowed), "{row}: {asked:?}");
        }
        let accepted = [
            ("R01", ENTRY),
            ("R12", "HTTPS://APP.EXAMPLE/done"),
            ("R12", "https://app.example:443/done"),
        ];
        for (row, asked) in accepted {
            assert_eq!(
                RedirectUri::choose(&[ENTRY], asked).unwrap().as_str(),
                ENTRY,
                "{row}"
            );
        }
        let long = format!("{ENTRY}?{}", "x".repeat(9000));
        assert_eq!(
            RedirectUri::choose(&[ENTRY], &long),
            Err(Code::RedirectUriTooLong),
            "R20"
        );
    }

    /// S09: whatever is requested, the browser is sent to a registered entry or nowhere.
    #[test]
    fn mangled_entries_lead_nowhere_else() {
        const PIECES: [&str; 24] = [
            "/",
            "\\",
            "//",
            "@",
            ":",
            "?",
            "#",
            "%",
            "%2f",
            "%2e",
            "%00",
            ".",
            "..",
            "\t",
            "\n",
            " ",
            "evil.test",
            "a",
            "H",
            "443",
            "https:",
            "é",
            "。",
            "\u{ad}",
        ];
        let mut seed = 0x9e37_79b9_u32;
        let mut next = |bound: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed as usize % bound
        };
        let mut accepted = 0;
        for _ in 0..100_000 {
            let mut asked: Vec<char> = ENTRY.chars().collect();
            for _ in 0..=next(3) {
                let (at, piece) = (next(asked.len() + 1), PIECES[next(PIECES.len())]);
                let removed = next(3).min(asked.len() - at);
                asked.splice(at..at + removed, piece.chars());
            }
            let asked: String = asked.into_iter().collect();
            if let Ok(uri) = RedirectUri::choose(&[ENTRY], &asked) {
                assert_eq!(uri.as_str(), ENTRY, "{asked:?}");
                accepted += 1;
            }
        }
        // Some pieces change nothing, such as a capital in the host.
        assert!((1..1000).contains(&accepted), "{accepted}");
    }

    #[test]
    fn entries_match_themselves_only() {
        let entries = [
            "https://app.example/",
            "https://app.example/?x=1",
            "https://app.example/done",
            "https://app.example/done?x=1",
            "https://app.example/done?x=1&y=2",
            "https://app.example:8443/done",
            "https://127.0.0.1/done",
            "http://127.0.0.1:3000/done",
            "http://127.0.0.2:3000/done",
            "http://[::1]:3000/done",
        ];
        for asked in entries {
            let asked = RedirectUri::register(asked).unwrap();
            let count = entries.iter().filter(|entry| asked.matches(entry)).count();
            assert_eq!(count, 1, "{asked}");
        }
        // An entry without a path is the entry with `/`, and an entry that is damaged matches nothing.
        assert!(RedirectUri::choose(&["https://app.example"], "https://app.example/").is_ok());
        assert!(RedirectUri::choose(&["not a url"], "not a url").is_err());
        assert!(RedirectUri::choose::<&str>(&[], ENTRY).is_err());
    }

    #[test]
    fn what_cannot_be_registered() {
        let invalid = [
            "http://app.example/done",
            "http://localhost/done",
            "http://10.0.0.1/done",
            "http://0.0.0.0/done",
            "http://0x7f.1/done",
            "http://2130706433/done",
            "http://127.1/done",
            "http://[::ffff:127.0.0.1]/done",
            "https://app.example./done",
            "https://app.example/done#x",
            "https://user@app.example/done",
            "https://app.example:0/done",
            "https://app.example:065/done",
            "https://app.example:+65/done",
            "https:///done",
            "https://?x",
            "https://app.example/<script>",
            "https://app.example/{id}",
            "ftp://app.example/done",
            "app.example/done",
            "",
        ];
        for text in invalid {
            assert_eq!(
                RedirectUri::register(text),
                Err(Code::RedirectUriInvalid),
                "{text:?}"
            );
        }
        let at_limit = format!("https://app.example/{}", "x".repeat(MAX_LENGTH - 20));
        assert!(RedirectUri::register(&at_limit).is_ok());
        assert_eq!(
            RedirectUri::register(&(at_limit + "x")),
            Err(Code::RedirectUriTooLong)
        );
    }

    #[test]
    fn parameters_are_added_behind_what_is_there() {
        let add = |uri: &str| {
            let parameters = [("connection_id", "con_1"), ("error_description", "a b&c=d#é")];
            RedirectUri::register(uri).unwrap().append(&parameters)
        };
        let added = "connection_id=con_1&error_description=a+b%26c%3Dd%23%C3%A9";
        assert_eq!(
            add("https://app.example/done"),
            format!("https://app.example/done?{added}")
        );
        assert_eq!(
            add("https://app.example?x=1"),
            format!("https://app.example/?x=1&{added}")
        );
        assert_eq!(
            add("https://app.example/?"),
            format!("https://app.example/?{added}")
        );
        let plain = RedirectUri::register(ENTRY).unwrap();
        assert_eq!(plain.append(&[]), ENTRY);
    }
}
