//! An HTTP server made by hand: it keeps the very bytes that arrive, and answers with the very bytes that a test gives.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The request line and the headers, without the empty line.
    pub(crate) head: String,
    /// The body with its framing.
    pub(crate) body: Vec<u8>,
    /// Over which connection, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The header names in lower case, with their values.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let split = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        self.head.lines().skip(1).map(split).collect()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.headers()
            .into_iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    /// Bytes that tests' own answers say they wrote.
    pub(crate) written: Arc<AtomicUsize>,
    /// Connections that the client ended before their answer was over.
    pub(crate) aborted: Arc<AtomicUsize>,
}

impl Upstream {
    /// `answer` gets the number of the request, counted from 1 over all connections.
    pub(crate) fn start(
        answer: impl Fn(usize, &Seen, &mut TcpStream, &Upstream) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            connections: Arc::default(),
            written: Arc::default(),
            aborted: Arc::default(),
        };
        let (shared, answer) = (upstream.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, answer) = (shared.clone(), answer.clone());
                thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    while let Ok(Some(seen)) = read_request(&mut stream, connection) {
                        let number = {
                            let mut all = shared.seen.lock().unwrap();
                            all.push(seen.clone());
                            all.len()
                        };
                        match answer(number, &seen, &mut stream, &shared) {
                            Ok(Then::Keep) => {}
                            Ok(Then::Close) => break,
                            Err(_) => {
                                shared.aborted.fetch_add(1, Ordering::SeqCst);
                                break;
                            }
                        }
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        upstream
    }

    /// Answers every request with the same bytes.
    pub(crate) fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, _, stream, _| {
            stream.write_all(&answer)?;
            Ok(Then::Keep)
        })
    }

    /// The nth request gets the nth answer, the last one from then on.
    pub(crate) fn script(answers: Vec<(Vec<u8>, Then)>) -> Self {
        Self::start(move |number, _, stream, _| {
            let (answer, then) = &answers[(number - 1).min(answers.len() - 1)];
            stream.write_all(answer)?;
            Ok(*then)
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An answer with a length.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

pub(crate) fn refusal() -> Vec<u8> {
    answer(
        "401 Unauthorized",
        "Content-Type: application/json\r\n",
        r#"[{"errorCode":"INVALID_SESSION_ID"}]"#,
    )
}

fn read_request(stream: &mut TcpStream, connection: usize) -> io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..read]);
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut body = bytes.split_off(head_end + 4);
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .map(|l| l.parse::<usize>().unwrap());
    let chunked = lower.contains("\r\ntransfer-encoding: chunked");
    loop {
        let done = match length {
            Some(length) => body.len() >= length,
            None => !chunked || body.ends_with(b"0\r\n\r\n"),
        };
        if done {
            return Ok(Some(Seen {
                head,
                body,
                connection,
            }));
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            // The client broke off: what came is a request that never was whole.
            return Ok(Some(Seen {
                head: format!("{head}\r\nx-cut-off: yes"),
                body,
                connection,
            }));
        }
        body.extend_from_slice(&chunk[..read]);
    }
}
