//! An engine's seccomp profile with io_uring allowed.

use serde_json::{Value, json};
use std::{fs, path::Path};

const CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Prints the profile in a file with one more rule, for use in production.
///
/// # Errors
/// What the file is instead.
pub(crate) fn print(file: &Path) -> Result<(), String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let text = fs::read_to_string(file).map_err(|e| at(&e))?;
    let profile = serde_json::from_str(&text).map_err(|e| at(&format!("not JSON: {e}")))?;
    let allowed = allow(profile).map_err(|e| at(&e))?;
    println!("{}", serde_json::to_string_pretty(&allowed).map_err(|e| at(&e))?);
    Ok(())
}

/// Takes the calls out of every rule and gives them one of their own: of two rules that name a call, engines do not agree which
/// one holds.
fn allow(mut profile: Value) -> Result<Value, String> {
    let no_profile = "not a seccomp profile: it needs `defaultAction` and a list `syscalls`";
    if !profile["defaultAction"].is_string() {
        return Err(no_profile.to_owned());
    }
    let rules = profile["syscalls"].as_array_mut().ok_or(no_profile)?;
    for rule in rules.iter_mut() {
        if let Some(names) = rule["names"].as_array_mut() {
            names.retain(|name| !CALLS.iter().any(|call| name == call));
        }
    }
    rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
    rules.push(json!({ "names": CALLS, "action": "SCMP_ACT_ALLOW" }));
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_allowed_by_one_rule_and_named_by_no_other() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [],
            "syscalls": [
                { "names": ["read", "io_uring_enter"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["io_uring_setup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
            ],
        });
        let allowed = allow(profile).expect("a profile");
        let expected = json!([
            { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
            { "names": CALLS, "action": "SCMP_ACT_ALLOW" },
        ]);
        assert_eq!((&allowed["syscalls"], &allowed["archMap"]), (&expected, &json!([])));
        assert_eq!(allow(allowed.clone()), Ok(allowed), "again changes nothing");
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for other in
            [json!({}), json!([]), json!({ "defaultAction": "SCMP_ACT_ALLOW" }), json!({ "syscalls": [] })]
        {
            assert!(allow(other).is_err_and(|why| why.contains("not a seccomp profile")));
        }
    }
}
