//! What decides on the number of instructions beside the code: compiler, valgrind, and the processor that it plays.

use serde::{Deserialize, Serialize};
use std::process::Command;

/// Instruction counts are compared only where all of it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
    /// As a program under valgrind sees it.
    pub(crate) processor: String,
}

impl Environment {
    /// The first thing that differs, in words.
    pub(crate) fn difference(&self, kept: &Self) -> Option<String> {
        let pairs = [
            ("rustc", &self.rustc, &kept.rustc),
            ("valgrind", &self.valgrind, &kept.valgrind),
            ("processor", &self.processor, &kept.processor),
        ];
        let (what, here, there) = pairs.into_iter().find(|(_, here, there)| here != there)?;
        Some(format!("{what} is \"{here}\" here and \"{there}\" in the baseline"))
    }
}

/// What a program says of its version; `None` where it is not to be had.
pub(crate) fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compiler_is_told_and_the_same_is_not() {
        let kept = Environment { rustc: "1".to_owned(), ..Environment::default() };
        assert_eq!(kept.difference(&kept), None);
        let other = Environment { rustc: "2".to_owned(), ..Environment::default() };
        assert_eq!(other.difference(&kept).as_deref(), Some("rustc is \"2\" here and \"1\" in the baseline"));
    }
}
