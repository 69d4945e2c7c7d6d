//! Network namespaces, so that servers have addresses of their own and links between them can be cut.
//!
//! Each seat is a namespace with one address on a bridge. The test itself reaches all of them, always. A link is cut on
//! layer 2: both ends send to a hardware address that nobody has. So packets get lost without a word, as behind a switch
//! that failed, and both sides run into their time limits.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
};

use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// Of which the names of all namespaces begin; the process's id follows.
const NAME: &str = "grantry";
/// Nobody has it.
const NOWHERE: &str = "02:00:00:00:00:00";

static NETS: AtomicU8 = AtomicU8::new(0);

/// Where something runs.
#[derive(Clone, Debug)]
pub struct Seat {
    namespace: Option<String>,
    address: Ipv4Addr,
}

impl Seat {
    /// Where the test itself runs.
    pub const fn here() -> Self {
        Self {
            namespace: None,
            address: Ipv4Addr::LOCALHOST,
        }
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(crate) fn is_here(&self) -> bool {
        self.namespace.is_none()
    }

    /// A command that runs this program there. The child is the program itself.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        }
    }

    /// Listens on this port of its own loopback interface, where only those hear it who run there.
    pub fn listen(&self, port: u16) -> TcpListener {
        let namespace = self.namespace.clone();
        let listen = move || {
            if let Some(namespace) = namespace {
                let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
                // Of this thread alone, which ends; the socket stays there.
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            }
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()
        };
        std::thread::spawn(listen).join().unwrap()
    }
}

/// Seats on a bridge. Dropping it removes them.
#[derive(Debug)]
pub struct Net {
    name: String,
    bridge: String,
    /// All of them.
    pub seats: Vec<Seat>,
}

impl Net {
    /// So many seats, each of which reaches all others.
    pub fn start(seats: u8) -> Self {
        remove_leftovers();
        let process = std::process::id();
        let number = NETS.fetch_add(1, Ordering::Relaxed);
        // Interfaces have short names.
        let bridge = format!("g{process}n{number}");
        // Addresses for tests of networks, RFC 2544.
        let [.., low] = process.to_be_bytes();
        let address = |host: u8| Ipv4Addr::new(198, 18 + number % 2, low, host);
        let mut net = Self {
            name: format!("{NAME}-{process}-{number}"),
            bridge: bridge.clone(),
            seats: Vec::new(),
        };
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["addr", "add", &format!("{}/24", address(254)), "dev", &bridge]);
        ip(&["link", "set", &bridge, "up"]);
        for host in 1..=seats {
            let namespace = format!("{}-{host}", net.name);
            let outer = format!("{bridge}v{host}");
            ip(&["netns", "add", &namespace]);
            net.seats.push(Seat {
                namespace: Some(namespace.clone()),
                address: address(host),
            });
            ip(&[
                "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
            ]);
            ip(&["link", "set", &outer, "master", &bridge, "up"]);
            let of_seat = format!("{}/24", address(host));
            ip(&["-n", &namespace, "addr", "add", &of_seat, "dev", "eth0"]);
            ip(&["-n", &namespace, "link", "set", "eth0", "up"]);
            ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        }
        net
    }

    /// Cuts the links between two groups of seats.
    pub fn cut(&self, some: &[&Seat], others: &[&Seat]) {
        for one in some {
            for other in others {
                lead_astray(one, other);
                lead_astray(other, one);
            }
        }
    }

    /// Joins what was cut.
    pub fn heal(&self) {
        for seat in &self.seats {
            let namespace = seat.namespace.as_deref().unwrap_or_default();
            ip(&[
                "-n",
                namespace,
                "neigh",
                "flush",
                "nud",
                "permanent",
                "dev",
                "eth0",
            ]);
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for seat in &self.seats {
            try_ip(&["netns", "del", seat.namespace.as_deref().unwrap_or_default()]);
        }
        try_ip(&["link", "del", &self.bridge]);
    }
}

/// What one sends to the other gets lost.
fn lead_astray(one: &Seat, other: &Seat) {
    let namespace = one.namespace.as_deref().unwrap_or_default();
    let address = other.address.to_string();
    ip(&[
        "-n",
        namespace,
        "neigh",
        "replace",
        &address,
        "lladdr",
        NOWHERE,
        "dev",
        "eth0",
        "nud",
        "permanent",
    ]);
}

/// A test that was killed could not remove its own.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        if let (Some(NAME), Some(process), Some(number)) = (parts.next(), parts.next(), parts.next())
            && !Path::new(&format!("/proc/{process}")).exists()
        {
            try_ip(&["netns", "del", &name]);
            try_ip(&["link", "del", &format!("g{process}n{number}")]);
        }
    }
}

fn try_ip(words: &[&str]) {
    // It may be gone already.
    let _ = Command::new("ip").args(words).output();
}

fn ip(words: &[&str]) {
    let why = match Command::new("ip").args(words).output() {
        Ok(done) if done.status.success() => return,
        Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "`ip {}` fails: {why}\nPartitions are tested in network namespaces. They need iproute2, which ./test.sh \
         installs, and root with CAP_NET_ADMIN and CAP_SYS_ADMIN: run this test as root, in a container started with \
         --privileged or --cap-add=NET_ADMIN --cap-add=SYS_ADMIN",
        words.join(" ")
    );
}
