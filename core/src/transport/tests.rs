//! Against servers made by hand on loopback, each with one bad habit.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::*;

const NOBODY_THERE: TransportError = TransportError::new(Sent::No, TransportFault::Connect);
const TOO_LATE: TransportError = TransportError::new(Sent::Maybe, TransportFault::Timeout);
const LOST: TransportError = TransportError::new(Sent::Maybe, TransportFault::Reset);

/// A server that gives each connection to `serve`, and counts them.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn new(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counter, serve) = (connections.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let (mut stream, serve) = (stream.unwrap(), serve.clone());
                thread::spawn(move || serve(&mut stream));
            }
        });
        Self { address, connections }
    }

    /// One that reads the request and answers with `answer`, then closes.
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |stream| {
            read_request(stream);
            // The client may hang up in the middle: that is one of the things under test.
            let _ = stream.write_all(&answer);
        })
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/oauth2/token", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request with a body of known length; its text.
fn read_request(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    let _ = stream.read_exact(&mut body);
    text.extend(body);
    String::from_utf8_lossy(&text).into_owned()
}

fn quick() -> HttpTransportBuilder {
    HttpTransport::builder()
        .allow_loopback(true)
        .connect_timeout(Duration::from_millis(300))
        .total_timeout(Duration::from_millis(600))
}

async fn send(transport: &HttpTransport, url: &str) -> Result<Response<Bytes>, TransportError> {
    let request = Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(b"grant_type=refresh_token&refresh_token=5Aep".to_vec())
        .unwrap();
    transport.send(request).await
}

async fn fetch(server: &Server) -> Result<Response<Bytes>, TransportError> {
    send(&quick().build().unwrap(), &server.url("http")).await
}

#[tokio::test]
async fn an_answer_comes_back_whole() {
    let server = Server::answering("HTTP/1.1 400 Bad Request\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello");
    let answer = fetch(&server).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-a"], "1");
    assert_eq!(answer.body(), "hello");
}

/// S22: nothing is sent twice and no connection is used twice, though the server offers to keep it.
#[tokio::test]
async fn each_request_has_a_connection_of_its_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = Server::new(move |stream| {
        loop {
            let request = read_request(stream);
            if request.is_empty() {
                break;
            }
            log.lock().unwrap().push(request);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=60\r\ncontent-length: 2\r\n\r\nok",
            );
        }
    });
    let transport = quick().build().unwrap();
    for count in 1..=3 {
        assert_eq!(send(&transport, &server.url("http")).await.unwrap().body(), "ok");
        assert_eq!(server.connections(), count);
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for request in seen.iter() {
        assert!(
            request.starts_with("POST /oauth2/token HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.ends_with("\r\n\r\ngrant_type=refresh_token&refresh_token=5Aep"),
            "{request}"
        );
        for absent in ["accept-encoding", "referer", "cookie", "proxy", "authorization"] {
            assert!(!request.contains(absent), "{request}");
        }
    }
}

/// S22: a connection that closes under the request is not tried again.
#[tokio::test]
async fn a_lost_connection_is_lost() {
    let at_once = Server::new(|_| {});
    let after_request = Server::new(|stream| drop(read_request(stream)));
    let nonsense = Server::answering("SSH-2.0-x\r\n\r\n");
    let truncated = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfewer");
    let bad_chunk = Server::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nx\r\n");
    for server in [at_once, after_request, nonsense, truncated, bad_chunk] {
        assert_eq!(fetch(&server).await.unwrap_err(), LOST);
        assert_eq!(server.connections(), 1);
    }
}

/// S25 and O01: a server that does not answer, or never ends, takes no longer than the total.
#[tokio::test]
async fn a_slow_answer_is_given_up() {
    let silent = Server::new(|stream| {
        read_request(stream);
        thread::sleep(Duration::from_secs(5));
    });
    let dripping = Server::new(|stream| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let dripping_head = Server::new(|stream| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"x: y\r\n").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    for server in [silent, dripping, dripping_head] {
        assert_eq!(fetch(&server).await.unwrap_err(), TOO_LATE);
        assert_eq!(server.connections(), 1);
    }
}

/// S25 and J23: cut by what is announced, and while reading.
#[tokio::test]
async fn a_large_answer_is_cut() {
    // However slow the machine is: this is about lengths.
    let patient = quick()
        .connect_timeout(Duration::from_secs(30))
        .total_timeout(Duration::from_secs(120))
        .build()
        .unwrap();
    let read = async |server: &Server| send(&patient, &server.url("http")).await;
    let with_length = |length: usize| {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'x');
        Server::answering(answer)
    };
    let answer = read(&with_length(MAX_ANSWER)).await.unwrap();
    assert_eq!(answer.body().len(), MAX_ANSWER);
    let chunked = |chunks: usize| {
        Server::new(move |stream| {
            read_request(stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
            for _ in 0..chunks {
                if stream.write_all(chunk.as_bytes()).is_err() {
                    return;
                }
            }
            let _ = stream.write_all(b"0\r\n\r\n");
        })
    };
    let answer = read(&chunked(MAX_ANSWER / 4096)).await.unwrap();
    assert_eq!(answer.body().len(), MAX_ANSWER);
    assert!(answer.body().iter().all(|byte| *byte == b'x'));

    let announced = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999\r\n\r\nx");
    let until_closed = Server::new(|stream| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let long_headers = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        format!("x: {}\r\n", "y".repeat(2000)).repeat(40)
    );
    let servers = [
        with_length(MAX_ANSWER + 1),
        announced,
        chunked(MAX_ANSWER / 4096 + 1),
        chunked(usize::MAX),
        until_closed,
        Server::answering(long_headers),
    ];
    for server in servers {
        assert_eq!(read(&server).await.unwrap_err(), TOO_LARGE);
    }
    for headers in [
        "x: y\r\n".repeat(100_000),
        format!("x: {}\r\n", "y".repeat(2_000_000)),
    ] {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{headers}\r\n"));
        assert_eq!(read(&server).await.unwrap_err(), LOST);
    }
}

/// S20: where a redirect leads, nobody is called.
#[tokio::test]
async fn redirects_are_answers() {
    let target = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            target.url("http")
        );
        let server = Server::answering(answer);
        assert_eq!(fetch(&server).await.unwrap().status(), status);
        assert_eq!((server.connections(), target.connections()), (1, 0));
    }
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let transport = quick().build().unwrap();
    for scheme in ["http", "https"] {
        let error = send(&transport, &format!("{scheme}://{address}/"))
            .await
            .unwrap_err();
        assert_eq!(error, NOBODY_THERE);
    }
    let error = send(&transport, "https://name.invalid/").await.unwrap_err();
    assert_eq!(error, NOBODY_THERE);
}

/// The log is told why, but not the URL, nor what was sent.
#[tokio::test]
async fn an_error_keeps_its_cause_and_no_secret() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let root = include_bytes!("../../tests/tls/root.pem");
    let transport = quick().extra_roots(root).unwrap().build().unwrap();
    let expired = tls_server("expired.pem").url("https");
    let other_name = tls_server("other-name.pem").url("https");
    let hung_up = Server::new(|stream| drop(read_request(stream))).url("http");
    for (url, expected) in [
        (format!("http://{address}/"), "Connection refused"),
        ("https://name.invalid/".to_owned(), "the name does not resolve"),
        (expired, "certificate expired"),
        (other_name, "not valid for name"),
        (hung_up, "connection closed before message completed"),
    ] {
        let error = send(&transport, &format!("{url}?key=HIDDEN")).await.unwrap_err();
        assert!(causes(&error).contains(expected), "{}", causes(&error));
        let shown = format!("{error} {error:?} {}", causes(&error));
        assert!(!shown.contains("HIDDEN") && !shown.contains("5Aep"), "{shown}");
        assert!(!format!("{error} {error:?}").contains(expected));
    }
}

/// P43, J09 and J10: judged before anything connects.
#[tokio::test]
async fn forbidden_targets_are_not_called() {
    let server = Server::new(|_| {});
    let port = server.address.port();
    let strict = HttpTransport::builder().build().unwrap();
    let lenient = quick().build().unwrap();
    let never = [
        format!("http://localhost:{port}/"),
        format!("https://localhost:{port}/"),
        "http://login.example/".into(),
        "http://8.8.8.8/".into(),
        "https://10.0.0.1/".into(),
        "https://169.254.169.254/latest".into(),
        "https://[::ffff:169.254.169.254]/".into(),
        "https://[fd00::1]/".into(),
        "https://0.0.0.0/".into(),
        format!("https://user:word@127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        "/relative".into(),
    ];
    for url in &never {
        assert_eq!(send(&strict, url).await.unwrap_err(), FORBIDDEN, "{url}");
        assert_eq!(send(&lenient, url).await.unwrap_err(), FORBIDDEN, "{url}");
    }
    let unless_allowed = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "017700000001"];
    for host in unless_allowed {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            assert_eq!(send(&strict, &url).await.unwrap_err(), FORBIDDEN, "{url}");
        }
    }
    assert_eq!(server.connections(), 0);
}

/// A server on TLS that shows the given certificate and answers `ok`.
fn tls_server(certificate: &'static str) -> Server {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/");
    let chain = CertificateDer::from_pem_file(format!("{root}{certificate}")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{root}server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let config = Arc::new(config);
    Server::new(move |stream| {
        let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut stream = rustls::Stream::new(&mut session, stream);
        if !read_request(&mut stream).is_empty() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    })
}

/// S21 and O04.
#[tokio::test]
async fn only_trusted_certificates_see_a_request() {
    let root = include_bytes!("../../tests/tls/root.pem");
    let trusting = quick().extra_roots(root).unwrap().build().unwrap();
    let answer = send(&trusting, &tls_server("good.pem").url("https")).await;
    assert_eq!(answer.unwrap().body(), "ok");

    let unknown_root = quick().build().unwrap();
    let answer = send(&unknown_root, &tls_server("good.pem").url("https")).await;
    assert_eq!(answer.unwrap_err(), NOBODY_THERE);
    for certificate in ["expired.pem", "other-name.pem"] {
        let answer = send(&trusting, &tls_server(certificate).url("https")).await;
        assert_eq!(answer.unwrap_err(), NOBODY_THERE, "{certificate}");
    }
    let plain = Server::new(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    assert_eq!(
        send(&trusting, &plain.url("https")).await.unwrap_err(),
        NOBODY_THERE
    );
}

/// A handshake that hangs is certainly not a request that was sent.
#[tokio::test]
async fn a_hanging_handshake_sends_nothing() {
    let server = Server::new(|_| thread::sleep(Duration::from_secs(5)));
    let error = send(&quick().build().unwrap(), &server.url("https"))
        .await
        .unwrap_err();
    assert_eq!((error.sent, error.fault), (Sent::No, TransportFault::Timeout));
}

#[test]
fn roots_that_are_none() {
    for pem in [
        &b""[..],
        b"not a certificate",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(
            HttpTransport::builder().extra_roots(pem).unwrap_err(),
            TlsError::RootInvalid
        );
    }
}
