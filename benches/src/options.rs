//! What the load command may be told.

use clap::{Args, ValueEnum};
use disk_cache::{BackendChoice, ByteSize};
use std::{path::PathBuf, time::Duration};

/// Measures the cache beside what the machine allows, and prints a table.
#[derive(Args, Clone, Debug)]
pub struct LoadOptions {
    /// What to measure; everything unless said.
    #[arg(value_enum)]
    pub rows: Vec<Row>,
    /// Where to keep the files of the run: a directory of its own is made here, and removed at the end. In `target/`
    /// unless said.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Which backends.
    #[arg(long, value_enum, default_value_t = Backends::Both)]
    pub backend: Backends,
    /// Entries in the cache.
    #[arg(long, default_value_t = 100_000)]
    pub entries: usize,
    /// Bytes of a body.
    #[arg(long, default_value = "4KiB")]
    pub size: ByteSize,
    /// Tasks that ask at once.
    #[arg(long, default_value_t = 64)]
    pub tasks: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Rounds, in which the candidates take turns; medians are printed.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Entries where it is their number that matters: reopen, growth.
    #[arg(long, default_value_t = 1_000_000)]
    pub many: usize,
    /// Keep what is measured in this folder, a file for each row, for the report.
    #[arg(long)]
    pub save: Option<PathBuf>,
    /// The example proxy of disk-cache, built, for `proxies` and `thundering-herd`.
    #[arg(long)]
    pub example_proxy: Option<PathBuf>,
    /// That of pingora-disk-cache.
    #[arg(long)]
    pub pingora_proxy: Option<PathBuf>,
    /// Rough, in a minute or two: 3 rounds of 0.2 seconds with at most 20,000 entries, 100,000 where it is their number that matters.
    #[arg(long)]
    pub quick: bool,
}

impl LoadOptions {
    /// Cut down where the run is to be quick, and with at least one of everything.
    pub fn settled(mut self) -> Self {
        if self.quick {
            (self.seconds, self.rounds) = (self.seconds.min(0.2), self.rounds.min(3));
            self.entries = self.entries.min(20_000);
            self.many = self.many.min(100_000);
        }
        self.entries = self.entries.max(1000);
        self.many = self.many.max(10_000);
        self.tasks = self.tasks.max(1);
        self.rounds = self.rounds.max(1);
        if self.rows.is_empty() {
            self.rows = Row::value_variants().to_vec();
        }
        self
    }

    /// Length of a round.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0))
    }

    /// What a report says of how it was measured.
    pub fn describe(&self) -> String {
        format!(
            "{} entries of {}, {} tasks on {} workers, {} rounds of {} s",
            self.entries,
            self.size,
            self.tasks,
            crate::client::WORKERS,
            self.rounds,
            self.time().as_secs_f64()
        )
    }

    /// Whether a row is asked for.
    pub fn wants(&self, row: Row) -> bool {
        self.rows.contains(&row)
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// The limit: bare `preadv2(RWF_NOWAIT)` over the records' places
    Bare,
    /// Gets from the page cache, beside the bare loop and the peers
    WarmGet,
    /// Gets with the page cache dropped, and past it, beside fio's direct reads of 4 and 8 KiB
    ColdGet,
    /// Gets past the page cache: what both backends allow where `--dir` is on a device faster than the processor
    DirectGet,
    /// Inserts until all is synced, beside fio's sequential writes and the peers
    InsertSynced,
    /// Gets, and an insert after each miss, zipf 0.9, with room for half of the keys, beside the peers
    GetOrInsert,
    /// Bodies of 10 MiB: gets and inserts, beside plain files with `tokio::fs` and the device
    #[value(name = "10mib", alias = "10MiB")]
    Large,
    /// Both backends at the trait: 4 KiB reads, cached, direct, and one at a time from a cold file
    Backends,
    /// Gets while others insert and evict as fast as they can, beside the same gets alone
    GetWhileInserting,
    /// Opening many entries after a clean close and after a kill -9
    Reopen,
    /// What entries take in memory: the index alone, and a whole process
    Memory,
    /// An open cache that nobody asks
    Idle,
    /// What gets and inserts cost from ten thousand entries to many
    Growth,
    /// Gets by 1 to 256 tasks
    Scaling,
    /// Hit ratio at several skews, with scans and heavy-tailed sizes, beside simulated policies and peers
    HitRatio,
    /// HTTP requests through nginx and both example proxies: warm, cold, and with room for half
    Proxies,
    /// A thousand clients that ask at once for 50 MB that no proxy has yet
    ThunderingHerd,
}

/// Which backends to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backends {
    /// What the cache chooses.
    Auto,
    /// `io_uring`.
    IoUring,
    /// Blocking threads.
    Tokio,
    /// `io_uring` and blocking threads.
    Both,
}

impl Backends {
    /// The choices, one cache each.
    pub fn choices(self) -> &'static [BackendChoice] {
        match self {
            Self::Auto => &[BackendChoice::Auto],
            Self::IoUring => &[BackendChoice::IoUring],
            Self::Tokio => &[BackendChoice::Tokio],
            Self::Both => &[BackendChoice::IoUring, BackendChoice::Tokio],
        }
    }
}
