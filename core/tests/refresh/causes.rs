//! Why a provider did not answer is the error's cause, and no part of what a caller is told.

use std::{error::Error as _, net::TcpListener, time::Duration};

use grantry::{
    async_trait,
    connect::{Binding, Outcome},
    error::{Code, Error, causes},
    provider::{Transport, TransportError},
    transport::HttpTransport,
};

use crate::support::{RETURN, SESSION, World};

/// Sends over the real transport, whatever the URL, to one place.
#[derive(Debug)]
struct To(HttpTransport, String);

#[async_trait]
impl Transport for To {
    async fn send(
        &self,
        mut request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<bytes::Bytes>, TransportError> {
        *request.uri_mut() = self.1.parse().unwrap();
        self.0.send(request).await
    }
}

fn to(url: String) -> To {
    let transport = HttpTransport::builder()
        .allow_loopback(true)
        .total_timeout(Duration::from_secs(5));
    To(transport.build().unwrap(), url)
}

/// What a caller sees of it.
fn shown(error: &Error) -> String {
    format!("{error} {error:?} {error:#?}")
}

/// A port at which nobody listens.
fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}/token?key=HIDDEN")
}

/// A server that hangs up before it answers.
fn hangs_up() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    format!("http://{address}/token?key=HIDDEN")
}

#[tokio::test]
async fn a_refresh_says_why_it_got_no_answer() {
    for (url, code, expected) in [
        (nobody(), Code::RefreshNotSent, "Connection refused"),
        (
            "https://name.invalid/?key=HIDDEN".to_owned(),
            Code::RefreshNotSent,
            "the name does not resolve",
        ),
        (hangs_up(), Code::RefreshOutcomeUnknown, "request failed: Reset: "),
    ] {
        let world = World::new().await;
        let id = world.connect().await;
        world.clock.step(SESSION);
        let process = world.process_with(|builder| builder.transport(to(url)));
        let error = process.broker.credentials(&id).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(causes(&error).contains(expected), "{}", causes(&error));
        assert!(error.source().unwrap().is::<TransportError>());
        let shown = shown(&error);
        assert!(
            !shown.contains(expected) && !shown.contains("127.0.0.1"),
            "{shown}"
        );
        for text in [shown, causes(&error)] {
            assert!(
                !text.contains("HIDDEN") && !text.contains("refresh-0-0"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_connect_attempt_says_why_the_code_was_not_exchanged() {
    let world = World::new().await;
    let process = world.process_with(|builder| builder.transport(to(nobody())));
    let integration = process.broker.integration(&world.integration);
    let begin = integration
        .begin_connect(Binding::new("the browser"))
        .return_to(RETURN);
    let query = world.upstream.consent(&begin.await.unwrap().url);
    let finished = integration
        .finish_connect(&query, &Binding::new("the browser"))
        .await;
    let Outcome::Failed { error, .. } = finished.unwrap() else {
        panic!("it is connected")
    };
    assert_eq!(error.code(), Code::ProviderRejected);
    assert!(
        causes(&error).contains("Connection refused"),
        "{}",
        causes(&error)
    );
    assert!(!shown(&error).contains("Connection refused") && !causes(&error).contains("HIDDEN"));
}
