//! Guides lead to examples that are there, and quote what is in them: the examples compile and run as tests, so that the guides
//! are right.

use std::path::Path;

/// What is wrong with a guide; `read` gives the text of what it links to, `None` where there is nothing.
pub(crate) fn check(at: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut sources = String::new();
    for link in links(text) {
        match read(link) {
            Some(linked) if Path::new(link).extension().is_some_and(|e| e == "rs") => {
                sources.push_str(&unindented(&linked));
            }
            Some(_) => {}
            None => complaints.push(format!("{at}: there is no {link}")),
        }
    }
    if sources.is_empty() {
        complaints.push(format!("{at}: leads to no example"));
    }
    let untold = quotes(text).filter(|quote| !sources.contains(&unindented(quote)));
    complaints.extend(untold.map(|quote| {
        format!(
            "{at}: quotes what no example that it links to has: {}",
            quote.lines().next().unwrap_or_default()
        )
    }));
    complaints
}

/// The paths that a text links to, without what they point at inside.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// The blocks of Rust in a text.
fn quotes(text: &str) -> impl Iterator<Item = &str> {
    text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next())
}

fn unindented(text: &str) -> String {
    text.lines().flat_map(|line| [line.trim(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = "See [`a.rs`](../a.rs) and [more](README.md#more), [elsewhere](https://a.b/c).\n\n\
                         ```rust\nlet a = 1;\nif a > 0 {\n    go();\n}\n```\n";

    fn source(link: &str) -> Option<String> {
        let text = "fn f() {\n    let a = 1;\n    if a > 0 {\n        go();\n    }\n}\n";
        ["../a.rs", "README.md"].contains(&link).then(|| text.to_owned())
    }

    #[test]
    fn a_guide_that_quotes_what_its_example_has_is_fine() {
        assert_eq!(check("x.md", GUIDE, source), [""; 0]);
    }

    #[test]
    fn each_thing_that_a_guide_gets_wrong_is_told() {
        for (what, instead) in
            [("go();", "stop();"), ("README.md#more", "AWAY.md"), ("    go();\n", "    go();\n    go();\n")]
        {
            assert_eq!(check("x.md", &GUIDE.replace(what, instead), source).len(), 1, "{instead}");
        }
        assert_eq!(check("x.md", "No example.\n", source).len(), 1);
    }
}
