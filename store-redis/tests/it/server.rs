//! A Redis server of a test's own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A server on a free port of the loopback interface, with a folder of its own. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Server {
    /// A server that logs its writes, with these settings besides.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self::start_in(folder, settings).await
    }

    async fn start_in(mut folder: TempDir, settings: Vec<String>) -> Self {
        loop {
            let port = free_port();
            let child = spawn(port, folder.path().to_owned(), &settings);
            let mut server = Self {
                child,
                port,
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

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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
                && let Ok(answer) = ask(&mut stream, &["PING"]).await
                && !answer.starts_with("-LOADING")
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

async fn ask(stream: &mut TcpStream, words: &[&str]) -> std::io::Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1 << 16];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn free_port() -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(address).unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, folder: PathBuf, settings: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--dir"])
        .arg(folder)
        .args(settings)
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
