use super::{
    testing::{Script, answer, block_on},
    *,
};

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
        assert_eq!(unanswered(&TransportError::new(sent, fault)), expected);
    }
}

#[test]
fn the_bearer_is_marked_sensitive() {
    let request = get("https://acme.my.salesforce.com/", &Secret::new("00D!secret")).unwrap();
    assert!(!format!("{request:?}").contains("secret"));
    assert!(get("https://acme.my.salesforce.com/", &Secret::new("a\r\nb")).is_err());
}
