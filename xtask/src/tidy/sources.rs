//! Sources: module docs, nothing left undone, one place that knows the feature.

/// The one file that may ask for the feature, and the head of the crate that is Linux's alone.
const PLATFORM: &str = "crates/disk-cache/src/platform.rs";
const URING: &str = "crates/backend-uring/src/lib.rs";
/// In two pieces, so that this file is not found.
const FEATURE: &str = concat!("feature = ", "\"io-uring\"");
const UNDONE: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// What is wrong with a source file.
pub(crate) fn check(at: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.lines().any(|line| line.starts_with("//!")) {
        complaints.push(format!("{at}: no module docs"));
    }
    for (number, line) in text.lines().enumerate() {
        let (place, line) = (format!("{at}:{}", number + 1), line.trim());
        if line == concat!("#[", "ignore]") {
            complaints.push(format!("{place}: ignored without a reason"));
        }
        // Tests may ask: they say what is left where it is off.
        if line.contains(FEATURE) && at != PLATFORM && !at.contains("/tests/") {
            complaints.push(format!("{place}: only {PLATFORM} asks for the feature"));
        }
        complaints.extend(
            UNDONE.iter().filter(|word| line.contains(**word)).map(|word| format!("{place}: {word})")),
        );
    }
    if at == URING && !text.contains("#![cfg(target_os = \"linux\")]") {
        complaints.push(format!("{at}: must vanish off Linux by itself"));
    }
    if at == PLATFORM && text.matches("#[cfg(not(").count() != 1 {
        complaints.push(format!("{at}: one cfg and its opposite decide on the backend"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_left_undone_is_told_by_its_line() {
        let planted = UNDONE
            .iter()
            .map(|word| format!("    {word}x);"))
            .chain([concat!("    #[", "ignore]").to_owned()]);
        for line in planted {
            let complaints = check("x.rs", &format!("//! Docs.\n{line}\n"));
            assert!(complaints.len() == 1 && complaints[0].starts_with("x.rs:2: "), "{line}: {complaints:?}");
        }
        assert_eq!(check("x.rs", "//! Docs.\n#[ignore = \"needs a disk of its own\"]\n"), [""; 0]);
    }

    #[test]
    fn a_file_without_module_docs_is_told() {
        assert_eq!(check("x.rs", "/// Docs of an item.\nfn x() {}\n"), ["x.rs: no module docs"]);
    }

    #[test]
    fn a_second_place_that_asks_for_the_feature_is_told() {
        let text = format!("//! Docs.\n#[cfg({FEATURE})]\nmod x;\n#[cfg(not({FEATURE}))]\nmod y;\n");
        assert_eq!(check("crates/disk-cache/src/builder.rs", &text).len(), 2);
        assert_eq!(check(PLATFORM, &text), [""; 0]);
    }

    #[test]
    fn the_ring_backend_vanishes_off_linux_by_itself() {
        assert_eq!(check(URING, "//! Docs.\n").len(), 1);
        assert_eq!(check(URING, "//! Docs.\n#![cfg(target_os = \"linux\")]\n"), [""; 0]);
    }
}
