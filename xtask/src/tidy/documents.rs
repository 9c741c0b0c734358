//! Documents name the commands that are run: README.md those of a newcomer, CONTRIBUTING.md every step of `ci` in its order,
//! RELIABILITY.md the rows of `faults`.

use crate::{ci, faults, usage};

/// What is wrong with a document.
pub(crate) fn check(at: &str, text: &str) -> Vec<String> {
    let listed = commands(text);
    let steps: Vec<_> = ci::commands().collect();
    let mut complaints = Vec::new();
    match at {
        "README.md" => {
            if !listed.iter().any(|command| Some(command.as_str()) == steps.first().copied()) {
                complaints.push(format!(
                    "{at}: does not name `{}`, the first step of ci",
                    steps.first().unwrap_or(&"")
                ));
            }
            let unknown =
                listed.iter().filter(|command| !steps.contains(&command.as_str()) && !known(command));
            complaints
                .extend(unknown.map(|command| format!("{at}: `{command}` is nothing that ci runs or tests")));
        }
        "RELIABILITY.md" => {
            let unknown = listed.iter().filter(|command| !known(command));
            complaints.extend(unknown.map(|command| format!("{at}: there is no `{command}`")));
            let untold = faults::rows().filter(|row| !text.contains(&format!("| `{row}` |")));
            complaints.extend(untold.map(|row| format!("{at}: does not tell of the row {row}")));
        }
        _ if !contains(&listed, &steps) => {
            complaints
                .push(format!("{at}: lists other steps than ci's, which are\n  {}", steps.join("\n  ")));
        }
        _ => {}
    }
    complaints
}

/// The commands in the shell blocks of a text, without their comments.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh" && !inside;
        } else if inside && line.starts_with("cargo ") {
            commands.push(line.split(" #").next().unwrap_or_default().trim().to_owned());
        }
    }
    commands
}

/// Whether all steps stand in the list, one after another.
fn contains(listed: &[String], steps: &[&str]) -> bool {
    listed.windows(steps.len()).any(|window| window == steps)
}

/// The example is a test target, whose tests the first step runs; a command of xtask is one that is there.
fn known(command: &str) -> bool {
    match command.strip_prefix("cargo xtask ") {
        Some(rest) => rest.split(' ').next().is_some_and(usage::is_command),
        None => command == "cargo run --release --example proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(commands: &[&str]) -> String {
        format!(
            "text\n\n```sh\n{}\n```\n\n```console\n$ cargo other\n```\n",
            commands.join("   # a comment\n")
        )
    }

    #[test]
    fn the_steps_of_ci_in_their_order_are_fine_and_anything_else_is_told() {
        let steps: Vec<_> = ci::commands().collect();
        assert_eq!(check("CONTRIBUTING.md", &block(&steps)), [""; 0]);
        assert_eq!(check("CONTRIBUTING.md", &block(&steps[1..])).len(), 1);
        let mut turned = steps.clone();
        turned.swap(0, 1);
        assert_eq!(check("CONTRIBUTING.md", &block(&turned)).len(), 1);
    }

    #[test]
    fn every_row_of_faults_is_told_of() {
        let rows: Vec<_> = faults::rows().map(|row| format!("| `{row}` | N |")).collect();
        assert_eq!(check("RELIABILITY.md", &rows.join("\n")), [""; 0]);
        assert_eq!(check("RELIABILITY.md", &rows[1..].join("\n")).len(), 1);
        let unknown = format!("{}\n{}", rows.join("\n"), block(&["cargo xtask no-such-thing"]));
        assert_eq!(check("RELIABILITY.md", &unknown).len(), 1);
    }

    #[test]
    fn a_readme_names_what_is_run() {
        let good =
            ["cargo test", "cargo xtask test-linux --io-uring both", "cargo run --release --example proxy"];
        assert_eq!(check("README.md", &block(&good)), [""; 0]);
        assert_eq!(check("README.md", &block(&good[1..])).len(), 1, "the first step is missing");
        assert_eq!(check("README.md", &block(&["cargo test", "cargo xtask no-such-thing"])).len(), 1);
        assert_eq!(check("README.md", &block(&["cargo test", "cargo build --all"])).len(), 1);
    }
}
