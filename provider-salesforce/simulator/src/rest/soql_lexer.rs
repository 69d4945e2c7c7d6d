//! The tokens of a SOQL query, with their positions.

use crate::clock;
use crate::rest::RestError;

/// A word or symbol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A keyword, a field or an object.
    Word(String),
    Text(String),
    Number(f64),
    /// A date or a date with time, in the form of REST records.
    Time(String),
    /// `( ) , = != < > <= >=`
    Sign(&'static str),
}

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) at: usize,
}

/// A 400 that shows the position in the query, as Salesforce does.
pub(crate) fn error_at(query: &str, at: usize, code: &'static str, text: &str) -> RestError {
    let before = query.get(..at).unwrap_or(query);
    let row = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |place| place + 1);
    let line = query
        .get(line_start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    let column = before.get(line_start..).map_or(0, |text| text.chars().count());
    let caret = " ".repeat(column);
    let column = column + 1;
    RestError::bad_request(
        code,
        format!("\n{line}\n{caret}^\nERROR at Row:{row}:Column:{column}\n{text}"),
    )
}

/// Splits a query into tokens.
pub(crate) fn tokens(query: &str) -> Result<Vec<Placed>, RestError> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(next) = query.get(at..).and_then(|rest| rest.chars().next()) {
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        let (token, length) = match next {
            '\'' => text(query, at)?,
            '0'..='9' | '-' => number(query, at)?,
            letter if letter.is_ascii_alphabetic() || letter == '_' => {
                let word = run(query, at, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                (Token::Word(word.to_owned()), word.len())
            }
            sign => {
                let sign = sign_at(query, at).ok_or_else(|| {
                    error_at(
                        query,
                        at,
                        "MALFORMED_QUERY",
                        &format!("line 1:{at} no viable alternative at character '{sign}'"),
                    )
                })?;
                (Token::Sign(sign), if sign == "!=" { 2 } else { sign.len() })
            }
        };
        out.push(Placed { token, at });
        at += length;
    }
    Ok(out)
}

fn run(query: &str, at: usize, belongs: impl Fn(char) -> bool) -> &str {
    let rest = query.get(at..).unwrap_or_default();
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn sign_at(query: &str, at: usize) -> Option<&'static str> {
    let rest = query.get(at..)?;
    if rest.starts_with("<>") {
        return Some("!=");
    }
    ["!=", "<=", ">=", "(", ")", ",", "=", "<", ">"]
        .into_iter()
        .find(|sign| rest.starts_with(sign))
}

fn text(query: &str, at: usize) -> Result<(Token, usize), RestError> {
    let rest = query.get(at + 1..).unwrap_or_default();
    let mut value = String::new();
    let mut chars = rest.char_indices();
    while let Some((place, next)) = chars.next() {
        match next {
            '\'' => return Ok((Token::Text(value), place + 2)),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                // LIKE patterns recognise an escaped wildcard by this mark.
                Some(wildcard @ ('%' | '_')) => value.extend(['\\', wildcard]),
                Some(escaped) => value.push(escaped),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(error_at(
        query,
        at,
        "MALFORMED_QUERY",
        "unterminated string literal",
    ))
}

fn number(query: &str, at: usize) -> Result<(Token, usize), RestError> {
    let word = run(query, at, |c| {
        c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '+' | '-')
    });
    let is_date = word.len() == 10 && word.bytes().filter(|byte| *byte == b'-').count() == 2;
    let token = if is_date {
        Some(Token::Time(word.to_owned()))
    } else if let Ok(number) = word.parse() {
        Some(Token::Number(number))
    } else {
        clock::read_time(word).map(Token::Time)
    };
    let token = token.ok_or_else(|| {
        error_at(
            query,
            at,
            "MALFORMED_QUERY",
            &format!("unexpected token: '{word}'"),
        )
    })?;
    Ok((token, word.len()))
}
