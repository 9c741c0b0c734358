//! Manifests say nothing twice: what the workspace says is inherited.

const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
];

/// What is wrong with a member's manifest.
pub(crate) fn check(at: &str, text: &str) -> Vec<String> {
    let lacking = INHERITED.iter().filter(|line| !text.lines().any(|l| l == **line));
    let mut complaints: Vec<_> = lacking.map(|line| format!("{at}: lacks `{line}`")).collect();
    if !text.contains("[lints]\nworkspace = true") {
        complaints.push(format!("{at}: does not inherit the lints"));
    }
    let mut of_dependencies = false;
    for line in text.lines() {
        if line.starts_with('[') {
            of_dependencies = line.ends_with("dependencies]");
        } else if of_dependencies
            && line.contains('=')
            && !line.starts_with('#')
            && !line.contains("workspace = true")
        {
            complaints.push(format!("{at}: a dependency that the workspace does not name: {line}"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
                        rust-version.workspace = true\nlicense.workspace = true\n\n\
                        [target.'cfg(unix)'.dev-dependencies]\nbytes.workspace = true\n\
                        tokio = { workspace = true, features = [\"rt\"] }\n\n[lints]\nworkspace = true\n";

    #[test]
    fn a_manifest_that_inherits_is_fine() {
        assert_eq!(check("x", GOOD), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_not_inherited_is_told() {
        for (line, instead) in [
            ("edition.workspace = true", "edition = \"2024\""),
            ("rust-version.workspace = true\n", ""),
            ("bytes.workspace = true", "bytes = \"1\""),
            ("[lints]\nworkspace = true\n", ""),
        ] {
            assert_eq!(check("x", &GOOD.replace(line, instead)).len(), 1, "{line}");
        }
    }
}
