//! A child as the test that started it sees it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use grantry::id::ConnectionId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::child::{PLACE, Place};

/// Longer than anything here takes on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A child that runs. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    told: UnboundedReceiver<Value>,
    /// The names of the steps that it announced.
    pub(crate) steps: Vec<String>,
}

/// What the callers of one refresh were given, and how many of them.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) got: BTreeMap<String, u64>,
    pub(crate) failed: BTreeMap<String, u64>,
}

impl Process {
    pub(crate) async fn start(place: &Place, variables: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::child", "--nocapture"])
            .env(PLACE, place.to_json().to_string())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let orders = child.stdin.take().unwrap();
        let (sender, told) = unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                // The last line of a killed process may be cut.
                let told = line.ok().and_then(|line| {
                    let told = line.strip_prefix("told ")?;
                    serde_json::from_str(told).ok()
                });
                if let Some(told) = told
                    && sender.send(told).is_err()
                {
                    return;
                }
            }
        });
        let mut process = Self {
            child,
            orders,
            told,
            steps: Vec::new(),
        };
        process.hear("ready").await;
        process
    }

    pub(crate) fn order(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Lets it send itself a signal at a step of what follows.
    pub(crate) fn arm(&mut self, signal: &str, at: usize) {
        self.steps.clear();
        self.order(&json!({ "do": "arm", "signal": signal, "at": at }));
    }

    pub(crate) fn refresh(&mut self, id: &ConnectionId, set: &str, callers: usize) {
        self.order(&json!({ "do": "refresh", "id": id.as_str(), "set": set, "callers": callers }));
    }

    /// Lets it write a row, and waits for that.
    pub(crate) async fn write(&mut self, id: &ConnectionId) {
        self.order(&json!({ "do": "write", "id": id.as_str() }));
        self.hear("written").await;
    }

    /// The next thing that it tells, steps aside; `None` if it ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let told = tokio::time::timeout(DEADLINE, self.told.recv())
                .await
                .unwrap_or_else(|_| panic!("it says nothing, after the steps {:?}", self.steps))?;
            match told["step"].as_str() {
                Some(name) => self.steps.push(name.to_owned()),
                None => return Some(told),
            }
        }
    }

    pub(crate) async fn hear(&mut self, word: &str) {
        assert_eq!(self.next().await, Some(Value::from(word)));
    }

    /// What became of the refresh that it was ordered to make.
    pub(crate) async fn outcome(&mut self, id: &ConnectionId) -> Outcome {
        let told = self.next().await.unwrap();
        assert_eq!(told["over"], id.as_str(), "{told}");
        let counts = |name: &str| serde_json::from_value(told[name].clone()).unwrap();
        Outcome {
            got: counts("got"),
            failed: counts("failed"),
        }
    }

    /// Waits until it is dead. Gives what it told until then.
    pub(crate) async fn dies(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        self.child.wait().unwrap();
        all
    }

    /// Waits until it has stopped itself.
    pub(crate) async fn stops(&self) {
        let status = format!("/proc/{}/stat", self.child.id());
        let stopped = async {
            // The state stands after the name, which ends with the last parenthesis.
            while !std::fs::read_to_string(&status).unwrap().contains(") T ") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let stopped = tokio::time::timeout(DEADLINE, stopped).await;
        assert!(
            stopped.is_ok(),
            "it does not stop, after the steps {:?}",
            self.steps
        );
    }

    /// Lets it go on after it has stopped itself.
    pub(crate) fn resume(&mut self) {
        self.order(&json!({ "do": "resume" }));
        self.signal(Signal::CONT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Lets it end what it does, and end.
    pub(crate) async fn quit(mut self) -> Vec<Value> {
        self.order(&json!({ "do": "quit" }));
        let mut all = self.dies().await;
        assert_eq!(all.pop(), Some(Value::from("bye")));
        all
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}
