//! What a container on this machine can do, found out before a run is judged: what it cannot is a lack of the machine, and
//! what goes wrong after that is a failure.

/// What `docker/look.sh` told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Of the volume that is built on.
    pub(crate) free_kib: u64,
    kernel: String,
    /// The error number of a call of `io_uring_setup` that asks for nothing.
    io_uring_setup: Option<u8>,
}

const EPERM: u8 = 1;
const EFAULT: u8 = 14;
const ENOSYS: u8 = 38;
/// The first kernel whose rings have all that the backend asks for.
const OLDEST: (u32, u32) = (5, 10);

impl Look {
    /// # Errors
    /// What is not in the output of `docker/look.sh`.
    pub(crate) fn parse(output: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let value = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.ok_or_else(|| format!("docker/look.sh does not tell {name}"))
        };
        let free_kib = field("free_kib")?.parse().map_err(|e| format!("docker/look.sh: free_kib: {e}"))?;
        let io_uring_setup = field("io_uring_setup")?.parse().ok();
        Ok(Self { free_kib, kernel: field("kernel")?.to_owned(), io_uring_setup })
    }

    /// Why no ring can be set up in a container that nobody denies it, if so. What the image cannot tell is not held against
    /// the machine.
    pub(crate) fn lacks_io_uring(&self) -> Option<String> {
        let mut numbers = self.kernel.split(['.', '-']).map_while(|number| number.parse().ok());
        let version = numbers.next().zip(numbers.next());
        if version.is_some_and(|version| version < OLDEST) {
            return Some(format!("the kernel is {}, rings need 5.10", self.kernel));
        }
        match self.io_uring_setup? {
            EPERM => Some("the machine denies io_uring to an unconfined container (EPERM)".to_owned()),
            ENOSYS => Some(format!("the kernel {} has no io_uring (ENOSYS)", self.kernel)),
            _ => None,
        }
    }

    /// Whether no ring can be set up.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.io_uring_setup, Some(EPERM | ENOSYS))
    }

    /// Whether a profile that denies `io_uring` has no effect.
    pub(crate) fn is_not_denied(&self) -> bool {
        self.io_uring_setup == Some(EFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(kernel: &str, code: u8) -> Look {
        Look::parse(&format!("cc\nfree_kib 4096\nkernel {kernel}\nio_uring_setup {code}\n")).expect("a look")
    }

    #[test]
    fn a_machine_without_rings_is_told_from_one_with_them() {
        assert_eq!(look("6.1.0-13-amd64", EFAULT).lacks_io_uring(), None);
        assert_eq!(look("5.10.0", EFAULT).lacks_io_uring(), None);
        for (kernel, code) in
            [("6.1.0", EPERM), ("6.1.0", ENOSYS), ("5.4.0-1-amd64", EFAULT), ("4.19-x", EFAULT)]
        {
            assert!(look(kernel, code).lacks_io_uring().is_some(), "{kernel} {code}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_not_held_against_the_machine() {
        let unknown = look("6.1.0", 127);
        assert!(unknown.lacks_io_uring().is_none() && !unknown.is_not_denied() && !unknown.is_denied());
    }

    #[test]
    fn a_profile_without_effect_is_seen() {
        assert!(look("6.1.0", EFAULT).is_not_denied() && !look("6.1.0", EPERM).is_not_denied());
    }

    #[test]
    fn half_a_look_is_none() {
        assert_eq!(
            Look::parse("free_kib 1\nkernel 6.1\n"),
            Err("docker/look.sh does not tell io_uring_setup".to_owned())
        );
        assert!(Look::parse("free_kib much\nkernel 6.1\nio_uring_setup 1\n").is_err());
    }
}
