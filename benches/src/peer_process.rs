//! Somebody else's cache in a process of its own, which is this program started again. It opens, fills, measures and closes
//! when it is told to, a line of JSON each way, and stands still otherwise.
//!
//! **Invariants**: between two things that it is told the process is stopped (SIGSTOP), so that a thread of a peer that never
//! rests takes nothing from whoever is measured meanwhile; it ends with whoever started it, stopped or not.

use crate::{
    Result,
    client::{Client, Pace},
    dataset::Dataset,
    fd_limit,
    measure::Measure,
    store::{Crowd, Draws, Peer},
};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

/// What it opens, and with what it will work.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    /// An empty directory.
    dir: PathBuf,
    capacity: u64,
    tasks: usize,
    entries: usize,
    /// Of a body.
    size: usize,
    /// Of each body, where they differ.
    lengths: Option<Vec<u32>>,
    /// For requests.
    draws: Vec<u32>,
}

impl Setup {
    /// A cache of so many bytes in `dir`, for keys and bodies of a dataset.
    pub fn new(dir: PathBuf, capacity: u64, tasks: usize, data: &Dataset) -> Self {
        let lengths = data.lengths().map(<[u32]>::to_vec);
        Self { dir, capacity, tasks, entries: data.entries(), size: data.size(), lengths, draws: Vec::new() }
    }

    /// Requests will take these keys.
    pub fn drawing(self, draws: &[u32]) -> Self {
        Self { draws: draws.to_vec(), ..self }
    }
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    Fill,
    Gets(Pace),
    Inserts(Pace),
    Requests { from: usize, count: Option<usize>, pace: Pace },
    Close,
}

/// The process, seen by whoever started it.
#[derive(Debug)]
pub struct PeerProcess {
    name: String,
    is_bounded: bool,
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl PeerProcess {
    /// Starts one and waits until its cache is open.
    ///
    /// # Errors
    /// Where it cannot be started, or the cache does not open.
    pub fn start(peer: &dyn Peer, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(&setup.dir)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["part", "peer", peer.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a process without its pipes".into());
        };
        let (name, is_bounded) = (peer.name().to_owned(), peer.is_bounded());
        let mut process = Self { name, is_bounded, child, asks, answers: BufReader::new(answers).lines() };
        process.tell::<()>(setup)?;
        Ok(process)
    }

    /// Whose cache it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it keeps to its capacity.
    pub fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    /// See [`crate::store::Opened::fill`].
    ///
    /// # Errors
    /// Those of the cache, which the process has printed.
    pub fn fill(&mut self) -> Result<usize> {
        self.tell(&Ask::Fill)
    }

    /// See [`crate::store::Opened::gets`].
    ///
    /// # Errors
    /// Those of the cache.
    pub fn gets(&mut self, pace: Pace) -> Result<Measure> {
        self.tell(&Ask::Gets(pace))
    }

    /// See [`crate::store::Opened::inserts`].
    ///
    /// # Errors
    /// Those of the cache.
    pub fn inserts(&mut self, pace: Pace) -> Result<Measure> {
        self.tell(&Ask::Inserts(pace))
    }

    /// See [`crate::store::Opened::requests`]; the draws are those of the setup.
    ///
    /// # Errors
    /// Those of the cache.
    pub fn requests(&mut self, from: usize, count: Option<usize>, pace: Pace) -> Result<Measure> {
        self.tell(&Ask::Requests { from, count, pace })
    }

    /// Closes the cache and waits until the process has ended, and all of its threads with it.
    ///
    /// # Errors
    /// Those of the cache.
    pub fn close(mut self) -> Result<()> {
        self.tell::<()>(&Ask::Close)?;
        self.signal(Signal::CONT)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{}: {status}", self.name).into()) }
    }

    fn tell<T: DeserializeOwned>(&mut self, ask: &impl Serialize) -> Result<T> {
        self.signal(Signal::CONT)?;
        writeln!(self.asks, "{}", serde_json::to_string(ask)?)?;
        let Some(answer) = self.answers.next() else {
            return Err(format!("{}: its process has ended, and said why above", self.name).into());
        };
        let answer = serde_json::from_str(&answer?)?;
        self.signal(Signal::STOP)?;
        Ok(answer)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // The child has not been waited for, so the number is still its own.
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("a process without a number")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        // Nothing is lost: what it has written goes with the run's directory.
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Is such a process, for the peer of this name.
///
/// # Errors
/// Those of the cache.
pub fn run(peers: &[Box<dyn Peer>], name: &str) -> Result<()> {
    // Stopped, it would not see that nobody is there any more.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    fd_limit::raise()?;
    let peer = peers.iter().find(|peer| peer.name() == name).ok_or_else(|| format!("no peer {name}"))?;
    let mut asks = std::io::stdin().lines();
    let Some(setup) = asks.next() else { return Ok(()) };
    let Setup { dir, capacity, tasks, entries, size, lengths, draws } = serde_json::from_str(&setup?)?;
    let data = Arc::new(lengths.map_or_else(|| Dataset::new(entries, size), Dataset::of_lengths));
    let draws: Arc<[u32]> = draws.into();
    let client = Client::start()?;
    let opened = peer.open(&client, &dir, capacity, size)?;
    say(&())?;
    let crowd = Crowd { client: &client, tasks, data: &data };
    for ask in asks {
        match serde_json::from_str(&ask?)? {
            Ask::Fill => say(&opened.fill(crowd)?)?,
            Ask::Gets(pace) => say(&opened.gets(crowd, pace)?)?,
            Ask::Inserts(pace) => say(&opened.inserts(crowd, pace)?)?,
            Ask::Requests { from, count, pace } => {
                let draws = Draws { keys: draws.clone(), from, count };
                say(&opened.requests(crowd, &draws, pace)?)?;
            }
            Ask::Close => {
                opened.close(&client)?;
                return say(&());
            }
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what it says is read by who started it")]
fn say(answer: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}
