//! An engine's seccomp profile with io_uring allowed.

use serde_json::{Value, json};
use std::{fs, path::Path};

const CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Prints the profile in a file with one more rule, for use in production.
///
/// # Errors
/// What the file is instead.
pub(crate) fn print(file: &Path) -> Result<(), String> {
    let allowed = allow(read(file)?);
    println!("{}", serde_json::to_string_pretty(&allowed).map_err(|e| format!("{}: {e}", file.display()))?);
    Ok(())
}

/// The profile in a file.
///
/// # Errors
/// What the file is instead.
pub(crate) fn read(file: &Path) -> Result<Value, String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let text = fs::read_to_string(file).map_err(|e| at(&e))?;
    let profile = serde_json::from_str(&text).map_err(|e| at(&format!("not JSON: {e}")))?;
    is_profile(&profile)
        .then_some(profile)
        .ok_or_else(|| at(&"not a seccomp profile: it needs `defaultAction` and a list `syscalls`"))
}

fn is_profile(value: &Value) -> bool {
    value["defaultAction"].is_string() && value["syscalls"].is_array()
}

/// Takes the calls out of every rule and gives them one of their own: of two rules that name a call, engines do not agree which
/// one holds.
fn allow(mut profile: Value) -> Value {
    let is_call = |name: &Value| CALLS.iter().any(|call| name == call);
    if let Some(rules) = profile["syscalls"].as_array_mut() {
        for rule in rules.iter_mut() {
            if let Some(names) = rule["names"].as_array_mut() {
                names.retain(|name| !is_call(name));
            }
        }
        // Engines read `name` too, as they did at first.
        rules.retain(|rule| {
            !is_call(&rule["name"]) && rule["names"].as_array().is_none_or(|names| !names.is_empty())
        });
        rules.push(json!({ "names": CALLS, "action": "SCMP_ACT_ALLOW" }));
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{docker::linux::DENIED, process::repo};

    #[test]
    fn the_calls_are_allowed_by_one_rule_and_named_by_no_other() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [],
            "syscalls": [
                { "names": ["read", "io_uring_enter"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["io_uring_setup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
                { "name": "io_uring_register", "action": "SCMP_ACT_ERRNO", "args": [] },
            ],
        });
        let allowed = allow(profile);
        let expected = json!([
            { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
            { "names": CALLS, "action": "SCMP_ACT_ALLOW" },
        ]);
        assert_eq!((&allowed["syscalls"], &allowed["archMap"]), (&expected, &json!([])));
        assert_eq!(allow(allowed.clone()), allowed, "again changes nothing");
    }

    #[test]
    fn the_profile_of_this_project_is_one_and_allows_what_it_denied_when_asked() {
        let denied = read(&repo().join(DENIED)).expect("a profile");
        let allowed = json!([{ "names": CALLS, "action": "SCMP_ACT_ALLOW" }]);
        assert_eq!(allow(denied)["syscalls"], allowed);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for other in
            [json!({}), json!([]), json!({ "defaultAction": "SCMP_ACT_ALLOW" }), json!({ "syscalls": [] })]
        {
            assert!(!is_profile(&other), "{other}");
        }
    }
}
