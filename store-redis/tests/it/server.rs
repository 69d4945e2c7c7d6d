//! A Redis server of a test's own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A server on a free port of the loopback interface, with a folder of its own. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    port: u16,
    tls: bool,
    settings: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// A server that logs its writes, with these settings besides.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self::start_in(folder, settings, false).await
    }

    async fn start_in(mut folder: TempDir, settings: Vec<String>, tls: bool) -> Self {
        loop {
            let port = free_port();
            let child = spawn(port, tls, folder.path(), &settings);
            let mut server = Self {
                child,
                port,
                tls,
                settings: settings.clone(),
                folder,
            };
            if server.answers().await {
                return server;
            }
            // Somebody else was faster with the port.
            folder = std::mem::replace(&mut server.folder, TempDir::new().unwrap());
        }
    }

    /// One that talks TLS only, as `localhost`, with a certificate that its own authority signed.
    pub(crate) async fn start_tls() -> Self {
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
        Self::start_in(folder, words.map(str::to_owned).collect(), true).await
    }

    /// The certificate of its authority.
    pub(crate) fn root(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("root.pem")).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power failure of the process would, and starts it again on what it had written.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.end();
        self.child = spawn(self.port, self.tls, self.folder.path(), &self.settings);
        assert!(self.answers().await, "it comes up again");
    }

    /// Kills it.
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Sends a command past the store and gives the raw answer.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .unwrap();
        ask(&mut stream, words).await.unwrap()
    }

    /// Whether it is up; `false` if it has ended.
    async fn answers(&mut self) -> bool {
        for _ in 0..1000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await
                && (self.tls || is_up(&mut stream).await)
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer within ten seconds");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_up(stream: &mut TcpStream) -> bool {
    ask(stream, &["PING"])
        .await
        .is_ok_and(|answer| !answer.is_empty() && !answer.starts_with("-LOADING"))
}

async fn ask(stream: &mut TcpStream, words: &[&str]) -> std::io::Result<String> {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let request = format!("*{}\r\n{}", words.len(), words.collect::<String>());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1 << 16];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn free_port() -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(address).unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, tls: bool, folder: &Path, settings: &[String]) -> Child {
    let ports = if tls {
        ["--port", "0", "--tls-port"]
    } else {
        ["--tls-port", "0", "--port"]
    };
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(ports)
        .arg(port.to_string())
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
