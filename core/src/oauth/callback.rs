//! The parameters that the browser brings back (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207).

use std::{borrow::Cow, fmt};

use url::form_urlencoded;

use super::State;
use crate::{
    error::Code,
    provider::{AuthorizeError, ProviderFacts},
    secret::Secret,
};

/// The most parameters that are read. Unknown ones are ignored.
pub(crate) const MAX_PARAMETERS: usize = 32;
/// The longest code, in bytes.
pub(crate) const MAX_CODE: usize = 2048;

/// A well-formed callback. Nothing in it is trusted until its state is found and matched to its user.
#[derive(Debug)]
pub enum Callback {
    /// The provider gave a code.
    Code {
        /// `state`.
        state: State,
        /// `code`.
        code: Secret,
        /// `iss`, decoded.
        issuer: Option<String>,
    },
    /// The provider refused.
    Error {
        /// `state`; some refusals come without one.
        state: Option<State>,
        /// `error`, to be judged by [`ErrorText::meaning`].
        error: ErrorText,
        /// `iss`, decoded.
        issuer: Option<String>,
    },
}

impl Callback {
    /// Reads the raw query of a callback, without its `?`. Names are compared after decoding, and a parameter without a
    /// value counts as left out (RFC 6749 section 3.1).
    ///
    /// # Errors
    /// One of [`Code::CallbackTooManyParameters`], [`Code::CallbackDuplicateParameter`], [`Code::CallbackConflicting`],
    /// [`Code::ImplicitNotSupported`], [`Code::CallbackMissingState`], [`Code::StateMalformed`],
    /// [`Code::CallbackMissingCode`], [`Code::CodeMalformed`] and [`Code::IssuerMismatch`].
    pub fn parse(query: &str) -> Result<Self, Code> {
        let Parameters {
            state,
            code,
            error,
            issuer,
        } = Parameters::read(query)?;
        if code.is_some() && error.is_some() {
            return Err(Code::CallbackConflicting);
        }
        let state = state.map(|text| State::parse(&text)).transpose()?;
        // No issuer is that long, so it cannot match.
        if issuer.as_ref().is_some_and(|issuer| issuer.len() > MAX_CODE) {
            return Err(Code::IssuerMismatch);
        }
        let issuer = issuer.map(Cow::into_owned);
        if let Some(error) = error {
            return Ok(Self::Error {
                state,
                error: ErrorText::new(&error),
                issuer,
            });
        }
        let state = state.ok_or(Code::CallbackMissingState)?;
        let code = code.ok_or(Code::CallbackMissingCode)?;
        if code.len() > MAX_CODE || !code.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Code::CodeMalformed);
        }
        Ok(Self::Code {
            state,
            code: Secret::new(code),
            issuer,
        })
    }

    /// The state, if one came.
    pub fn state(&self) -> Option<&State> {
        match self {
            Self::Code { state, .. } => Some(state),
            Self::Error { state, .. } => state.as_ref(),
        }
    }

    /// Compares the issuer, if one came, with the expected one, byte for byte (RFC 9207 section 2.4). A provider without a
    /// known issuer has nothing to compare.
    ///
    /// # Errors
    /// [`Code::IssuerMismatch`].
    pub fn check_issuer(&self, asked: Option<&str>) -> Result<(), Code> {
        let (Self::Code { issuer, .. } | Self::Error { issuer, .. }) = self;
        match (issuer.as_deref(), asked) {
            (Some(came), Some(asked)) if came != asked => Err(Code::IssuerMismatch),
            _ => Ok(()),
        }
    }
}

/// The `error` of a callback. Anyone can write a callback's URL, so the text is never shown: only its meaning is passed on.
pub struct ErrorText(String);

impl ErrorText {
    /// The longest text that can have a meaning, in bytes.
    const MAX: usize = 64;

    fn new(text: &str) -> Self {
        Self(if text.len() > Self::MAX { "" } else { text }.to_owned())
    }

    /// Its meaning, by the standards or by the provider's own codes.
    pub fn meaning(&self, provider: &ProviderFacts) -> AuthorizeError {
        AuthorizeError::parse(&self.0, &provider.authorize_errors)
    }
}

impl fmt::Debug for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorText").finish_non_exhaustive()
    }
}

/// The known parameters, decoded; never empty.
#[derive(Default)]
struct Parameters<'a> {
    state: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Self, Code> {
        if query.split('&').filter(|pair| !pair.is_empty()).count() > MAX_PARAMETERS {
            return Err(Code::CallbackTooManyParameters);
        }
        let (mut state, mut code, mut error, mut issuer) = (None, None, None, None);
        let mut implicit = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut state,
                "code" => &mut code,
                "error" => &mut error,
                "iss" => &mut issuer,
                "access_token" => {
                    implicit |= !value.is_empty();
                    continue;
                }
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(Code::CallbackDuplicateParameter);
            }
        }
        if implicit {
            return Err(Code::ImplicitNotSupported);
        }
        let given = |value: &Cow<'a, str>| !value.is_empty();
        Ok(Self {
            state: state.filter(given),
            code: code.filter(given),
            error: error.filter(given),
            issuer: issuer.filter(given),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 43 characters of base64url.
    const STATE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn refused(query: &str) -> Code {
        Callback::parse(&query.replace("STATE", STATE)).unwrap_err()
    }

    /// Of the bad inputs C01 to C27, those that the callback alone shows.
    #[test]
    fn callbacks_that_are_refused() {
        let long = |name: &str, length: usize| format!("{name}={}", "a".repeat(length));
        let many = |count: usize| {
            let pairs: Vec<_> = (0..count).map(|n| format!("p{n}=1")).collect();
            pairs.join("&")
        };
        let cases: &[(&str, String, Code)] = &[
            ("C01", String::new(), Code::CallbackMissingState),
            ("C01", "&&".into(), Code::CallbackMissingState),
            ("C02", "state=STATE".into(), Code::CallbackMissingCode),
            ("C03", "code=x".into(), Code::CallbackMissingState),
            ("C03", "code=x&state=".into(), Code::CallbackMissingState),
            ("C07 short", "state=abc&code=x".into(), Code::StateMalformed),
            (
                "C07 long",
                format!("state=STATE{}&code=x", 'A'),
                Code::StateMalformed,
            ),
            (
                "C07 alphabet",
                format!("state={}%2F&code=x", &STATE[1..]),
                Code::StateMalformed,
            ),
            (
                "C07 megabyte",
                format!("{}&code=x", long("state", 1 << 20)),
                Code::StateMalformed,
            ),
            (
                "C07 on error",
                "state=abc&error=access_denied".into(),
                Code::StateMalformed,
            ),
            (
                "C10",
                "code=x&code=y&state=STATE".into(),
                Code::CallbackDuplicateParameter,
            ),
            (
                "C10 empty",
                "code=&code=y&state=STATE".into(),
                Code::CallbackDuplicateParameter,
            ),
            (
                "C11",
                "state=STATE&state=STATE&code=x".into(),
                Code::CallbackDuplicateParameter,
            ),
            (
                "C12",
                "st%61te=STATE&state=STATE&code=x".into(),
                Code::CallbackDuplicateParameter,
            ),
            (
                "C12 error",
                "error=x&%65rror=y&state=STATE".into(),
                Code::CallbackDuplicateParameter,
            ),
            (
                "C12 iss",
                "iss=x&iss=x&code=x&state=STATE".into(),
                Code::CallbackDuplicateParameter,
            ),
            (
                "C13",
                "code=x&error=access_denied&state=STATE".into(),
                Code::CallbackConflicting,
            ),
            ("C21", "state=%ff%fe&code=x".into(), Code::StateMalformed),
            (
                "C21 right length",
                format!("state=%ff{}&code=x", &STATE[3..]),
                Code::StateMalformed,
            ),
            ("C22", "state=STATE&code=".into(), Code::CallbackMissingCode),
            (
                "C22 no value",
                "state=STATE&code".into(),
                Code::CallbackMissingCode,
            ),
            (
                "C23 long",
                format!("state=STATE&{}", long("code", 5000)),
                Code::CodeMalformed,
            ),
            (
                "C23 over",
                format!("state=STATE&{}", long("code", MAX_CODE + 1)),
                Code::CodeMalformed,
            ),
            (
                "C23 CR LF",
                "state=STATE&code=a%0D%0Ab".into(),
                Code::CodeMalformed,
            ),
            ("C23 space", "state=STATE&code=a+b".into(), Code::CodeMalformed),
            (
                "C23 not ASCII",
                "state=STATE&code=%C3%A9".into(),
                Code::CodeMalformed,
            ),
            (
                "C23 not UTF-8",
                "state=STATE&code=%ff".into(),
                Code::CodeMalformed,
            ),
            (
                "C25",
                "access_token=x&state=STATE".into(),
                Code::ImplicitNotSupported,
            ),
            (
                "C25 with code",
                "access_token=x&code=x&state=STATE".into(),
                Code::ImplicitNotSupported,
            ),
            (
                "C26",
                format!("{}&state=STATE&code=x", many(200)),
                Code::CallbackTooManyParameters,
            ),
            (
                "C26 over",
                format!("{}&state=STATE&code=x", many(31)),
                Code::CallbackTooManyParameters,
            ),
            (
                "C17 long",
                format!("state=STATE&code=x&{}", long("iss", 5000)),
                Code::IssuerMismatch,
            ),
        ];
        for (row, query, code) in cases {
            assert_eq!(refused(query), *code, "{row}");
        }
    }

    #[test]
    fn codes_come_through_unchanged() {
        let many = "&p=1".repeat(30);
        let longest = "c".repeat(MAX_CODE);
        let cases = [
            ("state=STATE&code=aPrx.%2B%2F%3D%3D".to_owned(), "aPrx.+/=="),
            ("code=x&st%61te=STATE".to_owned(), "x"),
            (format!("code=x&state=STATE{many}"), "x"),
            (format!("code={longest}&state=STATE"), longest.as_str()),
            ("code=x&state=STATE&error=&access_token=".to_owned(), "x"),
        ];
        for (query, expected) in cases {
            let query = query.replace("STATE", STATE);
            let Callback::Code { state, code, issuer } = Callback::parse(&query).unwrap() else {
                panic!("{query}");
            };
            assert_eq!((state.expose(), code.expose(), issuer), (STATE, expected, None));
        }
    }

    /// C14–C16: refusals keep a usable state, and their text is shown nowhere.
    #[test]
    fn refusals() {
        let mut provider = ProviderFacts::new("acme", []);
        provider.authorize_errors = vec![("acme_blocked".to_owned(), AuthorizeError::AppBlocked)];
        let markup = format!("%3Cscript%3E&error_description={}", "x".repeat(10_000));
        let long = format!("access_denied{}", "x".repeat(10_000));
        let cases: &[(&str, &str, AuthorizeError)] = &[
            ("C14", "access_denied", AuthorizeError::AccessDenied),
            ("C16", &markup, AuthorizeError::Other),
            ("long", &long, AuthorizeError::Other),
            ("its own", "ACME_BLOCKED", AuthorizeError::AppBlocked),
            ("empty word", "%20", AuthorizeError::Other),
        ];
        for (row, text, expected) in cases {
            let with = Callback::parse(&format!("error={text}&state={STATE}")).unwrap();
            assert_eq!(with.state().unwrap().expose(), STATE, "{row}");
            let without = Callback::parse(&format!("error={text}")).unwrap();
            assert!(without.state().is_none(), "{row}");
            for callback in [with, without] {
                assert!(!format!("{callback:?}").contains("script"), "{row}");
                let Callback::Error { error, .. } = callback else {
                    panic!("{row}");
                };
                assert_eq!(error.meaning(&provider), *expected, "{row}");
            }
        }
    }

    /// C17 and C19.
    #[test]
    fn issuers_are_compared_byte_for_byte() {
        let asked = Some("https://login.example");
        let check = |iss: &str| {
            let query = format!("code=x&state={STATE}{iss}");
            Callback::parse(&query).unwrap().check_issuer(asked)
        };
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("&iss=https%3A%2F%2Flogin.example"), Ok(()));
        for other in [
            "https://evil.example",
            "https://login.example/",
            "https://LOGIN.example",
        ] {
            assert_eq!(
                check(&format!("&iss={other}")),
                Err(Code::IssuerMismatch),
                "{other}"
            );
        }
        let on_error = Callback::parse(&format!("error=x&iss=https://evil.example&state={STATE}")).unwrap();
        assert_eq!(on_error.check_issuer(asked), Err(Code::IssuerMismatch));
        assert_eq!(on_error.check_issuer(None), Ok(()));
    }
}
