//! What `cargo xtask soak --keep` kept, drawn: what a process holds while it works.

use super::svg::{Axis, Line, lines};
use crate::Result;
use serde::Deserialize;
use std::{fs, path::Path};

const KEPT: [(&str, &str); 2] = [
    ("soak", "What a process holds under a steady load"),
    ("soak-stream", "What a process holds over a long stream"),
];

#[derive(Deserialize)]
struct Soak {
    setting: String,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    seconds: f64,
    descriptors: f64,
    threads: f64,
    memory_kib: f64,
    disk_kib: f64,
}

/// Draws each that is there, beside it.
pub(super) fn draw(folder: &Path) -> Result<()> {
    for (name, title) in KEPT {
        let from = folder.join(format!("{name}.json"));
        if from.exists() {
            let text = fs::read_to_string(&from)?;
            let soak = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", from.display()))?;
            fs::write(folder.join(format!("{name}.svg")), chart(title, &soak))?;
        }
    }
    Ok(())
}

fn chart(title: &str, soak: &Soak) -> String {
    let line = |name: &str, held: fn(&Sample) -> f64| {
        let points = soak.samples.iter().map(|sample| (sample.seconds, held(sample))).collect();
        Line { name: name.to_owned(), points }
    };
    let all = [
        line("descriptors", |s| s.descriptors),
        line("threads", |s| s.threads),
        line("memory, MiB", |s| s.memory_kib / 1024.0),
        line("disk, MiB", |s| s.disk_kib / 1024.0),
    ];
    let title = format!("{title}: {}", soak.setting);
    lines(&title, Axis { label: "seconds", log: false }, Axis { label: "held", log: true }, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_soak_keeps_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let kept = r#"{"setting": "2 minutes", "samples": [{"seconds": 1, "done": 9, "descriptors": 20, "threads": 8,
            "memory_kib": 2048, "disk_kib": 1024}]}"#;
        fs::write(folder.path().join("soak.json"), kept).unwrap();
        draw(folder.path()).unwrap();
        let svg = fs::read_to_string(folder.path().join("soak.svg")).unwrap();
        assert!(svg.contains("2 minutes") && svg.contains("memory, MiB"), "{svg}");
    }
}
