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
    /// Done in half a minute: 3 rounds of 0.2 seconds with at most 20,000 entries.
    #[arg(long)]
    pub quick: bool,
}

impl LoadOptions {
    /// Cut down where the run is to be quick, and with at least one of everything.
    pub fn settled(mut self) -> Self {
        if self.quick {
            (self.seconds, self.rounds) = (self.seconds.min(0.2), self.rounds.min(3));
            self.entries = self.entries.min(20_000);
        }
        self.entries = self.entries.max(1000);
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

    /// Whether a row is asked for.
    pub fn wants(&self, row: Row) -> bool {
        self.rows.contains(&row)
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// The limit: bare `preadv2(RWF_NOWAIT)` over the records' places.
    Bare,
    /// Gets from the page cache.
    WarmGet,
    /// Gets with the page cache dropped, beside direct reads of 4 KiB.
    ColdGet,
    /// Inserts until all is synced, beside the device's sequential writes.
    InsertSynced,
    /// Gets, and an insert after each miss, zipf 0.9, with room for half of the keys.
    GetOrInsert,
    /// Bodies of 10 MiB: gets and inserts, beside plain files with `tokio::fs`.
    #[value(name = "10mib", alias = "10MiB")]
    Large,
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
