//! The demo: what it writes, and every line that it prints to be tried.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{command, ended_with, eventually, signal};

/// Ends the process when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// Runs what stands on the page in a shell, as a reader would paste it. Gives standard output.
fn shell(script: &str) -> String {
    let output = Command::new("bash")
        .args(["-e", "-c", script])
        .stdin(Stdio::null())
        .output()
        .expect("this test runs the printed lines with bash and curl; install both");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{script}\nended with {}:\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

/// The commands below "Try:", in order, each with the heading above it. A command may have several lines.
fn commands(page: &str) -> Vec<(String, String)> {
    let (_, below) = page.split_once("Try:\n").expect("no commands");
    let (mut heading, mut command, mut all) = (String::new(), String::new(), Vec::new());
    for line in below.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("# ") {
            text.clone_into(&mut heading);
        } else if line.starts_with("curl") || line.starts_with("export") || !command.is_empty() {
            command.push_str(line.trim_end_matches('\\'));
            if !line.ends_with('\\') {
                all.push((heading.clone(), std::mem::take(&mut command)));
            }
        }
    }
    all
}

fn check_ready_file(file: &Path) -> Value {
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let ready: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut names: Vec<&str> = ready.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let wanted = [
        "adminKey",
        "apiKey",
        "baseUrl",
        "connectionIds",
        "instanceUrl",
        "integrationId",
        "publicKey",
        "simulatorUrl",
    ];
    assert_eq!(names, wanted);
    assert_eq!(ready["connectionIds"].as_array().unwrap().len(), 3);
    for name in wanted.iter().filter(|name| **name != "connectionIds") {
        assert!(
            ready[*name].as_str().is_some_and(|text| !text.is_empty()),
            "{name}"
        );
    }
    ready
}

#[tokio::test]
async fn every_printed_line_works() {
    assert!(
        Command::new("curl")
            .arg("--version")
            .output()
            .is_ok_and(|found| found.status.success()),
        "this test runs the printed lines; install curl (Debian: apt-get install curl)"
    );
    let dir = tempfile::tempdir().unwrap();
    let [file, out, err] = ["ready", "out", "err"].map(|name| dir.path().join(name));
    let mut demo = Running(
        command()
            .args(["demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .arg("--ready-file")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap(),
    );
    eventually("the demo is up", || {
        if let Some(status) = demo.0.try_wait().unwrap() {
            panic!(
                "the demo ended with {status}: {}",
                fs::read_to_string(&err).unwrap()
            );
        }
        let up = file.exists();
        async move { up.then_some(()) }
    })
    .await;
    let ready = check_ready_file(&file);
    let page = fs::read_to_string(&out).unwrap();
    for name in ["baseUrl", "adminKey", "apiKey", "publicKey", "simulatorUrl"] {
        assert!(
            page.contains(ready[name].as_str().unwrap()),
            "{name} is not on the page:\n{page}"
        );
    }
    let first = ready["connectionIds"][0].as_str().unwrap();

    // One shell runs the lines, so that `export` is in force for those below.
    let (mut exports, mut answers, mut record) = (String::new(), Vec::new(), String::new());
    for (heading, command) in commands(&page) {
        if let Some(export) = command.strip_prefix("export ") {
            let (name, value) = export.split_once('=').unwrap();
            // The only line with a gap in it.
            let value = if name == "RECORD" { record.as_str() } else { value };
            writeln!(exports, "export {name}={value}").unwrap();
            continue;
        }
        let answer = shell(&format!("{exports}{command}"));
        if command.contains(r#""method":"POST""#) {
            let made: Value = serde_json::from_str(&answer).expect(&answer);
            assert_eq!(made["success"], true, "{answer}");
            made["id"].as_str().unwrap().clone_into(&mut record);
        }
        answers.push((heading, command, answer));
    }
    let json = |at: usize| -> Value { serde_json::from_str(&answers[at].2).expect(&answers[at].2) };
    let status = |at: usize| answers[at].2.lines().next().unwrap_or_default();
    assert_eq!(answers.len(), 7, "{answers:#?}");
    let list = json(0);
    assert_eq!(list["totalCount"], 3, "{list}");
    assert_eq!(list["connections"][2]["connectionId"], first, "{list}");
    assert_eq!(list["connections"][2]["userEmail"], "sarah@acme.com", "{list}");
    assert!(json(1)["accessToken"].as_str().unwrap().starts_with("00D"));
    assert_eq!(json(1)["instanceUrl"], ready["instanceUrl"]);
    assert_eq!(json(2)["records"].as_array().unwrap().len(), 5);
    for at in [4, 5, 6] {
        assert_eq!(status(at), "HTTP/1.1 204 No Content", "{:?}", answers[at]);
    }
    assert!(answers[6].1.contains("-X DELETE"), "{:?}", answers[6]);
    // It is disconnected: here at once, and upstream soon.
    let gone = shell(&format!("{exports}{}", answers[1].1));
    assert!(gone.contains("connection_not_found"), "{gone}");
    let log = format!("curl -s {}/__log", ready["simulatorUrl"].as_str().unwrap());
    eventually("the grant is revoked upstream", || {
        let told: Value = serde_json::from_str(&shell(&log)).unwrap();
        let left = told["families"].as_array().unwrap().len();
        async move { (left == 2).then_some(()) }
    })
    .await;

    signal(&demo.0, Signal::TERM);
    let ended = ended_with(&mut demo.0).await;
    assert!(ended.success(), "{ended}: {}", fs::read_to_string(&err).unwrap());
}
