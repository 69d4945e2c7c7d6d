//! A `grantry-host serve` of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use grantry_redis_servers::Seat;
use reqwest::{Client, Method, Url, header::HeaderMap, redirect::Policy};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Browser, DEADLINE, eventually};

pub(crate) const ADMIN_KEY: &str = "adminCANARY7Qe2xV9mB4tK6wZ1yR8pL3sD5fH0";

static STARTED: AtomicU32 = AtomicU32::new(0);

/// How to start a host.
pub(crate) struct Launch {
    dir: PathBuf,
    seat: Seat,
    listen: String,
    store: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// On a free port, with the store `grantry.db` in `dir`.
    pub(crate) fn new(dir: &Path, keys: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            seat: Seat::here(),
            listen: "127.0.0.1:0".to_owned(),
            store: format!("sqlite:{}", dir.join("grantry.db").display()),
            arguments: Vec::new(),
            variables: [
                ("GRANTRY_KEYS", keys),
                ("GRANTRY_ADMIN_KEY", ADMIN_KEY),
                ("RUST_LOG", "info"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        }
    }

    pub(crate) fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// In another network namespace, at its address. It needs a public URL then.
    pub(crate) fn at(mut self, seat: &Seat) -> Self {
        self.seat = seat.clone();
        self.listen = format!("{}:0", seat.address());
        self
    }

    pub(crate) fn store(mut self, address: &str) -> Self {
        address.clone_into(&mut self.store);
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(self) -> Host {
        let address = self.listen.clone();
        match self.try_start().await {
            Ok(host) => host,
            Err(text) => panic!("the host did not start on {address}:\n{text}"),
        }
    }

    /// Starts it, and waits until it is ready, or gives what it said when it ended.
    pub(crate) async fn try_start(self) -> Result<Host, String> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = |what: &str| self.dir.join(format!("host-{number}.{what}"));
        let (out, err, ready) = (file("out"), file("err"), file("ready"));
        let mut command = command_at(&self.seat);
        command
            .args(["serve", "--allow-loopback-upstream", "--listen", &self.listen])
            .args(["--store", &self.store, "--ready-file"])
            .arg(&ready)
            .args(&self.arguments)
            .envs(self.variables)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap());
        let mut host = Host {
            child: command.spawn().expect("the host cannot be run"),
            base_url: String::new(),
            http: client(),
            out,
            err,
        };
        let told = eventually("the host says where it is", || {
            let ended = host.child.try_wait().unwrap();
            let told = fs::read_to_string(&ready).ok();
            async move { told.map(Ok).or(ended.map(Err)) }
        })
        .await;
        let Ok(told) = told else {
            return Err(fs::read_to_string(&host.err).unwrap());
        };
        let told: Value = serde_json::from_str(&told).unwrap();
        host.base_url = told["baseUrl"].as_str().unwrap().to_owned();
        eventually("the host is ready", || async {
            let answer = host.try_call(Method::GET, "/readyz", None, None).await;
            answer.ok().filter(|answer| answer.status == 200)
        })
        .await;
        Ok(host)
    }
}

/// The program, without settings from outside.
pub(crate) fn command() -> Command {
    command_at(&Seat::here())
}

fn command_at(seat: &Seat) -> Command {
    let mut command = seat.command(env!("CARGO_BIN_EXE_grantry-host"));
    for name in ["GRANTRY_KEYS", "GRANTRY_ADMIN_KEY", "GRANTRY_STORE"] {
        command.env_remove(name).env_remove(format!("{name}_FILE"));
    }
    command
}

/// Sends a signal to a process that this test started.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits until a process has ended.
pub(crate) async fn ended_with(child: &mut Child) -> ExitStatus {
    eventually("the process ends", || {
        let ended = child.try_wait().unwrap();
        async move { ended }
    })
    .await
}

pub(super) fn client() -> Client {
    // It can only be set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .unwrap()
}

/// A running host. It is killed when this is dropped.
pub(crate) struct Host {
    child: Child,
    pub(crate) base_url: String,
    http: Client,
    out: PathBuf,
    err: PathBuf,
}

impl Host {
    /// Calls it with a key. The body is JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, key: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, Some(key), body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.call(Method::GET, path, key, None).await
    }

    pub(crate) async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, ADMIN_KEY, body).await
    }

    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base_url));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await?).await
    }

    /// Calls the provider through it.
    pub(crate) async fn proxy(&self, connection: &str, key: &str, call: &Value) -> Answer {
        self.try_proxy(connection, key, call).await.unwrap()
    }

    pub(crate) async fn try_proxy(
        &self,
        connection: &str,
        key: &str,
        call: &Value,
    ) -> reqwest::Result<Answer> {
        let url = format!("{}/api/v1/proxy/salesforce", self.base_url);
        let request = self.http.post(url).bearer_auth(key).json(call);
        Answer::of(request.header("x-connection-id", connection).send().await?).await
    }

    pub(crate) async fn credentials(&self, connection: &str, key: &str) -> Answer {
        self.get(&format!("/api/v1/connections/{connection}/credentials"), key)
            .await
    }

    pub(crate) async fn delete(&self, connection: &str, key: &str) -> Answer {
        self.call(
            Method::DELETE,
            &format!("/api/v1/connections/{connection}"),
            key,
            None,
        )
        .await
    }

    /// Opens a path in a new browser.
    pub(crate) async fn visit(&self, path: &str) -> super::Page {
        let url = Url::parse(&format!("{}{path}", self.base_url)).unwrap();
        Browser::new().open(&url).await.unwrap()
    }

    /// Where the program writes its standard output and its logs.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.out, &self.err]
    }

    pub(crate) fn address(&self) -> &str {
        self.base_url.trim_start_matches("http://")
    }

    /// Ends it as an operator does, and waits for that.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        ended_with(&mut self.child).await
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(&self.child, which);
    }

    /// Whether it has ended, and how.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        ended_with(&mut self.child).await
    }

    /// Ends it at once: SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.err).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(30);
            eprintln!(
                "--- the last lines of {}:\n{}",
                self.base_url,
                lines[last..].join("\n")
            );
        }
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(super) async fn of(response: reqwest::Response) -> reqwest::Result<Self> {
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await?,
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A field of the JSON object, as text.
    pub(crate) fn field(&self, name: &str) -> String {
        let found = self.json()[name].as_str().map(str::to_owned);
        found.unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// The answer itself, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The answer itself, if it is this error.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status, &*self.field("error")),
            (status, code),
            "{}",
            self.text
        );
        assert_eq!(self.header("content-type"), "application/json");
        self
    }
}
