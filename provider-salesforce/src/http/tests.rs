use super::{
    testing::{Script, answer, block_on},
    *,
};

#[test]
fn sound_objects() {
    for (body, error, access_token) in [
        ("{}", false, false),
        (
            " {\"a\":{\"x\":1,\"y\":[\"]}{\\\"[\"]},\"b\":null} \n",
            false,
            false,
        ),
        (r#"{"error":"invalid_grant"}"#, true, false),
        (r#"{"access_token":"00D!x","state":{"error":1}}"#, false, true),
    ] {
        assert_eq!(
            object(body.as_bytes()),
            Some(Names { error, access_token }),
            "{body}"
        );
    }
}

#[test]
fn unsound_objects() {
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bomb = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let open = "[".repeat(10_000);
    for body in [
        b"".as_slice(),
        b"null",
        b"[]",
        b"\"text\"",
        b"<html></html>",
        b"\xef\xbb\xbf{}",
        &utf16,
        b"{\"a\":\"\xff\"}",
        b"{\"a\":1,\"a\":1}",
        br#"{"access_token":"x","access_token":"y"}"#,
        br#"{"access_token":"x","access\u005ftoken":"y"}"#,
        b"{\"a\":1} {}",
        b"{\"a\":1",
        b"{\"a\":NaN}",
        b"{\"a\":1,}",
        b"access_token=x",
        bomb.as_bytes(),
        open.as_bytes(),
    ] {
        assert_eq!(object(body), None, "{:.60}", String::from_utf8_lossy(body));
    }
}

#[test]
fn sends_once() {
    let script = Script::new([answer(200, r#"{"access_token":"00D!x"}"#), answer(200, "{}")]);
    let (http, presentation) = TokenHttp::new(script.clone());
    let once = Once::new(http, Spends::RefreshToken);
    assert!(once.unused());
    assert!(block_on(once.call(Request::new(Vec::new()))).is_ok());
    assert!(!once.unused() && presentation.answered());
    let second = block_on(once.call(Request::new(Vec::new()))).unwrap_err();
    assert_eq!(second.0, Failure::Unknown(Reason::AnswerLost));
    assert_eq!(script.seen.lock().unwrap().len(), 1);
}

#[test]
fn unanswered_requests() {
    use TransportFault::{Connect, Forbidden, Reset, Timeout, TooLarge};
    for (sent, fault, expected) in [
        (Sent::No, Connect, Failure::NotSent),
        (Sent::No, Forbidden, Failure::NotSent),
        (Sent::Maybe, Timeout, Failure::Unknown(Reason::AnswerLost)),
        (Sent::Maybe, Reset, Failure::Unknown(Reason::AnswerLost)),
        (Sent::Maybe, TooLarge, Failure::Unknown(Reason::AnswerInvalid)),
    ] {
        assert_eq!(unanswered(TransportError { sent, fault }), expected);
    }
}

#[test]
fn the_bearer_is_marked_sensitive() {
    let request = get("https://acme.my.salesforce.com/", &Secret::new("00D!secret")).unwrap();
    assert!(!format!("{request:?}").contains("secret"));
    assert!(get("https://acme.my.salesforce.com/", &Secret::new("a\r\nb")).is_err());
}
