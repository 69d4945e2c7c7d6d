//! One server.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Seat;

/// A server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    seat: Seat,
    port: u16,
    kind: Kind,
    settings: Vec<String>,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
    Sentinel,
    TlsSentinel,
}

impl Server {
    /// A server that logs its writes, with these settings besides (as arguments of `redis-server`).
    pub fn start(settings: &[&str]) -> Self {
        Self::start_at(&Seat::here(), settings)
    }

    /// The same at a seat.
    pub fn start_at(seat: &Seat, settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self::start_in(TempDir::new().unwrap(), seat, Kind::Plain, &settings)
    }

    /// A Sentinel with this configuration.
    pub(crate) fn start_sentinel(seat: &Seat, configuration: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("sentinel.conf"), configuration).unwrap();
        Self::start_in(folder, seat, Kind::Sentinel, &[])
    }

    /// A Sentinel that talks TLS only, with the certificate of the server that it watches, for which it finds it too.
    pub fn start_tls_sentinel(service: &str, server: &Self) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["cert.pem", "key.pem", "root.pem"] {
            std::fs::copy(server.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let configuration = format!(
            "sentinel resolve-hostnames yes\n\
             sentinel announce-hostnames yes\n\
             sentinel monitor {service} localhost {} 1\n\
             port 0\n\
             tls-replication yes\n\
             tls-cert-file cert.pem\n\
             tls-key-file key.pem\n\
             tls-ca-cert-file root.pem\n\
             tls-auth-clients no\n",
            server.port
        );
        std::fs::write(folder.path().join("sentinel.conf"), configuration).unwrap();
        Self::start_in(folder, &Seat::here(), Kind::TlsSentinel, &[])
    }

    /// One that talks TLS only, as `localhost`, with a certificate that its own authority signed, and has these settings
    /// besides.
    pub fn start_tls(settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let run = |words: &str| {
            let made = Command::new("openssl")
                .args(words.split(' '))
                .current_dir(folder.path())
                .stderr(Stdio::null())
                .status();
            assert!(
                made.is_ok_and(|status| status.success()),
                "openssl makes certificates; ./test.sh installs it"
            );
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        run(&format!(
            "req -x509 {key} -days 9 -subj /CN=root -keyout root.key -out root.pem"
        ));
        run(&format!(
            "req -x509 {key} -days 9 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
             -addext basicConstraints=critical,CA:FALSE -CA root.pem -CAkey root.key -keyout key.pem -out cert.pem"
        ));
        let names = [
            "--tls-cert-file",
            "cert.pem",
            "--tls-key-file",
            "key.pem",
            "--tls-ca-cert-file",
            "root.pem",
        ];
        let words = names.into_iter().chain(["--tls-auth-clients", "no"]);
        let words = words.chain(settings.iter().copied());
        let settings: Vec<String> = words.map(str::to_owned).collect();
        Self::start_in(folder, &Seat::here(), Kind::Tls, &settings)
    }

    fn start_in(mut folder: TempDir, seat: &Seat, kind: Kind, settings: &[String]) -> Self {
        loop {
            let port = free_port();
            let child = spawn(seat, port, kind, folder.path(), settings);
            let mut server = Self {
                child,
                seat: seat.clone(),
                port,
                kind,
                settings: settings.to_vec(),
                folder,
            };
            if server.answers() {
                return server;
            }
            // Somebody else was faster with the port.
            folder = std::mem::replace(&mut server.folder, TempDir::new().unwrap());
        }
    }

    /// The certificate of its authority, where it talks TLS.
    pub fn root(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("root.pem")).unwrap()
    }

    /// The certificate that it shows, which others may show as well, and its key.
    pub fn certificate(&self) -> (Vec<u8>, Vec<u8>) {
        let read = |name| std::fs::read(self.folder.path().join(name)).unwrap();
        (read("cert.pem"), read("key.pem"))
    }

    /// Where it runs.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Its port on 127.0.0.1, or at the address of its seat.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, without TLS and user.
    pub fn address(&self) -> String {
        format!("redis://{}:{}", self.seat.address(), self.port)
    }

    /// Starts it again, on what it had written.
    pub fn restart(&mut self) {
        self.child = spawn(
            &self.seat,
            self.port,
            self.kind,
            self.folder.path(),
            &self.settings,
        );
        assert!(self.answers(), "it comes up again");
    }

    /// What it replicates from the next start on.
    pub(crate) fn follow(&mut self, primary: Option<SocketAddr>) {
        if let Some(at) = self.settings.iter().position(|setting| setting == "--replicaof") {
            self.settings.drain(at..at + 3);
        }
        if let Some(primary) = primary {
            let (address, port) = (primary.ip().to_string(), primary.port().to_string());
            self.settings.extend(["--replicaof".to_owned(), address, port]);
        }
    }

    /// Kills it, with SIGKILL.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// A copy of what it has written so far, for [`Server::put_back`].
    pub fn copy(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    /// Replaces everything that it has written by a copy from earlier. It must not run.
    pub fn put_back(&self, copy: &TempDir) {
        std::fs::remove_dir_all(self.folder.path()).unwrap();
        copy_folder(copy.path(), self.folder.path());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends it a command and gives the raw answer; empty if there is none.
    pub fn command(&self, words: &[&str]) -> String {
        ask(self.place(), words).unwrap_or_default()
    }

    pub(crate) fn place(&self) -> SocketAddr {
        (self.seat.address(), self.port).into()
    }

    /// Whether it is up; `false` if it has ended.
    fn answers(&mut self) -> bool {
        for _ in 0..3000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let up = if matches!(self.kind, Kind::Tls | Kind::TlsSentinel) {
                TcpStream::connect(self.place()).is_ok()
            } else {
                ask(self.place(), &["PING"])
                    .is_ok_and(|answer| !answer.is_empty() && !answer.starts_with("-LOADING"))
            };
            if up {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer within 30 seconds");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copied = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &copied);
        } else {
            std::fs::copy(entry.path(), copied).unwrap();
        }
    }
}

fn ask(server: SocketAddr, words: &[&str]) -> std::io::Result<String> {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let request = format!("*{}\r\n{}", words.len(), words.collect::<String>());
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; 1 << 16];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

pub(crate) fn free_port() -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(address).unwrap().local_addr().unwrap().port()
}

fn spawn(seat: &Seat, port: u16, kind: Kind, folder: &Path, settings: &[String]) -> Child {
    let mut command = seat.command("redis-server");
    match kind {
        Kind::Plain => command.args(["--tls-port", "0", "--port"]),
        Kind::Tls => command.args(["--port", "0", "--tls-port"]),
        Kind::Sentinel => command.args(["sentinel.conf", "--sentinel", "--port"]),
        Kind::TlsSentinel => command.args(["sentinel.conf", "--sentinel", "--tls-port"]),
    };
    let address = seat.address().to_string();
    command.arg(port.to_string()).args(["--bind", &address]);
    if !seat.is_here() {
        // Others may ask it, without a password.
        command.args(["--protected-mode", "no"]);
    }
    if matches!(kind, Kind::Plain | Kind::Tls) {
        command.args(["--save", "", "--appendonly", "yes"]);
    }
    command
        .arg("--dir")
        .arg(folder)
        .args(settings)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!(
            "redis-server cannot be started ({}); ./test.sh installs it (Debian: apt-get install redis-server)",
            error.kind()
        ),
    }
}
